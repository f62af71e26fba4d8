"""Exports to compressed-tensors: equal within their bits, calibrated, repeatable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import write_json, write_model, write_tokenizer
from tests.export.conftest import MakeTuned
from tests.export.gguf_families import family_base
from tests.export.test_merged import IDS, make, plain_logits
from tests.model.family_bases import SPECIMENS, write_base
from tests.training.conftest import add_dataset, make_rows

from tunewright.config.export import ExportConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.files import sha256_file
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.export.compressed_tensors import decode, refuse_little_memory
from tunewright.export.export import export
from tunewright.export.formats import Arithmetic
from tunewright.export.merging import MergedWeights
from tunewright.export.quantised import Job
from tunewright.export.skeleton import TensorFolder
from tunewright.model.folders import read_json
from tunewright.model.references import resolve
from tunewright.model.rendering import Renderer
from tunewright.model.weights import stored_tensors, weight_files

LENIENT = {"tolerance": {"divergence": 1, "agreement": 0.01, "endings": 0.01}}


def settings_of(folder: Path) -> dict[str, Any]:
    """``quantization_config``."""
    settings: dict[str, Any] = read_json(folder / "config.json")["quantization_config"]
    return settings


@pytest.mark.parametrize(("bits", "bound"), [(4, 0.5), (8, 0.002)])
@pytest.mark.parametrize("method", ["gptq", "nearest"])
def test_what_is_read_back_is_near_the_tuned_model(
    store: Store, make_tuned: MakeTuned, base_of: Any, bits: int, bound: float, method: str
) -> None:
    model = make_tuned(base=base_of("qwen3"))
    made = make(store, model, to="compressed-tensors", parity=LENIENT,
                quantize={"bits": bits, "method": method})  # fmt: skip
    assert made.passed
    assert made.parity is not None
    assert made.parity["precision"] == f"w{bits}a16"
    assert 0 < made.parity["logits"]["mean_divergence"] < bound
    assert made.parity["answers"]["same_prompt_ids"] == 4
    assert ("Calibrated" in made.plan.notes[0]) == (method == "gptq")
    assert made.plan.runs.keys() == {"vllm", "sglang"}


def test_names_types_and_settings(store: Store, make_tuned: MakeTuned, base_of: Any) -> None:
    base = base_of("qwen2")
    made = make(store, make_tuned(base=base), to="compressed-tensors", dtype="bfloat16",
                parity={"check": False})  # fmt: skip
    (file,) = weight_files(made.folder)
    tensors = stored_tensors(file)
    layer = "model.layers.1.mlp.down_proj"
    assert tensors[f"{layer}.weight_packed"].dtype == "I32"
    assert tensors[f"{layer}.weight_packed"].shape == (64, 96 // 8)
    assert tensors[f"{layer}.weight_scale"].dtype == "BF16"
    # 128 and 64 do not divide its 96 inputs.
    assert tensors[f"{layer}.weight_scale"].shape == (64, 96 // 32)
    assert load_file(file)[f"{layer}.weight_shape"].tolist() == [64, 96]
    assert f"{layer}.weight" not in tensors
    assert tensors["model.layers.0.self_attn.q_proj.bias"].dtype == "BF16"
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= tensors.keys()
    settings = settings_of(made.folder)
    assert settings["ignore"] == ["lm_head"]
    assert settings["config_groups"]["group_0"]["weights"]["group_size"] == 32
    assert made.plan.bytes == pytest.approx(made.bytes, rel=0.2)


def test_weights_are_off_by_few_steps(store: Store, make_tuned: MakeTuned) -> None:
    model = make_tuned()
    made = make(store, model, to="compressed-tensors", parity={"check": False})
    merged, tensors = MergedWeights(resolve(store, model.id)), TensorFolder(made.folder)
    for layer in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"):
        weight = merged.read(f"{layer}.weight")
        read = decode(settings_of(made.folder), layer, tensors)
        assert read.shape == weight.shape
        assert 0.01 < (read - weight).norm() / weight.norm() < 0.3
    name = "model.norm.weight"
    assert torch.equal(tensors.read(name), merged.read(name).to(tensors.read(name).dtype))


@pytest.mark.slow
def test_gptq_is_closer_to_the_model_than_the_nearest(store: Store) -> None:
    """On a real model, nano, and rows that it is not calibrated on."""
    rows = make_rows(112)
    dataset = add_dataset(store, rows[:96], [])
    write_rows(store.folder(Dataset, dataset.id) / "test.jsonl", rows[96:])
    found = {}
    for method in ("gptq", "nearest"):
        options = {
            "model": "nano", "to": "compressed-tensors", "output": str(store.home / method),
            "quantize": {"method": method, "dataset": dataset.id, "device": "cpu"},
            "parity": {**LENIENT, "dataset": dataset.id, "max_new_tokens": 8, "device": "cpu"},
        }  # fmt: skip
        made = export(ExportConfig.build(options), store)
        assert made.parity is not None
        found[method] = made.parity["logits"]["mean_divergence"]
    assert 0 < found["gptq"] < 0.8 * found["nearest"]


@pytest.mark.parametrize("family", ["mistral", "glm4", "gemma3", "phi3", "chatglm3"])
def test_families_are_written_and_read_back(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, family: str
) -> None:
    """Fused layers and those that no group divides included; these stay as they are."""
    model = make_tuned(base=family_base(family, tmp_path))
    made = make(store, model, to="compressed-tensors", quantize={"bits": 8}, parity=LENIENT)
    assert made.passed
    assert made.parity is not None
    assert 0 < made.parity["logits"]["mean_divergence"] < 0.01
    left = settings_of(made.folder)["ignore"]
    tensors = TensorFolder(made.folder)
    assert all(f"{layer}.weight" in tensors for layer in left if layer != "lm_head")
    assert bool(made.plan.runs) == (family != "chatglm3")


def test_a_second_export_is_equal_and_shards_are_kept_small(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned()
    first, second = (
        make(store, model, to="compressed-tensors", output=str(tmp_path / name), shard_gb=1e-4,
             parity={"check": False}).folder
        for name in ("a", "b")
    )  # fmt: skip
    names = sorted(file.name for file in weight_files(first))
    assert len(names) > 1
    for name in (*names, "config.json"):
        assert sha256_file(first / name) == sha256_file(second / name)


def test_vectors_that_older_bases_hold_are_taken_along(
    store: Store, make_tuned: MakeTuned, base_of: Any
) -> None:
    base = base_of("llama")
    file = base / "model.safetensors"
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    save_file({**load_file(file), name: torch.ones(8)}, file, {"format": "pt"})
    made = make(store, make_tuned(base=base), to="compressed-tensors", parity=LENIENT)
    assert made.passed
    assert name in TensorFolder(made.folder)


def test_the_kind_is_in_the_folder_s_name(store: Store, make_tuned: MakeTuned) -> None:
    made = make(store, make_tuned(), to="compressed-tensors", quantize={"bits": 8},
                parity={"check": False})  # fmt: skip
    assert made.folder.name.endswith("-compressed-tensors-8bit")


# What cannot be ------------------------------------------------------------------------------


def test_experts_are_refused(store: Store, make_tuned: MakeTuned, tmp_path: Path) -> None:
    model = make_tuned(base=family_base("mixtral", tmp_path))
    for form in ("compressed-tensors", "bitsandbytes"):
        with pytest.raises(ModelError, match="otherwise than in memory") as error:
            make(store, model, to=form)
        assert "--to merged" in str(error.value.hint)


@pytest.mark.parametrize("form", ["compressed-tensors", "bitsandbytes"])
def test_what_works_beside_the_weights_is_refused(
    store: Store, make_tuned: MakeTuned, form: str
) -> None:
    with pytest.raises(ModelError, match="cannot be written into"):
        make(store, make_tuned("prefix"), to=form)
    assert not (store.home / "exports").exists()


def test_layers_that_no_group_divides_are_refused(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    narrow = replace(
        SPECIMENS["llama3"], config={"hidden_size": 24, "intermediate_size": 40, "head_dim": 6}
    )
    model = make_tuned(base=write_base(narrow, tmp_path / "narrow"))
    with pytest.raises(ModelError, match=r"have \[24, 40\] inputs") as error:
        make(store, model, to="compressed-tensors")
    assert "bitsandbytes" in str(error.value.hint)
    assert make(store, model, to="bitsandbytes", parity=LENIENT).passed


def test_blocks_without_linear_layers_are_refused(store: Store, tmp_path: Path) -> None:
    from transformers import GPT2Config

    folder = tmp_path / "gpt2"
    folder.mkdir()
    vocabulary = write_tokenizer(folder)
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    write_model(folder, GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2))
    found = resolve(store, str(folder))
    for form in ("compressed-tensors", "bitsandbytes"):
        with pytest.raises(ModelError, match="no linear layers"):
            Job.of(found, ExportConfig.build({"to": form}), Renderer(folder))


@pytest.mark.parametrize(("option", "value"), [("bits", 6), ("group", 16), ("rows", 0)])
def test_knobs_have_bounds(option: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"quantize.{option}"):
        ExportConfig.build({"quantize": {option: value}})


def test_a_bare_base_has_no_rows(store: Store, tiny_base: Path) -> None:
    with pytest.raises(ConfigError, match="is not here"):
        export(ExportConfig(model=str(tiny_base), to="compressed-tensors"), store)


def test_more_rows_than_memory_holds_are_refused(store: Store, tiny_base: Path) -> None:
    config = ExportConfig(to="compressed-tensors")
    job = Job.of(resolve(store, str(tiny_base)), config, Renderer(tiny_base))
    refuse_little_memory(job, 1000, torch.device("cpu"))
    with pytest.raises(ConfigError, match="are free") as error:
        refuse_little_memory(job, 10**12, torch.device("cpu"))
    assert "--quantize-rows" in str(error.value.hint)


@pytest.mark.parametrize("form", ["compressed-tensors", "bitsandbytes"])
@pytest.mark.parametrize("bits", [4, 8])
def test_numbers_that_are_none_are_not_rounded_away(
    store: Store, make_tuned: MakeTuned, base_of: Any, form: str, bits: int
) -> None:
    base = base_of("qwen3")
    file = base / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan
    save_file(tensors, file, {"format": "pt"})
    model = make_tuned(base=base)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight is not finite"):
        make(store, model, to=form, quantize={"bits": bits}, parity={"check": False})
    assert not list(store.home.glob("exports/*"))


# Read by others ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama3"])
def test_transformers_computes_the_same_from_it(
    store: Store, make_tuned: MakeTuned, base_of: Any, bits: int, kind: str
) -> None:
    """With the package that defines the format, which nothing here uses."""
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    pytest.importorskip("accelerate", reason="compressed-tensors needs accelerate")
    made = make(store, make_tuned(base=base_of(kind)), to="compressed-tensors",
                quantize={"bits": bits}, parity=LENIENT)  # fmt: skip
    how = Arithmetic(torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        expected = made.plan.read(made.folder, how).network(IDS).logits
    torch.testing.assert_close(plain_logits(made.folder), expected, atol=1e-4, rtol=0)
