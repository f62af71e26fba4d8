"""A tokenizer as GGUF holds it: tokens, types, merges or scores, end tokens, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer

from tunewright.core.errors import ModelError
from tunewright.core.messages import conversation
from tunewright.export.gguf.added import name_for, strips, type_of
from tunewright.export.gguf.architecture import CONVERT
from tunewright.export.gguf.byte_level import rule_of
from tunewright.export.gguf.pieces import BYTES, scores_of
from tunewright.export.gguf.segmented import RENAMED, as_one_text
from tunewright.export.gguf.spaces import leads
from tunewright.model.chat_template import ChatTemplate
from tunewright.model.folders import ModelFolder
from tunewright.model.rendering import Renderer
from tunewright.model.segments import ENCODING, SEGMENTS
from tunewright.model.tokenizer_files import special_variables

BYTE_LEVEL, PIECES = "gpt2", "llama"
"""llama.cpp's names of its two kinds of BPE: by merges of bytes, by scores of characters."""
_OUTSIDE = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer.

    Attributes:
        kind: of tokenizer, by llama.cpp's name.
        rule: llama.cpp's name of the rule by which texts are cut.
        tokens: by id, as many as the embedding has rows.
        types: of each token.
        merges: ``left right``, in order; empty where scores tell it.
        scores: of each token; empty where merges tell it.
        spaced: whether a space is put before every text and after every control token.
        stripping: whether white space behind control tokens is dropped.
        ends: ids that end an answer; the one that the template writes comes first.
        start: id of the begin token, or None where the base names none.
        framed: whether the tokenizer puts it before every text.
        padding: id that fills batches.
        template: the chat template.
    """

    kind: str
    rule: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]
    spaced: bool
    stripping: bool
    ends: list[int]
    start: int | None
    framed: bool
    padding: int
    template: str

    def write(self, writer: GGUFWriter) -> None:
        """Put it under llama.cpp's keys."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.rule)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.kind == PIECES:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.spaced)
        else:
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

    def named(self, name: str) -> str:
        """A model's name in the file, from which llama.cpp concludes on its tokenizer."""
        return name_for(name, self.stripping)


def vocabulary_of(renderer: Renderer, files: ModelFolder, template: str, size: int) -> Vocabulary:
    """The vocabulary of a base.

    Args:
        renderer: of the base.
        files: of the base.
        template: its chat template.
        size: rows of its embedding.

    Raises:
        ModelError: a tokenizer that llama.cpp does not run.
    """
    described = json.loads(renderer.tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise ModelError(
            f"GGUF is written for BPE tokenizers, this one is {model['type']}", CONVERT
        )
    variables = special_variables(files)
    segmented = files.tokenizer.get(ENCODING) == SEGMENTS
    renamed = RENAMED if segmented else {}
    stripping = strips(renderer.tokenizer, ChatTemplate(template, variables), renamed)
    tokens, types = _tokens(renderer.tokenizer, model, size)
    start = renderer.tokenizer.token_to_id(variables.get("bos_token", ""))
    pieces = bool(model.get("byte_fallback"))
    return Vocabulary(
        kind=PIECES if pieces else BYTE_LEVEL,
        rule="default" if pieces else rule_of(described),
        tokens=[renamed.get(text, text) for text in tokens],
        types=types,
        merges=[]
        if pieces
        else [m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        scores=_scores(described, tokens, types) if pieces else [],
        spaced=pieces and leads(described, renderer),
        stripping=stripping,
        ends=_ends(renderer),
        start=start,
        framed=start is not None and renderer.render_text("a").ids[0] == start,
        padding=renderer.pad_id,
        template=_settled(as_one_text(template) if segmented else template, start),
    )


def _settled(template: str, start: int | None) -> str:
    """The template with no begin token where the base has none: llama.cpp always offers one."""
    unset = "bos_token" in template and start is None
    return '{%- set bos_token = "" -%}' + template if unset else template


def _tokens(
    tokenizer: Tokenizer, model: Mapping[str, Any], size: int
) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for text, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number >= size:
            raise ModelError(f"token {text!r} has no row in the embedding", "Use another base.")
        tokens[number], types[number] = text, int(TokenType.NORMAL)
    if model.get("byte_fallback"):
        for text in BYTES:
            if text in model["vocab"]:
                types[model["vocab"][text]] = int(TokenType.BYTE)
    for number, added in tokenizer.get_added_tokens_decoder().items():
        types[number] = int(type_of(added, model["vocab"], model.get("unk_token")))
    return tokens, types


def _scores(described: Mapping[str, Any], tokens: list[str], types: list[int]) -> list[float]:
    outside = {text for text, kind in zip(tokens, types, strict=True) if kind in _OUTSIDE}
    scores = scores_of(described, outside)
    # What is never merged comes after all that is.
    last = min(scores.values(), default=0.0) - 1
    return [scores.get(text, last) for text in tokens]


def _ends(renderer: Renderer) -> list[int]:
    """The end token of the template first: llama.cpp stops at it whatever else it knows."""
    asked = conversation(("user", "a"), ("assistant", "b"))
    ids, ends = renderer.render(asked).ids, renderer.eos_ids
    written = next((token for token in reversed(ids) if token in ends), min(ends))
    return [written, *sorted(ends - {written})]
