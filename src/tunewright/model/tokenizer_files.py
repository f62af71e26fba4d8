"""The tokenizer of a model folder, as the transformers library would set it up, without it."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tunewright.core.errors import ModelError
from tunewright.model.folders import ModelFolder

_MOST_GROWTH = 64
_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


def load_tokenizer(folder: ModelFolder) -> Tokenizer:
    """Read ``tokenizer.json`` and mark what ``tokenizer_config.json`` names as special.

    Raises:
        ModelError: when the file is no tokenizer.
    """
    path = folder.path / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises the bare class
        raise ModelError(f"{path} is not a tokenizer: {error}") from None
    _refuse_growth(tokenizer, path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    known = tokenizer.get_added_tokens_decoder()
    special = {token.content for token in known.values() if token.special}
    for token in _declared(folder.tokenizer):
        if token.content in special or not _fits(tokenizer, token, folder):
            continue
        tokenizer.add_special_tokens([token])
    return tokenizer


def _refuse_growth(tokenizer: Tokenizer, path: Path) -> None:
    """Refuse rules that make a long text of a short one, step by step beyond any memory.

    Raises:
        ModelError: saying so.
    """
    for part in (tokenizer.normalizer, tokenizer.decoder):
        if part is not None and _growth(json.loads(part.__getstate__())) > _MOST_GROWTH:
            raise ModelError(
                f"{path}: its rules make texts more than {_MOST_GROWTH} times as long",
                "No published tokenizer does; fetch it again.",
            )


def _growth(rule: dict[str, Any]) -> int:
    """How many characters may become of one."""
    inner = rule.get("normalizers") or rule.get("decoders") or ()
    if inner:
        return prod(min(_growth(one), _MOST_GROWTH + 1) for one in inner)
    return max(1, len(str(rule.get("content", ""))), len(str(rule.get("prepend", ""))))


def special_variables(folder: ModelFolder) -> dict[str, str]:
    """``bos_token`` and the like, as chat templates may use them."""
    values = {name: _content(folder.tokenizer.get(name)) for name in _NAMES}
    return {name: text for name, text in values.items() if text}


def declared_ends(folder: ModelFolder, tokenizer: Tokenizer) -> set[int]:
    """Every token id that the folder's files call an end of sequence."""
    found: set[int] = set()
    for source in (folder.config, folder.generation):
        value = source.get("eos_token_id")
        values = value if isinstance(value, list) else [value]
        found |= {n for n in values if isinstance(n, int) and n >= 0}
    named = _content(folder.tokenizer.get("eos_token"))
    number = tokenizer.token_to_id(named) if named else None
    return found if number is None else found | {number}


def padding_id(folder: ModelFolder, tokenizer: Tokenizer, ends: set[int]) -> int:
    """The id that fills short rows of a batch; never looked at, so any valid id will do."""
    named = _content(folder.tokenizer.get("pad_token"))
    candidates = [
        tokenizer.token_to_id(named) if named else None,
        folder.generation.get("pad_token_id"),
        folder.config.get("pad_token_id"),
        min(ends, default=None),
    ]
    return next((n for n in candidates if isinstance(n, int) and n >= 0), 0)


def text_frame(
    folder: ModelFolder, tokenizer: Tokenizer, ends: frozenset[int]
) -> tuple[list[int], int]:
    """Ids before plain text, as the tokenizer puts them there itself, and the id after it.

    The id after it is the tokenizer's end token, or the first of ``ends`` where it names none.
    """
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    framed = tokenizer.encode("a", add_special_tokens=True).ids
    start = next((n for n in range(len(framed)) if framed[n : n + len(bare)] == bare), 0)
    named = _content(folder.tokenizer.get("eos_token"))
    number = tokenizer.token_to_id(named) if named else None
    return framed[:start], min(ends) if number is None else number


def _declared(config: dict[str, Any]) -> list[AddedToken]:
    texts = [_content(config.get(name)) for name in _NAMES]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        extra = config.get(key) or []
        values = extra.values() if isinstance(extra, dict) else extra
        texts += [_content(value) for value in values]
    tokens = [AddedToken(text, special=True, normalized=False) for text in texts if text]
    decoder = config.get("added_tokens_decoder")
    for value in decoder.values() if isinstance(decoder, dict) else ():
        if isinstance(value, dict) and value.get("special") and _content(value):
            tokens.append(
                AddedToken(
                    value["content"],
                    special=True,
                    normalized=bool(value.get("normalized")),
                    lstrip=bool(value.get("lstrip")),
                    rstrip=bool(value.get("rstrip")),
                    single_word=bool(value.get("single_word")),
                )
            )
    return tokens


def _fits(tokenizer: Tokenizer, token: AddedToken, folder: ModelFolder) -> bool:
    """A token new to the vocabulary must have a row in the model's embedding."""
    if tokenizer.token_to_id(token.content) is not None:
        return True
    size = folder.config.get("vocab_size")
    return isinstance(size, int) and tokenizer.get_vocab_size(with_added_tokens=True) < size


def _content(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def bounded_by_bytes(tokenizer: Tokenizer) -> bool:
    """Whether a text in NFC never gives more tokens than it has UTF-8 bytes.

    Every model kind of the tokenizers library makes at most one token of a character, or of a
    byte of it; only a normalizer that lengthens the text could break the bound.
    """
    if tokenizer.normalizer is None:
        return True
    return _keeps_length(json.loads(tokenizer.normalizer.__getstate__()))


def _keeps_length(normalizer: dict[str, Any]) -> bool:
    match normalizer:
        case {"type": "NFC"}:
            return True
        case {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}:
            return True
        case {"type": "Sequence", "normalizers": list(parts)}:
            return all(map(_keeps_length, parts))
    return False
