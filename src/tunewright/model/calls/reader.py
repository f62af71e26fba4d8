"""Calls read from an answer while it grows, and the words around them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from tunewright.core.messages import ToolCall
from tunewright.model.calls.forms import CallForm
from tunewright.model.calls.notations import Extent
from tunewright.model.calls.patterns import MORE, fits

_Step = Callable[[], str | None]
"""Gives the text that is certain, or None when more of the answer must come first."""


class CallReader:
    """Reads calls from an answer while it grows.

    What only looks like a call is text: one of a function that is not on offer, one whose
    arguments cannot be read, one that was cut off.

    Args:
        form: how the base writes them.
        names: functions on offer.
        several: whether the answer may call more than one.
    """

    def __init__(self, form: CallForm, names: Iterable[str], several: bool = True) -> None:
        self._form = form
        # A template writes a name as it is or as JSON would.
        self._names = {spelled: name for name in names for spelled in (name, _escaped(name))}
        self._several = several
        self._held = ""
        self._aside = ""
        """The beginning of what may be a call."""
        self._name = ""
        self._extent = Extent(form.notation)
        self._step: _Step = self._words if form.head else self._begin
        self.calls: list[ToolCall] = []

    @property
    def over(self) -> bool:
        """Whether the answer has called all that it may."""
        return bool(self.calls) and not self._several

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """Text that is no call for certain, and calls that are complete."""
        self._held += text
        known, words = len(self.calls), ""
        while not self.over and (piece := self._step()) is not None:
            words += piece
        return words, self.calls[known:]

    def finish(self) -> str:
        """What was held back and is no call after all."""
        rest, self._held, self._aside = self._aside + self._held, "", ""
        # A template's end of a call may be cut off, and white space after it is nobody's.
        closing = self._step in (self._closing, self._beyond)
        ended = closing and (not rest.strip() or fits(self._form.tail, rest) is not None)
        return "" if ended or self.over else rest

    # Steps --------------------------------------------------------------------------------------

    def _begin(self) -> str | None:
        """The first characters of an answer that may begin with a name."""
        start = len(self._held) - len(self._held.lstrip(" "))
        found = self._named(start)
        if found == MORE:
            return None
        if found is not None:
            return self._put_aside(found, self._arguments)
        heading = self._form.heading
        if len(self._held) < len(heading) and heading.startswith(self._held):
            return None
        self._held = self._held.removeprefix(heading)
        return self._go(self._words)

    def _words(self) -> str | None:
        """Words; what may be the beginning of a call is held back."""
        place, found = self._head()
        # A template may part words and call by a line break, which is neither's.
        words = self._held[:place].rstrip("\n")
        self._held = self._held[len(words) :]
        if found is not None:
            self._put_aside(place - len(words) + found, self._naming)
            return words
        return words or None

    def _naming(self) -> str | None:
        """The name of a function on offer, and what parts it from its arguments."""
        found = self._named(len(self._held) - len(self._held.lstrip()))
        if found == MORE:
            return None
        return self._no_call() if found is None else self._put_aside(found, self._arguments)

    def _arguments(self) -> str | None:
        try:
            end = self._extent.end(self._held)
            if end is None:
                return None
            arguments = self._form.notation.read(self._held[:end].strip())
            self.calls.append(ToolCall(name=self._name, arguments=arguments))
        except (ValueError, RecursionError):
            return self._no_call()
        self._held, self._aside = self._held[end:], ""
        return self._go(self._closing)

    def _closing(self) -> str | None:
        """Another call's beginning, or the end of the last one."""
        for pattern, step in (
            (self._form.between, self._naming),
            (self._form.tail, self._beyond),
        ):
            found = None if pattern is None else fits(pattern, self._held)
            if found == MORE:
                return None
            if found is not None:
                closed = fits(self._form.tail, self._held[:found])
                self._put_aside(found, step)
                # Should no call follow, then this one is over all the same.
                self._aside = self._aside[max(closed or 0, 0) :]
                return ""
        return self._go(self._beyond)

    def _beyond(self) -> str | None:
        self._aside, self._held = "", self._held.lstrip()
        return self._go(self._words) if self._held else None

    # Parts --------------------------------------------------------------------------------------

    def _go(self, step: _Step) -> str:
        self._step = step
        return ""

    def _put_aside(self, count: int, step: _Step) -> str:
        self._aside += self._held[:count]
        self._held = self._held[count:]
        self._extent = Extent(self._form.notation)
        return self._go(step)

    def _no_call(self) -> str:
        """Give back what was put aside; a call may begin right after its first character."""
        whole = self._aside + self._held
        self._aside, self._held = "", whole[1:]
        self._go(self._words)
        return whole[:1]

    def _named(self, start: int) -> int | None:
        """Where the arguments begin that follow a name on offer."""
        waits = False
        for spelled, name in self._names.items():
            begun = self._held[start : start + len(spelled)]
            if begun == spelled:
                found = fits(self._form.middle, self._held, start + len(spelled))
                if found is not None and found != MORE:
                    self._name = name
                    return found
                waits |= found == MORE
            elif len(begun) < len(spelled):
                waits |= spelled.startswith(begun)
        return MORE if waits else None

    def _head(self) -> tuple[int, int | None]:
        """Where a call begins with the length of its head, or where one may begin."""
        for place, character in enumerate(self._held):
            for head in self._form.heads:
                if character != head[0]:
                    continue
                found = fits(head, self._held, place)
                if found is not None:
                    return place, None if found == MORE else found - place
        return len(self._held), None


def read_calls(form: CallForm, names: Iterable[str], text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The words of a whole answer, and the functions that it calls."""
    reader = CallReader(form, names)
    words, _ = reader.feed(text)
    return words + reader.finish(), tuple(reader.calls)


def _escaped(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)[1:-1]
