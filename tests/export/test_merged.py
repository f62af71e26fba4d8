"""Merged exports: equal to the tuned model, readable by plain transformers, repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.export.conftest import MakeTuned
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ModelError
from tunewright.core.files import sha256_file
from tunewright.core.records import Dataset, Model
from tunewright.core.store import Store
from tunewright.export.export import export
from tunewright.export.formats import Exported
from tunewright.model.generation import TextModel
from tunewright.model.rendering import Renderer
from tunewright.model.weights import stored_tensors, weight_files


def make(store: Store, model: Model, **options: Any) -> Exported:
    """An export with a short comparison."""
    parity = {"prompts": 4, "max_new_tokens": 6, "device": "cpu", **options.pop("parity", {})}
    config = ExportConfig.build({"model": model.id, "parity": parity, **options})
    return export(config, store)


IDS = torch.tensor([[1, 60, 300, 12, 99, 41, 7]])


@torch.inference_mode()
def tuned_logits(store: Store, model: Model) -> torch.Tensor:
    """What the product itself computes."""
    logits: torch.Tensor = TextModel.load(store, model.id, "cpu").network(IDS).logits
    return logits


@torch.inference_mode()
def plain_logits(folder: Path) -> torch.Tensor:
    """What plain transformers computes from a folder."""
    logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder)(IDS).logits.float()
    return logits


@pytest.mark.parametrize(
    ("tuner", "options"),
    [
        ("lora", {}),
        ("lora", {"lora": {"rank": 4, "dora": True, "scaling": "rslora"}}),
        ("ia3", {}),
        ("freeze", {"freeze": {"blocks": 1}}),
        ("full", {}),
    ],
)
def test_every_tuner_that_merges_gives_equal_logits(
    store: Store, make_tuned: MakeTuned, tuner: str, options: dict[str, Any]
) -> None:
    model = make_tuned(tuner, **options)
    made = make(store, model)
    assert made.passed
    assert made.parity is not None
    assert made.parity["logits"]["largest_difference"] <= 1e-4
    assert made.parity["answers"]["identical"] == 4
    assert made.parity["prompts"].startswith("test rows of shop")
    expected = tuned_logits(store, model)
    torch.testing.assert_close(plain_logits(made.folder), expected, atol=1e-4, rtol=0)
    # The tuned model is not the base: the comparison could have failed.
    assert (plain_logits(Path(model.base)) - expected).abs().max() > 1e-2


def test_models_below_are_merged_too(store: Store, make_tuned: MakeTuned) -> None:
    below = make_tuned("ia3")
    model = make_tuned("lora", folded=(below.id,))
    made = make(store, model)
    assert made.passed
    torch.testing.assert_close(
        plain_logits(made.folder), tuned_logits(store, model), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("tuner", ["prefix", "bottleneck"])
def test_what_works_beside_the_weights_is_refused(
    store: Store, make_tuned: MakeTuned, tuner: str
) -> None:
    model = make_tuned(tuner)
    with pytest.raises(ModelError, match="cannot be written into"):
        make(store, model)
    assert not (store.home / "exports").exists()


def test_shards_keep_the_base_s_names_and_a_second_export_is_equal(
    store: Store, make_tuned: MakeTuned, tmp_path: Path
) -> None:
    model = make_tuned()
    first, second = (
        make(store, model, output=str(tmp_path / name), shard_gb=1e-4).folder for name in ("a", "b")
    )
    names = sorted(file.name for file in weight_files(first))
    assert len(names) > 1
    assert all(name.endswith(f"-of-{len(names):05d}.safetensors") for name in names)
    for name in [*names, "model.safetensors.index.json"]:
        assert sha256_file(first / name) == sha256_file(second / name)
    merged = {n: t.shape for file in weight_files(first) for n, t in stored_tensors(file).items()}
    base = stored_tensors(Path(model.base) / "model.safetensors")
    assert merged == {name: tensor.shape for name, tensor in base.items()}
    assert all((file.stat().st_mode & 0o777) == 0o644 for file in first.iterdir())


def test_narrow_types_pass_by_their_own_tolerance(store: Store, make_tuned: MakeTuned) -> None:
    made = make(store, make_tuned(), dtype="bfloat16")
    assert made.parity is not None
    assert made.parity["precision"] == "bfloat16"
    assert made.passed
    assert 0 < made.parity["logits"]["largest_difference"] < 0.1
    loaded = AutoModelForCausalLM.from_pretrained(made.folder)
    assert loaded.dtype == torch.bfloat16


def test_tokens_template_and_ends_are_those_of_training(
    store: Store, make_tuned: MakeTuned
) -> None:
    model = make_tuned()
    folder = make(store, model).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "押金什么时候退?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    renderer = Renderer(Path(model.base))
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert (
        ids
        == Renderer(folder)
        .tokenizer.encode(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False),
            add_special_tokens=False,
        )
        .ids
    )
    assert loaded.generation_config.eos_token_id == sorted(renderer.eos_ids)
    assert Renderer(folder).hash == renderer.hash


def test_a_base_without_a_template_takes_the_plain_one_along(
    store: Store, make_tuned: MakeTuned, tiny_llama: Path
) -> None:
    made = make(store, make_tuned("lora", base=tiny_llama))
    assert made.passed
    assert "### " in (made.folder / "chat_template.jinja").read_text(encoding="utf-8")


def test_the_card_names_base_dataset_and_recipe(
    store: Store, make_tuned: MakeTuned, tested: Dataset
) -> None:
    model = make_tuned()
    made = make(store, model)
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert model.base_digest[:12] in card
    assert tested.id in card
    assert "base_model: tiny" in card
    assert str(Path(model.base).parent) not in card
    assert "tuner: lora\nlora:\n  rank: 4\n```" in card
    assert "**Passed**" in card
    assert "vllm serve . --served-model-name ft:tiny" in card
    assert "not evaluated" in card
