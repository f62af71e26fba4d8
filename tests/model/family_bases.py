"""Tiny random bases in the form of each family of the catalog: config, tokenizer and template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import TEXTS, write_json, write_model
from tests.model import family_templates as templates
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
# Attention through a low rank: keys are wider than values.
_LATENT: dict[str, Any] = {
    **_EXPERTS, "num_key_value_heads": 4, "q_lora_rank": 12, "kv_lora_rank": 16,
    "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6, "n_routed_experts": 4,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1,
}  # fmt: skip
_SPLIT = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Specimen:
    """A family as it is published, in small.

    Attributes:
        model_type: of its config.
        template: the chat template.
        tokenizer: ``bytes`` (byte-level), ``llama`` or ``gemma`` (with byte fallback).
        specials: control tokens, in the order of their ids.
        variables: of ``tokenizer_config.json``.
        ends: tokens that ``generation_config.json`` names as ends.
        end: the token that the last answer of a conversation ends with.
        config: what its config has beside the usual sizes.
        system: whether the template knows a system turn.
        tools: whether the template knows tools.
        ended: whether the template itself writes an end after the last answer.
        forgets: whether it leaves the system turn out once the last answer is there.
        targets: layers that a LoRA goes to by default.
    """

    model_type: str
    template: str
    tokenizer: str
    specials: tuple[str, ...]
    variables: Mapping[str, str]
    ends: tuple[str, ...]
    end: str
    config: Mapping[str, Any] = field(default_factory=dict)
    system: bool = True
    tools: bool = False
    ended: bool = True
    forgets: bool = False
    targets: str = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"


_FUSED_GATE = "q_proj k_proj v_proj o_proj gate_up_proj down_proj"
_ATTENTION_ONLY = "q_proj k_proj v_proj o_proj"
_LATENT_TARGETS = (
    "q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj gate_proj up_proj down_proj"
)
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN_VARIABLES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_GLM = (
    "<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>",
    "<|observation|>",
)  # fmt: skip
_GLM_VARIABLES = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
_GLM_ENDS = ("<|endoftext|>", "<|user|>", "<|observation|>")
_GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_GEMMA_VARIABLES = {
    "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
}  # fmt: skip
_GEMMA_SIZES: dict[str, Any] = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 11}
_SENTENCE = ("<unk>", "<s>", "</s>")
_SENTENCE_VARIABLES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_MISTRAL = (
    *_SENTENCE, "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
)  # fmt: skip
_LLAMA3 = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>",
)  # fmt: skip
_PHI3 = (*_SENTENCE, "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
_PHI4 = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
_DEEPSEEK_VARIABLES = {"bos_token": _DEEPSEEK[0], "eos_token": _DEEPSEEK[1]}

SPECIMENS: dict[str, Specimen] = {
    "qwen2": Specimen(
        "qwen2", templates.QWEN2, "bytes", _QWEN, _QWEN_VARIABLES,
        ("<|im_end|>", "<|endoftext|>"), "<|im_end|>", tools=True,
        config={"use_sliding_window": True, "sliding_window": 13, "max_window_layers": 1},
    ),
    "qwen3": Specimen(
        "qwen3", templates.QWEN3, "bytes", _QWEN, _QWEN_VARIABLES,
        ("<|im_end|>", "<|endoftext|>"), "<|im_end|>", tools=True,
        config={"head_dim": 12, "tie_word_embeddings": True},
    ),
    "qwen3_moe": Specimen(
        "qwen3_moe", templates.QWEN3, "bytes", _QWEN, _QWEN_VARIABLES,
        ("<|im_end|>", "<|endoftext|>"), "<|im_end|>", tools=True, targets=_ATTENTION_ONLY,
        config={**_EXPERTS, "head_dim": 12, "num_experts": 4, "norm_topk_prob": True},
    ),
    "llama2": Specimen(
        "llama", templates.LLAMA2, "llama", _SENTENCE, _SENTENCE_VARIABLES, ("</s>",), "</s>",
    ),
    "llama3": Specimen(
        "llama", templates.LLAMA3, "bytes", _LLAMA3,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), "<|eot_id|>", tools=True,
        config={"rope_parameters": {
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }},
    ),
    "mistral": Specimen(
        "mistral", templates.MISTRAL3, "llama", _MISTRAL, _SENTENCE_VARIABLES, ("</s>",), "</s>",
        tools=True, forgets=True, config={"sliding_window": 13},
    ),
    "mixtral": Specimen(
        "mixtral", templates.LLAMA2, "llama", _SENTENCE, _SENTENCE_VARIABLES, ("</s>",), "</s>",
        targets=_ATTENTION_ONLY, config={"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "glm": Specimen(
        "glm", templates.GLM4, "bytes", _GLM, _GLM_VARIABLES, _GLM_ENDS, "<|endoftext|>",
        tools=True, ended=False, targets=_FUSED_GATE,
        config={"head_dim": 8, "attention_bias": True, "pad_token_id": 0},
    ),
    "glm4": Specimen(
        "glm4", templates.GLM4, "bytes", _GLM, _GLM_VARIABLES, _GLM_ENDS, "<|endoftext|>",
        tools=True, ended=False, targets=_FUSED_GATE,
        config={"head_dim": 8, "attention_bias": True, "pad_token_id": 0},
    ),
    "gemma": Specimen(
        "gemma", templates.GEMMA, "gemma", _GEMMA, _GEMMA_VARIABLES, ("<eos>",), "<end_of_turn>",
        system=False, config={"head_dim": 12},
    ),
    "gemma2": Specimen(
        "gemma2", templates.GEMMA, "gemma", _GEMMA, _GEMMA_VARIABLES, ("<eos>", "<end_of_turn>"),
        "<end_of_turn>", system=False,
        # As strong as they must be to be felt at random weights.
        config={**_GEMMA_SIZES, "attn_logit_softcapping": 0.7, "final_logit_softcapping": 2.0},
    ),
    "gemma3": Specimen(
        "gemma3_text", templates.GEMMA3, "gemma", _GEMMA, _GEMMA_VARIABLES,
        ("<eos>", "<end_of_turn>"), "<end_of_turn>",
        config={**_GEMMA_SIZES, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "phi3": Specimen(
        "phi3", templates.PHI3, "llama", _PHI3,
        {**_SENTENCE_VARIABLES, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        ("<|endoftext|>", "<|assistant|>", "<|end|>"), "<|end|>",
        targets="qkv_proj o_proj gate_up_proj down_proj", config={"sliding_window": 13},
    ),
    "phi4": Specimen(
        "phi3", templates.PHI4, "bytes", _PHI4,
        {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        ("<|endoftext|>", "<|im_end|>"), "<|im_end|>",
        targets="qkv_proj o_proj gate_up_proj down_proj",
    ),
    "deepseek2": Specimen(
        "deepseek_v2", templates.DEEPSEEK2, "bytes", _DEEPSEEK, _DEEPSEEK_VARIABLES,
        (_DEEPSEEK[1],), _DEEPSEEK[1], targets=_LATENT_TARGETS,
        config={**_LATENT, "topk_method": "greedy"},
    ),
    "deepseek3": Specimen(
        "deepseek_v3", templates.DEEPSEEK3, "bytes", (*_DEEPSEEK, "<｜User｜>", "<｜Assistant｜>"),
        _DEEPSEEK_VARIABLES, (_DEEPSEEK[1],), _DEEPSEEK[1], targets=_LATENT_TARGETS, config=_LATENT,
    ),
    "internlm3": Specimen(
        "internlm3", templates.CHATML_BOS, "llama",
        (*_SENTENCE, "<|im_start|>", "<|im_end|>"), _SENTENCE_VARIABLES,
        ("</s>", "<|im_end|>"), "<|im_end|>", config={"head_dim": 12},
    ),
}  # fmt: skip
"""Name → specimen."""


def write_base(specimen: Specimen, folder: Path, weights: bool = True) -> Path:
    """A base's folder, with random weights (seed 0) unless they are not wanted."""
    from transformers import AutoConfig

    folder.mkdir(parents=True)
    tokenizer = _TOKENIZERS[specimen.tokenizer](specimen.specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", **specimen.variables},
    )
    (folder / "chat_template.jinja").write_text(specimen.template, encoding="utf-8")
    number = tokenizer.token_to_id
    named = {
        f"{name.removesuffix('_token')}_token_id": number(text)
        for name, text in specimen.variables.items()
        if name != "unk_token"
    }
    values = {**_SIZES, "vocab_size": tokenizer.get_vocab_size(), **named, **specimen.config}
    config = AutoConfig.for_model(specimen.model_type, **values)
    if weights:
        write_model(folder, config)
    else:
        config.save_pretrained(folder)
    ends = [number(text) for text in specimen.ends]
    write_json(
        folder / "generation_config.json", {"eos_token_id": ends if len(ends) > 1 else ends[0]}
    )
    return folder


def _added(specials: tuple[str, ...]) -> list[AddedToken]:
    return [AddedToken(text, special=True, normalized=False) for text in specials]


def _byte_level(specials: tuple[str, ...]) -> Tokenizer:
    """Bytes as letters, words split by an expression, texts in NFC."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_SPLIT, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=_added(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    return tokenizer


def _llama(specials: tuple[str, ...]) -> Tokenizer:
    """As made from a sentencepiece file: a space before every text, bytes for what is unknown."""
    tokenizer = _with_bytes(specials)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def _gemma(specials: tuple[str, ...]) -> Tokenizer:
    """No space before a text; several spaces are one piece."""
    tokenizer = _with_bytes(specials)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _with_bytes(specials: tuple[str, ...]) -> Tokenizer:
    """Letters and merges of the texts, after a token for each byte."""
    learner = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    # Newlines stay apart, or they would join the words around them.
    lines = [f"▁{text.replace(' ', '▁')}" for text in TEXTS]
    learner.train_from_iterator(lines * 4, trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = Tokenizer(
        models.BPE(learnt["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.add_special_tokens(_added(specials))
    return tokenizer


_TOKENIZERS = {"bytes": _byte_level, "llama": _llama, "gemma": _gemma}
