"""Loading a base's weights into a transformers model, and choosing where and how to compute."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.catalog import Base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name == "cuda" and not available:
        raise ConfigError("device 'cuda' was asked for, but torch sees no GPU", "Use device=cpu.")
    if name not in {"cpu", "cuda"}:
        raise ConfigError(f"device {name!r} is not known; use auto, cpu or cuda")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 where the hardware computes in it, float32 elsewhere.

    A CPU without AVX512-BF16 or AMX emulates bfloat16 at a fraction of float32's speed.

    Raises:
        ConfigError: an unknown precision.
    """
    if name in _PRECISIONS:
        return _PRECISIONS[name]
    if name != "auto":
        raise ConfigError(f"precision {name!r} is not known; use auto, float32 or bfloat16")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    abilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = abilities.get("avx512_bf16") or abilities.get("amx_bf16")
    return torch.bfloat16 if fast else torch.float32


def load_model(base: Base, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The base as a frozen transformers model in evaluation mode, with packed attention.

    Args:
        base: a resolved base; its folder was checked, nothing in it is executed.
        device: where the weights go.
        dtype: their type.

    Raises:
        ModelError: an architecture that transformers does not hold, or weights that do not fit.
    """
    # Seconds of imports: only who loads a model pays them.
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from tunewright.model.packed_attention import register

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                base.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                attn_implementation=register(),
                output_loading_info=True,
            )
        except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
            raise ModelError(
                f"base {base.name!r} cannot be loaded: {error}",
                "Its architecture must be a causal language model that transformers knows.",
            ) from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"base {base.name!r} lacks {len(missing)} tensors, the first is {missing[0]}",
            "Its files do not belong together; fetch them again.",
        )
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention"} or not getattr(
        model, "_supports_sdpa", False
    ):
        raise ModelError(
            f"base {base.name!r} ({model.config.model_type}) does not use plain attention",
            "Packed documents could not be kept apart in it; choose another base.",
        )
    model.requires_grad_(False)
    model.eval()
    loaded: PreTrainedModel = model.to(device)
    return loaded
