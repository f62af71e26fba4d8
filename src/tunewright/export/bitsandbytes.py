"""``--to bitsandbytes``: NF4 or int8 that transformers and vLLM load as they are.

NF4 as in QLoRA (Dettmers et al. 2023, arXiv 2305.14314), with scales that are rounded again; int8
as in LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339), one scale per output. Neither looks at
data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from tunewright.config.export import ExportConfig
from tunewright.export.formats import Plan
from tunewright.export.merged import vllm_line
from tunewright.export.quantised import Job, Layout, Parts, plan_quantised
from tunewright.export.safetensors_files import Planned
from tunewright.export.skeleton import TensorFolder
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.quantize import bitsandbytes_functions

_BLOCK, _NESTED = 64, 256
_STATE = "quant_state.bitsandbytes__nf4"
_STATE_BYTES = 256
"""Room for the JSON text of a layer's state: its length must be known before its numbers are."""


def plan(found: Resolved, config: ExportConfig, renderer: Renderer) -> Plan:
    """An export to bitsandbytes.

    Raises:
        ModelError: a tuner that cannot be merged, or a base whose layers cannot be rounded.
        ConfigError: 4 bits, and bitsandbytes is not installed.
    """
    job = Job.of(found, config, renderer)
    build = _LAYOUTS[config.quantize.bits]
    layout, produce = build(job)
    needed = "Whoever loads it needs the package bitsandbytes; transformers also accelerate."
    runs = {"vllm": vllm_line(found, renderer)}
    return plan_quantised(job, layout, lambda: produce, runs, (needed,))


Produce = Callable[[str], dict[str, Tensor]]


def _nf4(job: Job) -> tuple[Layout, Produce]:
    kernels = bitsandbytes_functions()

    def parts(layer: str) -> Parts:
        outputs, inputs = job.shape(layer)
        scales = -(-outputs * inputs // _BLOCK)
        name = f"{layer}.weight"
        return {
            name: Planned((-(-outputs * inputs // 2), 1), torch.uint8),
            f"{name}.absmax": Planned((scales,), torch.uint8),
            f"{name}.nested_absmax": Planned((-(-scales // _NESTED),), torch.float32),
            f"{name}.nested_quant_map": Planned((256,), torch.float32),
            f"{name}.quant_map": Planned((16,), torch.float32),
            f"{name}.{_STATE}": Planned((_STATE_BYTES,), torch.uint8),
        }

    def produce(layer: str) -> dict[str, Tensor]:
        name = f"{layer}.weight"
        levels, state = kernels.quantize_4bit(
            job.read(name), blocksize=_BLOCK, quant_type="nf4", compress_statistics=True
        )
        # It was rounded from float32; this is what whoever loads it computes in.
        state.dtype = job.dtype(name)
        found = state.as_dict(packed=True)
        text = found[_STATE]
        blanks = torch.full((_STATE_BYTES - len(text),), ord(" "), dtype=torch.uint8)
        found[_STATE] = torch.cat([text, blanks])
        return {name: levels, **{f"{name}.{key}": tensor for key, tensor in found.items()}}

    settings = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_compute_dtype": _type_name(job),
    }
    return Layout("nf4", parts, decode_nf4, settings, "llm_int8_skip_modules"), produce


def decode_nf4(settings: Mapping[str, Any], layer: str, tensors: TensorFolder) -> Tensor:
    """A layer's weight (out, in) in float32, by bitsandbytes itself."""
    kernels = bitsandbytes_functions()
    name = f"{layer}.weight"
    state = kernels.QuantState.from_dict(tensors.starting(f"{name}."), torch.device("cpu"))
    state.dtype = torch.float32
    weight: Tensor = kernels.dequantize_4bit(tensors.read(name), state)
    return weight


def _int8(job: Job) -> tuple[Layout, Produce]:
    def parts(layer: str) -> Parts:
        outputs, inputs = job.shape(layer)
        return {
            f"{layer}.weight": Planned((outputs, inputs), torch.int8),
            f"{layer}.SCB": Planned((outputs,), torch.float32),
            f"{layer}.weight_format": Planned((), torch.uint8),
        }

    def produce(layer: str) -> dict[str, Tensor]:
        weight = job.read(f"{layer}.weight")
        largest = weight.abs().amax(dim=1)
        levels = (weight * (127 / largest.clamp_min(1e-30))[:, None]).round().to(torch.int8)
        rows = torch.tensor(0, dtype=torch.uint8)  # the plain order, of several
        return {
            f"{layer}.weight": levels,
            f"{layer}.SCB": largest,
            f"{layer}.weight_format": rows,
        }

    settings = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": False,
        "load_in_8bit": True,
        "llm_int8_threshold": 6.0,
        "llm_int8_has_fp16_weight": False,
    }
    return Layout("int8", parts, decode_int8, settings, "llm_int8_skip_modules"), produce


def decode_int8(settings: Mapping[str, Any], layer: str, tensors: TensorFolder) -> Tensor:
    """A layer's weight (out, in) in float32."""
    scales = tensors.read(f"{layer}.SCB") / 127
    return tensors.read(f"{layer}.weight").float() * scales[:, None]


_LAYOUTS: Mapping[int, Callable[[Job], tuple[Layout, Produce]]] = MappingProxyType(
    {4: _nf4, 8: _int8}
)


def _type_name(job: Job) -> str:
    """The type that a base's weights are computed in; float16 never."""
    first = job.dtype(f"{job.matrices.rounded[0]}.weight")
    return "float32" if first == torch.float32 else "bfloat16"
