"""How llama.cpp names a model's tensors, for the architectures that it and we know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from tunewright.core.errors import ModelError
from tunewright.model.folders import read_json

CONVERT = "Export --to merged and use llama.cpp's convert_hf_to_gguf.py."
"""What to do about what is not written here."""
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(.+)")
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_ATTENTION = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GATED = {
    **_ATTENTION,
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# One matrix for gate and up, the gate's rows first.
_JOINT = {**_ATTENTION, "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_GLM4 = {
    **_JOINT,
    "post_self_attn_layernorm": "post_attention_norm",
    "post_mlp_layernorm": "post_ffw_norm",
}
_GEMMA2 = {
    **_GATED,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_PHI3 = {**_JOINT, "self_attn.qkv_proj": "attn_qkv"}
_MIXTRAL = {
    **_ATTENTION,
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.experts.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.w2": "ffn_down_exps",
    "block_sparse_moe.experts.w3": "ffn_up_exps",
}
_EXPERTS = {
    **_ATTENTION,
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
}
_SILU = {"hidden_act": "silu"}
EXPERT_COUNT = "expert_count"
"""llama.cpp's key of how many experts a layer has."""
_USED = {"num_local_experts": EXPERT_COUNT, "num_experts_per_tok": "expert_used_count"}
_GELU = "gelu_pytorch_tanh"


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp.

    Attributes:
        name: as llama.cpp calls it.
        model_type: as transformers calls what computes the same.
        layer: transformers' names of a layer's parts → llama.cpp's.
        interleaved: whether it rotates neighbouring channels where transformers rotates halves,
            so that the rows of queries and keys are reordered.
        shift: what is added to the weights of norms; transformers' Gemma adds it itself.
        fixed: options of the config that llama.cpp takes for granted.
        sizes: further whole numbers of the config → llama.cpp's keys.
        numbers: further numbers.
        square: whether all heads together must have as many channels as a layer.
        windows: every how many layers one without a sliding window follows, unless the file says
            otherwise; 0 where llama.cpp computes no windows.
    """

    name: str
    model_type: str
    layer: Mapping[str, str] = field(default_factory=lambda: _GATED)
    interleaved: bool = False
    shift: float = 0.0
    fixed: Mapping[str, Any] = field(default_factory=lambda: _SILU)
    sizes: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    square: bool = False
    windows: int = 0

    @property
    def experts(self) -> bool:
        """Whether its layers are mixtures of experts."""
        return EXPERT_COUNT in self.sizes.values()


_LLAMA = Architecture("llama", "llama", interleaved=True)
_CAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "llama": _LLAMA,
        "mistral": _LLAMA,
        "mixtral": Architecture(
            "llama", "mixtral", layer=_MIXTRAL, interleaved=True,
            sizes=_USED,
        ),
        "qwen2": Architecture("qwen2", "qwen2"),
        "qwen3": Architecture("qwen3", "qwen3"),
        "qwen3_moe": Architecture(
            "qwen3moe", "qwen3_moe", layer=_EXPERTS,
            fixed={**_SILU, "norm_topk_prob": True, "decoder_sparse_step": 1,
                   "mlp_only_layers": []},
            sizes={**_USED, "moe_intermediate_size": "expert_feed_forward_length"},
        ),
        "glm": Architecture("chatglm", "glm", layer=_JOINT, square=True),
        "glm4": Architecture("glm4", "glm4", layer=_GLM4),
        "gemma": Architecture("gemma", "gemma", shift=1.0, fixed={"hidden_act": _GELU}),
        "gemma2": Architecture(
            "gemma2", "gemma2", layer=_GEMMA2, shift=1.0, fixed={"hidden_activation": _GELU},
            numbers=_CAPS, windows=2,
        ),
        "gemma3_text": Architecture(
            "gemma3", "gemma3_text", layer=_GEMMA2, shift=1.0, windows=6,
            fixed={
                "hidden_activation": _GELU, "attn_logit_softcapping": None,
                "final_logit_softcapping": None, "use_bidirectional_attention": False,
            },
        ),
        "phi3": Architecture("phi3", "phi3", layer=_PHI3, square=True),
    }
)  # fmt: skip
"""By ``model_type`` of the base's config; a new one is one entry."""
_READ = MappingProxyType({(a.name, a.experts): a for a in ARCHITECTURES.values()})


