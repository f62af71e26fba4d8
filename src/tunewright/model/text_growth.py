"""Text that grows token by token: whole characters only, and nothing past a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LONGEST_CHARACTER = 8


class TextGrowth:
    """Turns tokens into text that can be shown at once.

    Args:
        decode: token ids → text.
        stops: texts that end the answer; they are not part of it.

    Attributes:
        text: what was given out so far.
        stopped: whether a stop text was met.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._tokens: list[int] = []
        self._context = 0
        self._given = 0
        self._held = ""
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that this token makes certain, maybe none yet."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._context : self._given])
        after = self._decode(self._tokens[self._context :])
        # The last character may still lack bytes; more than a few tokens and it is just broken.
        waiting = len(self._tokens) - self._given
        if after.endswith("\ufffd") and waiting < _LONGEST_CHARACTER:
            return ""
        self._context, self._given = self._given, len(self._tokens)
        return self._give(after[len(before) :])

    def finish(self) -> str:
        """What was held back, once no token follows."""
        if self.stopped:
            return ""
        before = self._decode(self._tokens[self._context : self._given])
        rest = self._decode(self._tokens[self._context :])[len(before) :]
        self._context = self._given = len(self._tokens)
        piece = self._give(rest)
        if not self.stopped:
            piece += self._held
            self.text += self._held
        self._held = ""
        return piece

    def _give(self, new: str) -> str:
        text = self._held + new
        places = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if places:
            self.stopped = True
            self._held = ""
            piece = text[: min(places)]
        else:
            length = max((_overlap(text, stop) for stop in self._stops), default=0)
            self._held = text[len(text) - length :]
            piece = text[: len(text) - length]
        self.text += piece
        return piece


def text_of(decode: Callable[[Sequence[int]], str], tokens: Sequence[int]) -> str:
    """The text of tokens that may stop amid a character.

    Where characters are spelled in bytes, one that is not whole makes decoders give up all that
    are spelled beside it; as the text grew, those were there.
    """
    text = decode(tokens)
    if not text.endswith("\ufffd"):
        return text
    growth = TextGrowth(decode)
    for token in tokens:
        growth.add(token)
    growth.finish()
    return growth.text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
