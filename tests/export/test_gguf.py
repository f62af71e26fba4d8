"""GGUF exports: names, sizes, vocabulary, and numbers that come back as they went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, TokenType
from tests.conftest import CHATML, write_json
from tests.export.conftest import LLAMA3, SIZES, MakeTuned
from tests.export.test_merged import make

from tunewright.core.errors import ModelError
from tunewright.core.store import Store
from tunewright.export.formats import Exported
from tunewright.export.gguf.architecture import architecture_of, settings_of
from tunewright.export.gguf.mixtures import MIXTURES
from tunewright.export.gguf.rotary import rope_factors
from tunewright.export.gguf.sizes import check_sizes
from tunewright.export.tolerances import TOLERANCES

K_QUANTS = tuple(name for name in MIXTURES if "_k" in name)


def opened(made: Exported) -> GGUFReader:
    """The export's only GGUF file."""
    (file,) = made.folder.glob("*.gguf")
    return GGUFReader(file)


def contents(reader: GGUFReader, key: str) -> Any:
    """One value of the file's head."""
    return reader.fields[key].contents()


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "llama3"])
def test_what_is_read_back_equals_the_tuned_model(
    store: Store, make_tuned: MakeTuned, base_of: Any, kind: str
) -> None:
    made = make(store, make_tuned("lora", base=base_of(kind)), to="gguf", gguf="f32")
    assert made.passed
    assert made.parity is not None
    assert made.parity["precision"] == "float32"
    assert made.parity["logits"]["largest_difference"] <= 1e-4
    assert made.parity["answers"]["same_prompt_ids"] == 4
    assert made.parity["answers"]["identical"] == 4