def settings_of(folder: Path) -> dict[str, Any]:
    """A base's ``config.json`` with what transformers assumes where it says nothing.

    Raises:
        ModelError: an architecture that is not written as GGUF here.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") not in ARCHITECTURES:
        raise ModelError(
            f"GGUF is not written for model_type {config.get('model_type')!r};"
            f" known: {', '.join(ARCHITECTURES)}",
            CONVERT,
        )
    from transformers import AutoConfig

    settings: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    return settings


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture of a base's settings.

    Raises:
        ModelError: options that llama.cpp does not compute for it.
    """
    found = ARCHITECTURES[str(config["model_type"])]
    for key, value in found.fixed.items():
        if config.get(key, value) != value:
            raise ModelError(
                f"llama.cpp computes {found.name} with {key}={value!r} only, this base has"
                f" {config[key]!r}",
                CONVERT,
            )
    return found


def architecture_read(fields: Mapping[str, Any]) -> Architecture:
    """The architecture that a file names.

    Raises:
        ModelError: one that we do not write.
    """
    name = fields["general.architecture"]
    found = _READ.get((name, f"{name}.{EXPERT_COUNT}" in fields))
    if found is None:
        raise ModelError(f"architecture {name!r} of the GGUF file is not known")
    return found


def tensor_names(
    architecture: Architecture, stored: Iterable[str], tied: bool
) -> dict[str, tuple[str, ...]]:
    """llama.cpp's tensors → the base's tensors that each is made of; several are stacked.

    Args:
        architecture: of the base.
        stored: names of the base's tensors.
        tied: whether the head is the embedding, so that a copy of it is left out.

    Raises:
        ModelError: a tensor that the architecture does not have.
    """
    found: dict[str, dict[int, str]] = {}
    for name in stored:
        if tied and name == "lm_head.weight":
            continue
        match = _EXPERT.fullmatch(name)
        whole, number = (f"{match[1]}.{match[3]}", int(match[2])) if match else (name, 0)
        found.setdefault(_tensor_name(architecture, whole), {})[number] = name
    return {name: tuple(parts[n] for n in sorted(parts)) for name, parts in found.items()}


def _tensor_name(architecture: Architecture, name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in architecture.layer:
        raise ModelError(f"llama.cpp has no place for tensor {name!r}", "Export --to merged.")
    return f"blk.{match[1]}.{architecture.layer[match[2]]}.{match[3]}"


def base_name(architecture: Architecture, name: str) -> str:
    """The name of a tensor of llama.cpp in a loaded base.

    transformers keeps the experts of a layer stacked, under one name for all architectures.

    Raises:
        ModelError: one that we do not write.
    """
    top = {ours: theirs for theirs, ours in _TOP.items()}
    if name in top:
        return top[name]
    match = _BLOCK.fullmatch(name)
    names = {**architecture.layer, **(_EXPERTS if architecture.experts else {})}
    layer = {ours: theirs for theirs, ours in names.items()}
    if match is None or match[2] not in layer:
        raise ModelError(f"tensor {name!r} of the GGUF file is not known")
    return f"model.layers.{match[1]}.{layer[match[2]]}.{match[3]}"


def arranged(
    architecture: Architecture, config: Mapping[str, Any], name: str, tensor: Tensor
) -> Tensor:
    """A tensor of the base, by its name there, as llama.cpp wants it.

    transformers rotates channel i with channel i + d/2 of a head; llama.cpp's ``llama`` rotates
    neighbours, so that the rows of queries and keys change places.
    """
    if _is_norm(name):
        return tensor + architecture.shift
    heads = _rotated_heads(architecture, config, name)
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def restored(
    architecture: Architecture, config: Mapping[str, Any], name: str, tensor: Tensor
) -> Tensor:
    """The inverse of ``arranged``."""
    if _is_norm(name):
        return tensor - architecture.shift
    heads = _rotated_heads(architecture, config, name)
    if heads is None:
        return tensor
    pairs = tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, *tensor.shape[1:])
    return pairs.transpose(1, 2).reshape(tensor.shape)


def _is_norm(name: str) -> bool:
    return name.endswith("norm.weight")


def _rotated_heads(architecture: Architecture, config: Mapping[str, Any], name: str) -> int | None:
    """How many heads' rows change places; None where none do."""
    kind = name.rsplit(".", 2)[-2]
    if not architecture.interleaved or kind not in ("q_proj", "k_proj"):
        return None
    heads = int(config["num_attention_heads"])
    return heads if kind == "q_proj" else int(config.get("num_key_value_heads") or heads)
