"""Folders that lie about sizes, and files that never end: refused with the reason, nothing kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import write_json

from tunewright.core.errors import ModelError
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.model.catalog import resolve_base
from tunewright.model.imports import import_adapter
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


@pytest.fixture
def offline(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", offline=True)


def change(path: Path, **values: Any) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 10**9}, r"hidden_size must be .* to 1,048,576, not 1000000000"),
        ({"hidden_size": 128}, r"\[400, 64\]; its config\.json says \[400, 128\]"),
        ({"hidden_size": "64"}, "not '64'"),
        ({"hidden_size": 64.0}, r"not 64\.0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": 9999, "layer_types": None}, "says 9,999 layers; its weights hold"),
        ({"num_hidden_layers": 3, "layer_types": None}, "lacks 11 tensors"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": -2}, "num_key_value_heads"),
        ({"head_dim": True}, "head_dim"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"vocab_size": 401}, r"says \[401, 64\]"),
        ({"text_config": {"intermediate_size": 1e308}, "intermediate_size": None}, "cannot|1e"),
        ({"layer_types": ["full_attention"]}, "cannot be loaded"),
        ({"rope_parameters": {"rope_type": ["x"]}}, "cannot be loaded"),
        ({"model_type": ["qwen3"]}, "cannot be loaded"),
    ],
    ids=range(16),
)
def test_sizes_that_are_not_those_of_the_weights_are_refused(
    folder: Path, offline: Settings, values: dict[str, Any], message: str
) -> None:
    change(folder / "config.json", **values)
    with pytest.raises(ModelError, match=message):
        load_model(resolve_base(str(folder), offline), CPU, torch.float32)
    assert not offline.home.exists()


@pytest.mark.timeout(30)
def test_a_pipe_in_the_place_of_weights_is_not_waited_for(folder: Path, offline: Settings) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ModelError, match="is no file"):
        resolve_base(str(folder), offline)


_BOMBS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda _: {"normalizer": {"type": "Prepend", "prepend": "x" * 10**6}},
    lambda _: {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"Regex": "."}, "content": "xx"}] * 40,
        }
    },
    lambda _: {
        "decoder": {
            "type": "Sequence",
            "decoders": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 99}],
        }
    },
)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("bomb", _BOMBS, ids=range(len(_BOMBS)))
def test_tokenizers_that_blow_texts_up_are_refused(
    folder: Path, bomb: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    change(folder / "tokenizer.json", **bomb({}))
    with pytest.raises(ModelError, match="64 times as long"):
        Renderer(folder)


@pytest.mark.timeout(30)
def test_tokenizers_nested_without_end_are_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match="is not a tokenizer"):
        Renderer(folder)
    rule = '{"type": "Sequence", "normalizers": [' * 5000 + "]}" * 5000
    (folder / "tokenizer.json").write_text('{"normalizer": ' + rule + "}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        Renderer(folder)


_LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
_SETTINGS: dict[str, Any] = {
    "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none",
}  # fmt: skip


def pair(rank: int, other: int | None = None, path: str = _LAYER) -> dict[str, torch.Tensor]:
    rows = rank if other is None else other
    return {
        f"{path}.lora_A.weight": torch.ones(rank, 64),
        f"{path}.lora_B.weight": torch.ones(64, rows),
    }


@pytest.mark.parametrize(
    ("values", "tensors", "message"),
    [
        ({"r": 10**9}, pair(2), r"has rank 2; adapter_config\.json says \[1000000000\]"),
        ({"r": 0}, pair(2), "no whole numbers"),
        ({"r": -1}, pair(2), "no whole numbers"),
        ({"r": "2"}, pair(2), "no whole numbers"),
        ({"r": [2]}, pair(2), "no whole numbers"),
        ({"rank_pattern": [3]}, pair(2), "no whole numbers"),
        ({"rank_pattern": {"(a+)+$": 1.5}}, pair(2), "no whole numbers"),
        ({"lora_alpha": float("inf")}, pair(2), "lora_alpha=inf"),
        ({"lora_alpha": float("nan")}, pair(2), "lora_alpha=nan"),
        ({}, pair(2, 5), "lora_B.weight has rank 5"),
        ({"r": 2}, pair(0), "has rank 0"),
        ({"modules_to_save": ["lm_head"]}, pair(2), "modules_to_save"),
        ({"alpha_pattern": {"(a+)+$": 9}}, pair(2), "alpha_pattern"),
        ({"x": [{"auto_map": {"a": "b"}}]}, pair(2), "auto_map"),
        ({"_private": 1}, pair(2), "_private"),
        ({}, pair(2, path="base_model.model.../../x"), "adapts no layer"),
        ({}, {**pair(2), "evil": torch.ones(3)}, "evil"),
    ],
    ids=range(17),
)
def test_adapters_that_lie_are_refused(
    tiny_base: Path, tmp_path: Path, store: Store, values: Any, tensors: Any, message: str
) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**_SETTINGS, **values}))
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=message):
        import_adapter(tmp_path / "adapter", str(tiny_base), store)
    assert store.list(Model) == []
    assert not [*(store.home / "models").glob("*")]


def test_what_would_steer_other_loaders_is_not_taken_over(
    tiny_base: Path, tmp_path: Path, store: Store
) -> None:
    (tmp_path / "adapter").mkdir()
    steering = {
        "auto_mapping": {"base_model_class": "X", "parent_library": "os"},
        "base_model_name_or_path": "https://example.org/x",
        "rank_pattern": {"k_proj": 7},
    }
    write_json(tmp_path / "adapter" / "adapter_config.json", {**_SETTINGS, **steering})
    save_file(pair(2), tmp_path / "adapter" / "adapter_model.safetensors")
    model = import_adapter(tmp_path / "adapter", str(tiny_base), store)
    kept = json.loads((store.folder(Model, model.id) / "adapter_config.json").read_text())
    assert kept["auto_mapping"] is None
    assert kept["base_model_name_or_path"] == str(tiny_base)
    assert kept["rank_pattern"] == {}


def test_a_pattern_that_tries_for_ever_is_an_error_and_not_the_end(folder: Path) -> None:
    pattern = {"Regex": "(a+)+$"}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    change(folder / "tokenizer.json", pre_tokenizer=split)
    renderer = Renderer(folder)
    with pytest.raises(ModelError, match="breaks down on a text"):
        renderer.render_text("a" * 5000 + "!")
    assert renderer.render_text("aaa").ids
