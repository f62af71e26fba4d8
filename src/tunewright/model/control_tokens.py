"""Encoding text in which some control tokens are meant and others are only spelled.

A chat template writes control tokens such as ``<|im_end|>``. When a user's text happens to hold
the same characters, they are plain text: obeying them would let a question close its own turn
and speak as the system. Such texts are encoded in pieces between the template's own tokens, by
a second tokenizer that knows no control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer

from tunewright.core.errors import ModelError

_PLACEHOLDERS = range(0xF0000, 0xF0000 + 4096)


@dataclass(frozen=True)
class Encoded:
    """Token ids with the half-open character range of each in the text that was given."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class ControlTokens:
    """The control (special) tokens of one tokenizer.

    Args:
        tokenizer: the model's own tokenizer; it is not changed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._plain: Tokenizer | None = None
        added = tokenizer.get_added_tokens_decoder()
        self.tokens: dict[str, int] = {}
        self._flags: dict[str, AddedToken] = {}
        for number, token in added.items():
            if token.special and token.content:
                self.tokens[token.content] = number
                self._flags[token.content] = token
        self.ids = frozenset(self.tokens.values())
        self.normalising = tokenizer.normalizer is not None and any(
            token.normalized for token in self._flags.values()
        )
        """Whether other spellings than the literal one may also match."""
        # The longest match wins, as in the tokenizer itself.
        spellings = sorted(self.tokens, key=len, reverse=True)
        pattern = "|".join(re.escape(text) for text in spellings)
        self._pattern = re.compile(pattern) if spellings else None

    @property
    def opening(self) -> list[int]:
        """Ids that every answer begins with, besides what the chat template writes."""
        return []

    def spelled_in(self, text: str) -> bool:
        """Whether the text holds the characters of a control token."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def hide(self, text: str) -> str:
        """Put one private character in the place of each spelled control token."""
        if self._pattern is None:
            return text
        order = list(self.tokens)
        return self._pattern.sub(lambda m: chr(_PLACEHOLDERS[order.index(m[0])]), text)

    def restore(self, text: str) -> str:
        """Undo ``hide``."""
        order = list(self.tokens)
        return "".join(
            order[ord(c) - _PLACEHOLDERS.start] if ord(c) - _PLACEHOLDERS.start in range(len(order))
            else c
            for c in text
        )  # fmt: skip

    @staticmethod
    def can_hide(text: str) -> bool:
        """Whether the text leaves the private characters free."""
        return not any(ord(c) in _PLACEHOLDERS for c in text)

    def encode(self, text: str) -> Encoded:
        """Encode as the model's tokenizer does: every control token in the text is meant."""
        with _panic_told():
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, encoding.offsets)

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """``encode`` for many texts at once."""
        with _panic_told():
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Encoded(e.ids, e.offsets) for e in encodings]

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """How many tokens ``encode`` gives, for many texts at once."""
        with _panic_told():
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(e) for e in encodings]

    def encode_hidden(self, text: str) -> Encoded:
        """Encode a text in which ``hide`` stands for what is only spelled.

        The offsets refer to the given text, so a restored spelling counts as one character.
        """
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        place = 0
        matches = list(self._pattern.finditer(text)) if self._pattern else []
        with _panic_told():
            for match in matches:
                self._piece(text, place, match.start(), ids, offsets)
                ids.append(self.tokens[match[0]])
                offsets.append(match.span())
                place = match.end()
            self._piece(text, place, len(text), ids, offsets)
        return Encoded(ids, offsets)

    def _piece(
        self, text: str, start: int, end: int, ids: list[int], offsets: list[tuple[int, int]]
    ) -> None:
        start, end = self._trimmed(text, start, end)
        hidden = text[start:end]
        if not hidden:
            return
        if self.can_hide(hidden):
            encoding = self._plain_tokenizer().encode(hidden, add_special_tokens=False)
            ids += encoding.ids
            offsets += [(start + first, start + last) for first, last in encoding.offsets]
            return
        # Where each character of the restored piece came from.
        origin: list[int] = []
        for position, character in enumerate(hidden, start=start):
            origin += [position] * len(self.restore(character))
        origin.append(end)
        encoding = self._plain_tokenizer().encode(self.restore(hidden), add_special_tokens=False)
        ids += encoding.ids
        for first, last in encoding.offsets:
            offsets.append((origin[first], max(origin[last], origin[first] + (last > first))))

    def _trimmed(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Control tokens may swallow the white space beside them."""
        before = self._ending_at(text, start)
        after = self._starting_at(text, end)
        piece = text[start:end]
        if before is not None and self._flags[before].rstrip:
            start += len(piece) - len(piece.lstrip())
        if after is not None and self._flags[after].lstrip:
            end -= len(piece) - len(piece.rstrip())
        return start, max(start, end)

    def _ending_at(self, text: str, place: int) -> str | None:
        return next((t for t in self.tokens if text.endswith(t, 0, place)), None)

    def _starting_at(self, text: str, place: int) -> str | None:
        return next((t for t in self.tokens if text.startswith(t, place)), None)

    def _plain_tokenizer(self) -> Tokenizer:
        if self._plain is None:
            plain = Tokenizer.from_str(self._tokenizer.to_str())
            plain.encode_special_tokens = True
            self._plain = plain
        return self._plain


@contextmanager
def _panic_told() -> Iterator[None]:
    """Turn a panic of the tokenizers library into an error that callers expect.

    A pattern of a base's tokenizer that tries too many ways to match ends in one. It is no
    ``Exception``, so that it would end whole processes; and its class can be imported from nowhere.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"the base's tokenizer breaks down on a text: {error}",
            "A pattern in its tokenizer.json takes forever on such texts; use another base.",
        ) from None
