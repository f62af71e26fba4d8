"""A byte-level BPE tokenizer as GGUF holds it: tokens, their types, merges, end tokens, template.

llama.cpp cannot run a tokenizer's own rules for cutting texts into words; it knows some by name,
and a tokenizer with others is refused, since its texts would become other tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer

from tunewright.core.errors import ModelError
from tunewright.core.messages import conversation
from tunewright.model.rendering import Renderer

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
is the rule that is built into the byte-level pre-tokenizer."""


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer.

    Attributes:
        rule: llama.cpp's name of the rule by which texts are cut.
        tokens: by id, as many as the embedding has rows.
        types: of each token.
        merges: ``left right``, in order.
        ends: ids that end an answer; the one that the template writes comes first.
        start: id of the begin token, or None where the base names none.
        framed: whether the tokenizer puts it before every text.
        padding: id that fills batches.
        template: the chat template.
    """

    rule: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    ends: list[int]
    start: int | None
    framed: bool
    padding: int
    template: str

    def write(self, writer: GGUFWriter) -> None:
        """Put it under llama.cpp's keys."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.rule)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        writer.add_eos_token_id(self.ends[0])
        for other in self.ends[1:2]:
            writer.add_eot_token_id(other)
        for other in self.ends[2:3]:
            writer.add_eom_token_id(other)
        # Where none is named llama.cpp takes a fixed id, which is an ordinary token here.
        writer.add_bos_token_id(self.padding if self.start is None else self.start)
        writer.add_add_bos_token(self.framed)
        writer.add_pad_token_id(self.padding)
        writer.add_chat_template(self.template)


def vocabulary_of(renderer: Renderer, template: str, begin: str | None, size: int) -> Vocabulary:
    """The vocabulary of a base.

    Args:
        renderer: of the base.
        template: its chat template.
        begin: its begin token, or None.
        size: rows of its embedding.

    Raises:
        ModelError: a tokenizer that llama.cpp does not run.
    """
    described = json.loads(renderer.tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise ModelError(
            f"GGUF is written for byte-level BPE tokenizers, this one is {model['type']}"
            + (" with byte fallback" if model.get("byte_fallback") else ""),
            "Export --to merged and use llama.cpp's convert_hf_to_gguf.py.",
        )
    tokens, types = _tokens(renderer.tokenizer, size)
    start = None if begin is None else renderer.tokenizer.token_to_id(begin)
    return Vocabulary(
        rule=_rule(described),
        tokens=tokens,
        types=types,
        merges=[m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        ends=_ends(renderer),
        start=start,
        framed=start is not None and renderer.render_text("a").ids[0] == start,
        padding=renderer.pad_id,
        template=_settled(template, start),
    )


def _settled(template: str, start: int | None) -> str:
    """The template with no begin token where the base has none: llama.cpp always offers one."""
    unset = "bos_token" in template and start is None
    return '{%- set bos_token = "" -%}' + template if unset else template


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


def _tokens(tokenizer: Tokenizer, size: int) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for text, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number >= size:
            raise ModelError(f"token {text!r} has no row in the embedding", "Use another base.")
        tokens[number], types[number] = text, int(TokenType.NORMAL)
    for number, added in tokenizer.get_added_tokens_decoder().items():
        kind = TokenType.CONTROL if added.special else TokenType.USER_DEFINED
        types[number] = int(kind)
    return tokens, types


def _ends(renderer: Renderer) -> list[int]:
    """The end token of the template first: llama.cpp stops at it whatever else it knows."""
    asked = conversation(("user", "a"), ("assistant", "b"))
    ids, ends = renderer.render(asked).ids, renderer.eos_ids
    written = next((token for token in reversed(ids) if token in ends), min(ends))
    return [written, *sorted(ends - {written})]


def _rule(described: Mapping[str, Any]) -> str:
    pattern = _pattern(described.get("pre_tokenizer"))
    whole = bool(described["model"].get("ignore_merges"))
    normalizer = (described.get("normalizer") or {}).get("type", "NFC")
    rule = RULES.get((pattern, whole))
    if rule is None or normalizer != "NFC":
        raise ModelError(
            "this tokenizer cuts texts into words by a rule that llama.cpp has under no name that"
            " is known here, so that its texts would become other tokens",
            "Export --to merged and use llama.cpp's convert_hf_to_gguf.py.",
        )
    return rule


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
