"""Exports to bitsandbytes: read by transformers and bitsandbytes as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.export.conftest import MakeTuned
from tests.export.test_compressed_tensors import LENIENT, settings_of
from tests.export.test_merged import make

from tunewright.core.files import sha256_file
from tunewright.core.store import Store
from tunewright.export.bitsandbytes import decode_int8, decode_nf4
from tunewright.export.merging import MergedWeights
from tunewright.export.skeleton import TensorFolder
from tunewright.model.references import resolve
from tunewright.model.weights import stored_tensors, weight_files

LAYER = "model.layers.1.mlp.down_proj"


@pytest.mark.parametrize(("bits", "precision", "bound"), [(4, "nf4", 0.5), (8, "int8", 0.002)])
def test_what_is_read_back_is_near_the_tuned_model(
    store: Store, make_tuned: MakeTuned, bits: int, precision: str, bound: float
) -> None:
    made = make(store, make_tuned(), to="bitsandbytes", quantize={"bits": bits}, parity=LENIENT)
    assert made.passed
    assert made.parity is not None
    assert made.parity["precision"] == precision
    assert 0 < made.parity["logits"]["mean_divergence"] < bound
    assert made.plan.runs.keys() == {"vllm"}
    assert made.folder.name.endswith(f"-bitsandbytes-{bits}bit")


@pytest.mark.parametrize(("bits", "bound"), [(4, 0.2), (8, 0.01)])
def test_weights_are_off_by_few_steps(
    store: Store, make_tuned: MakeTuned, bits: int, bound: float
) -> None:
    model = make_tuned()
    made = make(store, model, to="bitsandbytes", quantize={"bits": bits}, parity={"check": False})
    weight = MergedWeights(resolve(store, model.id)).read(f"{LAYER}.weight")
    decode = {4: decode_nf4, 8: decode_int8}[bits]
    read = decode(settings_of(made.folder), LAYER, TensorFolder(made.folder))
    assert read.shape == weight.shape
    assert 0 < (read - weight).norm() / weight.norm() < bound


def test_names_types_and_settings(store: Store, make_tuned: MakeTuned, base_of: Any) -> None:
    model = make_tuned(base=base_of("qwen2"))
    made = make(store, model, to="bitsandbytes", dtype="bfloat16", parity={"check": False})
    (file,) = weight_files(made.folder)
    tensors = stored_tensors(file)
    assert tensors[f"{LAYER}.weight"].dtype == "U8"
    assert tensors[f"{LAYER}.weight"].shape == (64 * 96 // 2, 1)
    state = load_file(file)[f"{LAYER}.weight.quant_state.bitsandbytes__nf4"]
    told = json.loads(bytes(state.tolist()))
    assert told["shape"] == [64, 96]
    assert told["dtype"] == "bfloat16"
    assert tensors["lm_head.weight"].dtype == "BF16"
    assert settings_of(made.folder)["llm_int8_skip_modules"] == ["lm_head"]


@pytest.mark.parametrize("bits", [4, 8])
def test_a_second_export_is_equal(
    store: Store, make_tuned: MakeTuned, tmp_path: Path, bits: int
) -> None:
    model = make_tuned()
    first, second = (
        make(store, model, to="bitsandbytes", quantize={"bits": bits}, parity={"check": False},
             output=str(tmp_path / name)).folder
        for name in ("a", "b")
    )  # fmt: skip
    for name in ("model.safetensors", "config.json"):
        assert sha256_file(first / name) == sha256_file(second / name)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.filterwarnings("ignore")
def test_transformers_loads_it(
    store: Store, make_tuned: MakeTuned, base_of: Any, bits: int
) -> None:
    """Its layers hold the numbers that are read back here."""
    pytest.importorskip("accelerate", reason="transformers needs accelerate for bitsandbytes")
    from transformers import AutoModelForCausalLM

    from tunewright.model.tuners.quantize import bitsandbytes_functions

    kernels = bitsandbytes_functions()
    made = make(store, make_tuned(base=base_of("qwen3")), to="bitsandbytes",
                quantize={"bits": bits}, parity={"check": False})  # fmt: skip
    loaded = AutoModelForCausalLM.from_pretrained(made.folder, device_map="cpu")
    weight = loaded.get_submodule(LAYER).weight
    decode = {4: decode_nf4, 8: decode_int8}[bits]
    expected = decode(settings_of(made.folder), LAYER, TensorFolder(made.folder))
    if bits == 4:
        found = kernels.dequantize_4bit(weight.data, weight.quant_state)
    else:
        found = weight.data.float() * weight.SCB[:, None] / 127
    torch.testing.assert_close(found.float(), expected, atol=1e-6, rtol=1e-5)
