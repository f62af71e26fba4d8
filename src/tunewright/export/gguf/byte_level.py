"""Byte-level BPE in llama.cpp: rules for cutting texts into words, which it knows by name.

A tokenizer with another rule is refused, since its texts would become other tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.export.gguf.architecture import CONVERT

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RULES: Mapping[tuple[str | None, bool], str] = MappingProxyType(
    {
        (None, False): "gpt-2",
        (rf"{_WORDS}\p{{N}}{_REST}", False): "qwen2",
        (rf"{_WORDS}\p{{N}}{{1,3}}{_REST}", True): "llama-bpe",
        (rf"{_WORDS}\p{{N}}{{1,3}}{_REST}", False): "smaug-bpe",
    }
)
"""Rule for cutting texts, and whether whole words skip the merges → llama.cpp's name of it; None
is the rule that is built into the byte-level pre-tokenizer. GLM-4's is the fourth too."""


def rule_of(described: Mapping[str, Any]) -> str:
    """llama.cpp's name of a tokenizer's rule.

    Args:
        described: the tokenizer's JSON.

    Raises:
        ModelError: it has none.
    """
    pattern = _pattern(described.get("pre_tokenizer"))
    whole = bool(described["model"].get("ignore_merges"))
    normalizer = (described.get("normalizer") or {}).get("type", "NFC")
    rule = RULES.get((pattern, whole))
    if rule is None or normalizer != "NFC":
        raise ModelError(
            "this tokenizer cuts texts into words by a rule that llama.cpp has under no name that"
            " is known here, so that its texts would become other tokens",
            CONVERT,
        )
    return rule


def pre_tokenizer_of(rule: str) -> tuple[dict[str, Any], bool]:
    """What cuts texts by a rule of llama.cpp, and whether whole words skip the merges.

    Raises:
        ModelError: an unknown rule.
    """
    for (pattern, whole), name in RULES.items():
        if name == rule:
            level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
            if pattern is None:
                return {**level, "use_regex": True}, whole
            split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                     "invert": False}  # fmt: skip
            parts = [split, {**level, "use_regex": False}]
            return {"type": "Sequence", "pretokenizers": parts}, whole
    raise ModelError(f"the rule {rule!r} for cutting texts is not known")


def _pattern(cutter: Any) -> str | None:
    """The regular expression of a byte-level pre-tokenizer; None where it is the built-in one."""
    match cutter:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return None
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return pattern
    return "unknown"
