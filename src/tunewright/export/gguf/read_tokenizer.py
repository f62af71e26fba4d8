"""A GGUF file's tokenizer as the files of a model folder, out of nothing but the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import TokenType

from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.export.gguf.added import KEEPING, taken_for_phi3
from tunewright.export.gguf.byte_level import pre_tokenizer_of
from tunewright.export.gguf.pieces import SPACE, merges_of
from tunewright.export.gguf.vocabulary import BYTE_LEVEL, PIECES

_FIXED = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
    "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
}  # fmt: skip
_CONTROL = (TokenType.CONTROL, TokenType.UNKNOWN)
_ADDED = (*_CONTROL, TokenType.USER_DEFINED)
_ENDS = ("eos", "eot", "eom")


def write_tokenizer(fields: Mapping[str, Any], folder: Path) -> list[int]:
    """Write a folder's tokenizer and chat template; returns the ids that end an answer.

    Raises:
        ModelError: a tokenizer that we do not write.
    """
    own = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
    described = {BYTE_LEVEL: _byte_level, PIECES: _pieces}.get(own["model"])
    if described is None:
        raise ModelError(f"the GGUF file's tokenizer {own['model']!r} is not known")
    tokens, start = own["tokens"], own["tokens"][own["bos_token_id"]]
    stripping = taken_for_phi3(fields["general.name"])
    write_json_atomic(
        folder / "tokenizer.json",
        {"version": "1.0", "truncation": None, "padding": None, **described(own),
         "added_tokens": _added(tokens, own["token_type"], stripping),
         "post_processor": _framed(start, own) if own.get("add_bos_token") else None},
    )  # fmt: skip
    ends = [own[f"{name}_token_id"] for name in _ENDS if f"{name}_token_id" in own]
    names = {"bos_token": start, "eos_token": tokens[ends[0]],
             "pad_token": tokens[own["padding_token_id"]]}  # fmt: skip
    write_json_atomic(folder / "tokenizer_config.json", names)
    write_text_atomic(folder / "chat_template.jinja", fields["tokenizer.chat_template"])
    return ends


def _byte_level(own: Mapping[str, Any]) -> dict[str, Any]:
    pre_tokenizer, whole = pre_tokenizer_of(own["pre"])
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}  # fmt: skip
    model = {**_FIXED, "ignore_merges": whole, "vocab": _vocabulary(own), "merges": own["merges"]}
    return {"normalizer": None, "pre_tokenizer": pre_tokenizer, "decoder": level, "model": model}


def _pieces(own: Mapping[str, Any]) -> dict[str, Any]:
    scores = {
        text: score
        for text, kind, score in zip(own["tokens"], own["token_type"], own["scores"], strict=True)
        if kind == TokenType.NORMAL
    }
    before = [{"type": "Prepend", "prepend": SPACE}] if own["add_space_prefix"] else []
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    after = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if before else []
    model = {**_FIXED, "byte_fallback": True, "vocab": _vocabulary(own),
             "merges": merges_of(scores)}  # fmt: skip
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*before, spaces]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"},
                                                     {"type": "Fuse"}, *after]},
        "model": model,
    }  # fmt: skip


def _vocabulary(own: Mapping[str, Any]) -> dict[str, int]:
    types = own["token_type"]
    return {t: n for n, t in enumerate(own["tokens"]) if types[n] != TokenType.UNUSED}


def _added(tokens: list[str], types: list[int], stripping: bool) -> list[dict[str, Any]]:
    """As llama.cpp finds them in texts."""
    return [
        {"id": number, "content": text, "special": types[number] in _CONTROL,
         "single_word": False, "lstrip": False, "rstrip": stripping and text not in KEEPING,
         "normalized": False}
        for number, text in enumerate(tokens)
        if types[number] in _ADDED
    ]  # fmt: skip


def _framed(start: str, own: Mapping[str, Any]) -> dict[str, Any]:
    number = own["bos_token_id"]
    return {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": start, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {start: {"id": start, "ids": [number], "tokens": [start]}}}  # fmt: skip
