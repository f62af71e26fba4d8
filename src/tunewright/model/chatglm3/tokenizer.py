"""ChatGLM3's SentencePiece model as a ``tokenizers`` tokenizer, and its chat format in Jinja.

SentencePiece merges the pair whose union has the best score; ``tokenizers`` merges the pair that
stands first in a list. The list is every way to split every piece into two pieces, best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from tunewright.core.errors import ModelError
from tunewright.model.chatglm3.sentencepiece_file import Kind, Piece, PieceModel, read_pieces
from tunewright.model.segments import ENCODING, SEGMENTS

_UNKNOWN = "<unk>"
SPECIALS = (
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "sop",
    "eop",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
)
"""Control tokens after the pieces, in the order of their ids."""
_START = ("[gMASK]", "sop")
_FIRST = 64789
"""Id of the first of them: every ChatGLM3 has as many pieces."""

TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": "</s>",
    "pad_token": _UNKNOWN,
    "unk_token": _UNKNOWN,
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask", "position_ids"],
    ENCODING: SEGMENTS,
}
"""``tokenizer_config.json``."""

CHAT_TEMPLATE = """\
{%- macro turn(role, metadata, content) -%}
{{- '<|' + role + '|>' + metadata + '\\n ' + content -}}
{%- endmacro -%}
{{- '[gMASK]sop' -}}
{%- if tools -%}
{%- set asked = messages[0].role == 'system' -%}
{%- set intro = 'Answer the following questions as best as you can. \
You have access to the following tools:' -%}
{%- set functions = namespace(list=[]) -%}
{%- for tool in tools -%}
{%- set functions.list = functions.list + [tool.function] -%}
{%- endfor -%}
{{- turn('system', '', (messages[0].content if asked else intro) + '\\n' \
+ functions.list | tojson(indent=4)) -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- if not tools -%}{{- turn('system', '', message.content) -}}{%- endif -%}
{%- elif message.role == 'tool' -%}
{{- turn('observation', '', message.content) -}}
{%- else -%}
{%- if message.content or not message.tool_calls -%}
{{- turn(message.role, '', message.content) -}}
{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set arguments = namespace(text='') -%}
{%- for name, value in call.function.arguments.items() -%}
{%- set python = ([value] | string)[1:-1] -%}
{%- set arguments.text = arguments.text + (', ' if arguments.text else '') + name + '=' + python -%}
{%- endfor -%}
{{- turn('assistant', call.function.name, '```python\\ntool_call(' + arguments.text + ')\\n```') -}}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- elif messages[-1].role == 'assistant' -%}
{{- '</s>' -}}
{%- endif -%}
"""
"""Per message ``<|role|>``, the name of a called tool or nothing, a line end, and the content.

Heading and content are encoded apart, each with a space before it (``segments``); the space here
gives engines that encode the text as a whole nearly always the same tokens.
"""


def native_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.model``.

    Raises:
        ModelError: it is not ChatGLM3's kind of model.
    """
    model = read_pieces(path)
    _refuse_other(model, path)
    vocabulary = {piece.text: number for number, piece in enumerate(model.pieces)}
    if len(vocabulary) != len(model.pieces):
        raise ModelError(f"{path} holds a piece twice")
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(model.pieces, vocabulary),
            unk_token=_UNKNOWN,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
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
    controls = [p.text for p in model.pieces if p.kind in (Kind.CONTROL, Kind.UNKNOWN)]
    # A word of its own only: engines that look for them in texts would tear "people" apart.
    tokenizer.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False, single_word=text.isalpha())
            for text in (*controls, *SPECIALS)
        ]
    )
    found = [tokenizer.token_to_id(text) for text in SPECIALS]
    if found != list(range(_FIRST, _FIRST + len(SPECIALS))):
        raise ModelError(f"{path} holds a control token as a piece", "It belongs to another model.")
    start = [(text, tokenizer.token_to_id(text)) for text in _START]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*_START, "$A"], pair=[*_START, "$A", "$B"], special_tokens=start
    )
    return tokenizer


def _refuse_other(model: PieceModel, path: Path) -> None:
    plain = model.normalizer == "identity" and model.dummy_prefix and not model.squeezes
    if not (model.merges and model.byte_fallback and model.escapes and plain):
        raise ModelError(f"{path} divides texts in another way than ChatGLM3's tokenizer")
    if len(model.pieces) != _FIRST or model.pieces[2].text != "</s>":
        raise ModelError(
            f"{path} holds {len(model.pieces):,} pieces; ChatGLM3's tokenizer has {_FIRST:,}",
            "It belongs to another model.",
        )


def _merges(pieces: Sequence[Piece], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    found: list[tuple[float, int, int, tuple[str, str]]] = []
    mergeable = {p.text for p in pieces if p.kind in (Kind.NORMAL, Kind.USER_DEFINED)}
    for piece in pieces:
        if piece.text not in mergeable:
            continue
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in mergeable and right in mergeable:
                found.append((-piece.score, vocabulary[left], vocabulary[right], (left, right)))
    found.sort()
    return [pair for *_, pair in found]
