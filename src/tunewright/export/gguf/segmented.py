"""ChatGLM3's conversations for an engine that encodes them as one text.

ChatGLM3 encodes headings and contents apart, each with a space before it. No piece of its
vocabulary holds a line end, and llama.cpp puts a space after each control token; so a template that
writes one more space before each content gives the same tokens. Two things must be mended. An
empty content gets no space. And ``sop`` and ``eop`` get a spelling that no word holds: llama.cpp
finds control tokens anywhere, and would tear "people" apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tunewright.core.errors import ModelError

RENAMED: Mapping[str, str] = MappingProxyType({"sop": "<sop>", "eop": "<eop>"})
"""Control tokens that are words, and their spelling in a GGUF file; GLM-4 spells them so."""
_EDITS = (
    ("{{- '[gMASK]sop' -}}", "{{- '[gMASK]<sop>' -}}"),
    (
        "metadata + '\\n ' + content -}}",
        "metadata + '\\n' + (' ' + content if content else '') -}}",
    ),
    (
        "{{- '<|assistant|>' -}}",
        "{{- '<|assistant|>' -}}{%- if not tools -%}{{- '\\n' -}}{%- endif -%}",
    ),
)


def as_one_text(template: str) -> str:
    """The template of a base that is encoded in segments, for engines that know no such thing.

    Where the model is to go on it writes the line end too, with which every answer that calls no
    tool begins.

    Raises:
        ModelError: a template that was changed.
    """
    for before, after in _EDITS:
        if template.count(before) != 1:
            raise ModelError(
                "this base encodes conversations in segments, with a chat template of its own",
                "Export --to merged.",
            )
        template = template.replace(before, after)
    return template