def test_names_types_and_ends(store: Store, make_tuned: MakeTuned, base_of: Any) -> None:
    base = base_of("qwen2")
    write_json(base / "generation_config.json", {"eos_token_id": [0, 2]})
    made = make(store, make_tuned("lora", base=base), to="gguf", gguf="q8_0",
                parity={"check": False})  # fmt: skip
    reader = opened(made)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == kinds["blk.1.ffn_down.weight"] == "Q8_0"
    assert kinds["blk.0.attn_q.bias"] == kinds["output_norm.weight"] == "F32"
    assert contents(reader, "general.architecture") == "qwen2"
    assert contents(reader, "qwen2.rope.freq_base") == 5e4
    tokens = contents(reader, "tokenizer.ggml.tokens")
    types = contents(reader, "tokenizer.ggml.token_type")
    assert tokens[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert types[:3] == [TokenType.CONTROL] * 3
    assert types[-8:] == [TokenType.UNUSED] * 8
    assert tokens[-1] == f"[PAD{len(tokens) - 1}]"
    assert contents(reader, "tokenizer.ggml.pre") == "gpt-2"
    assert contents(reader, "tokenizer.ggml.eos_token_id") == 2
    assert contents(reader, "tokenizer.ggml.eot_token_id") == 0
    assert contents(reader, "tokenizer.ggml.add_bos_token") is False
    assert contents(reader, "tokenizer.chat_template") == CHATML


@pytest.mark.parametrize("stored_as", ["f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_every_type_is_written_and_compared(
    store: Store, make_tuned: MakeTuned, stored_as: str
) -> None:
    # Random weights have no clear answers: only that it is compared is of interest here.
    lenient = {"tolerance": {"divergence": 1, "agreement": 0.01, "endings": 0.01}}
    made = make(store, make_tuned(), to="gguf", gguf=stored_as, parity=lenient)
    assert made.passed
    assert made.parity is not None
    assert 0 < made.parity["logits"]["mean_divergence"] < 0.05
    planned, there = made.plan.bytes, made.bytes
    assert there < planned + 20_000


@pytest.mark.parametrize("stored_as", K_QUANTS)
def test_every_k_quant_is_written_and_compared(
    store: Store, make_tuned: MakeTuned, base_of: Any, stored_as: str
) -> None:
    base = base_of("qwen2", hidden_size=256, intermediate_size=512)
    # Random weights have no clear answers: whether it passes is of no interest here.
    made = make(store, make_tuned("lora", base=base), to="gguf", gguf=stored_as,
                parity={"prompts": 2})  # fmt: skip
    assert made.parity is not None
    assert made.parity["precision"] == stored_as
    assert 0 < made.parity["logits"]["mean_divergence"] < 0.1
    tensors = opened(made).tensors
    shapes = {tensor.name: tuple(tensor.shape[::-1].tolist()) for tensor in tensors}
    kinds = {tensor.name: tensor.tensor_type for tensor in tensors}
    assert kinds == MIXTURES[stored_as].kinds(shapes)
    assert kinds["blk.0.ffn_gate.weight"] is MIXTURES[stored_as].usual
    assert contents(opened(made), "general.file_type") == MIXTURES[stored_as].file


@pytest.mark.parametrize(
    "stored_as",
    [name if name == "q4_k_m" else pytest.param(name, marks=pytest.mark.slow) for name in K_QUANTS],
)
def test_k_quants_of_nano_stay_far_within_their_tolerances(
    store: Store, make_tuned: MakeTuned, stored_as: str
) -> None:
    quick = {"prompts": 2, "max_new_tokens": 8}
    made = make(store, make_tuned("ia3", base=Path("nano")), to="gguf", gguf=stored_as,
                parity=quick)  # fmt: skip
    assert made.passed
    assert made.parity is not None
    assert 0 < made.parity["logits"]["mean_divergence"] < TOLERANCES[stored_as].divergence / 4


def test_a_second_export_is_equal(store: Store, make_tuned: MakeTuned, tmp_path: Path) -> None:
    model = make_tuned()
    quick = {"check": False}
    first, second = (
        make(store, model, to="gguf", output=str(tmp_path / n), parity=quick) for n in ("a", "b")
    )
    (one,), (other,) = first.folder.glob("*.gguf"), second.folder.glob("*.gguf")
    assert one.read_bytes() == other.read_bytes()


def test_ollama_gets_the_template_where_one_is_equal(
    store: Store, make_tuned: MakeTuned, tiny_llama: Path
) -> None:
    quick = {"check": False}
    chatml = make(store, make_tuned(), to="gguf", parity=quick).folder / "Modelfile"
    text = chatml.read_text(encoding="utf-8")
    assert text.startswith("FROM ./ft-tiny-local-lora-")
    assert "<|im_start|>{{ .Role }}" in text
    assert 'PARAMETER stop "<|im_end|>"' in text
    plain = make(store, make_tuned("lora", base=tiny_llama), to="gguf", gguf="f32")
    text = (plain.folder / "Modelfile").read_text(encoding="utf-8")
    assert "TEMPLATE" not in text
    assert "llama-server --jinja" in text
    assert plain.passed


def test_a_begin_token_that_the_base_lacks_is_not_written(
    store: Store, make_tuned: MakeTuned, base_of: Any
) -> None:
    base = base_of("qwen2")
    template = "{% if bos_token is defined %}{{ bos_token }}{% endif %}" + CHATML
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")
    made = make(store, make_tuned("lora", base=base), to="gguf", gguf="f32")
    assert made.passed
    assert contents(opened(made), "tokenizer.chat_template").startswith("{%- set bos_token")


def test_tokenizers_that_llama_cpp_does_not_run_are_refused(
    store: Store, make_tuned: MakeTuned, base_of: Any
) -> None:
    base = base_of("qwen2")
    path = base / "tokenizer.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["pre_tokenizer"]["add_prefix_space"] = True
    write_json(path, described)
    with pytest.raises(ModelError, match="cuts texts into words"):
        make(store, make_tuned("lora", base=base), to="gguf")


def test_unknown_architectures_and_scalings_are_refused(base_of: Any) -> None:
    base = base_of("qwen2")
    config = settings_of(base)
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0,
            "original_max_position_embeddings": 128}  # fmt: skip
    with pytest.raises(ModelError, match="rotary scaling 'yarn'"):
        check_sizes(architecture_of(config), {**config, "rope_parameters": yarn})
    longrope = {**yarn, "rope_type": "longrope", "long_factor": [2.0], "short_factor": [1.0]}
    with pytest.raises(ModelError, match="rotary scaling 'longrope'"):
        check_sizes(architecture_of(config), {**config, "rope_parameters": longrope})
    with pytest.raises(ModelError, match="hidden_act='silu' only"):
        architecture_of({**config, "hidden_act": "relu"})
    write_json(base / "config.json", {"model_type": "gpt2"})
    with pytest.raises(ModelError, match="model_type 'gpt2'"):
        settings_of(base)


def test_llama_3_factors_equal_those_of_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(**SIZES, rope_parameters=LLAMA3)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors = rope_factors(config.to_dict(), 16)
    assert factors is not None
    plain = 1 / 500.0 ** (torch.arange(0, 16, 2).float() / 16)
    torch.testing.assert_close(plain / factors, scaled, atol=1e-6, rtol=1e-5)
    assert factors.max() > 1.5
