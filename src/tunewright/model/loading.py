"""Loading a base's weights into a transformers model, and choosing where and how to compute."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tunewright.core.errors import ConfigError, ModelError
from tunewright.model.catalog import Base
from tunewright.model.families import CAPPED, is_tested
from tunewright.model.folders import read_json
from tunewright.model.sizes import refuse_false_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Share of the largest logit by which equal computations may differ."""


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
    _refuse_quantised(base)
    refuse_false_sizes(base)
    # Seconds of imports: only who loads a model pays them.
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from tunewright.model.packed_attention import NAME, register

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
        except (
            ArithmeticError, AttributeError, LookupError, OSError, RuntimeError,
            StrictDataclassError, TypeError, ValueError,
        ) as error:  # fmt: skip
            reason = "it computes attention in its own way" if error.args == (NAME,) else error
            raise ModelError(
                f"base {base.name!r} cannot be loaded: {reason}",
                "Its architecture must be a causal language model that transformers knows.",
            ) from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"base {base.name!r} lacks {len(missing)} tensors, the first is {missing[0]}",
            "Its files do not belong together; fetch them again.",
        )
    _refuse_other_attention(base, model)
    model.requires_grad_(False)
    model.eval()
    loaded: PreTrainedModel = model.to(device)
    if not is_tested(loaded.config.model_type):
        _try_packing(base, loaded)
    return loaded


def _refuse_quantised(base: Base) -> None:
    """Refuse weights that were rounded for serving: they load with foreign kernels, if at all, and
    what is tuned beside them fits no other copy.

    Raises:
        ModelError: naming how they are held.
    """
    held = read_json(base.folder / "config.json").get("quantization_config")
    if held:
        method = held.get("quant_method") if isinstance(held, dict) else None
        raise ModelError(
            f"the weights of base {base.name!r} are already quantised ({method or 'unnamed'})",
            "Take the original; quantize=nf4 or quantize=int8 holds it in 4 or 8 bits.",
        )


def _refuse_other_attention(base: Base, model: PreTrainedModel) -> None:
    """Refuse what ``packed_attention`` does not compute.

    Raises:
        ModelError: the base does.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    plain = getattr(model, "_supports_sdpa", False) or model.config.model_type in CAPPED
    # An encoder made from a decoder looks ahead, as an answer that is being written cannot.
    ahead = getattr(config, "use_bidirectional_attention", None)
    if kinds - {"full_attention", "sliding_attention"} or not plain or ahead:
        raise _not_plain(base, model)


def _try_packing(base: Base, model: PreTrainedModel) -> None:
    """Whether two short documents give the same laid end to end as each alone.

    Raises:
        ModelError: they do not; what one says would leak into the other.
    """
    vocabulary = model.config.get_text_config().vocab_size
    documents = [torch.arange(1, 6) % vocabulary, torch.arange(3, 10) % vocabulary]
    try:
        together, alone = _both_ways(model, documents)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise ModelError(
            f"base {base.name!r} ({model.config.model_type}) cannot read packed documents: {error}",
            "Choose another base.",
        ) from None
    # Rounding differs with the shape of a product; another document's words change far more.
    allowed = _ROUNDING[model.dtype] * float(alone.abs().max())
    if not float((together - alone).abs().max()) <= allowed:
        raise _not_plain(base, model)


@torch.inference_mode()
def _both_ways(model: PreTrainedModel, documents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits of documents laid end to end, and each alone: (tokens, vocab), float32."""
    packed = {
        "input_ids": torch.cat(list(documents))[None].to(model.device),
        "position_ids": torch.cat([torch.arange(len(ids)) for ids in documents])[None].to(
            model.device
        ),
        "cu_seqlens": torch.tensor([0, *map(len, documents)]).cumsum(0).int(),
    }
    together = model(**packed, use_cache=False).logits[0]
    alone = [
        model(input_ids=ids[None].to(model.device), use_cache=False).logits[0] for ids in documents
    ]
    return together.float(), torch.cat(alone).float()


def _not_plain(base: Base, model: PreTrainedModel) -> ModelError:
    return ModelError(
        f"base {base.name!r} ({model.config.model_type}) does not use plain attention",
        "Packed documents could not be kept apart in it; choose another base.",
    )
