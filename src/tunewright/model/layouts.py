"""Conversations as the text that a chat template writes, and where each message stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.core.errors import DataError, TunewrightError
from tunewright.core.messages import Conversation, Message, Role
from tunewright.model.chat_template import ChatTemplate
from tunewright.model.control_tokens import ControlTokens, Encoded
from tunewright.model.marks import Kind, Marks, Span
from tunewright.model.turns import Turns, turns_of

_LOST: dict[Kind, str] = {
    "tool": "the base's chat template knows no tools",
    "call": "the base's chat template leaves out tool calls",
    "result": "the base's chat template leaves out what tools answer",
}
# A private character that hides a control token, as JSON writes it in ASCII and as Python does.
_ESCAPED = re.compile(r"\\udb8[0-3]\\ud[c-f]|\\U000f0", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """The template's text of a conversation.

    Attributes:
        text: what the template wrote.
        spans: message → the range of its content, and of the names of what it calls; None when
            the template looks into texts, so that they could not be followed.
        hidden: whether private characters stand for spelled control tokens.
    """

    text: str
    spans: dict[int, Span] | None
    hidden: bool


class Layouts:
    """Lays conversations out with one base's chat template.

    Args:
        default: the template.
        tool_use: the template of conversations that offer tools, where it is another.
        control: the tokenizer's control tokens.

    Attributes:
        rejoins: whether the template tells the model less once the answer stands there than when
            it asks for it (some write the system turn only where the model is to go on). A whole
            conversation is then what was asked with the answer behind it: what is learnt is what
            is served.
    """

    def __init__(
        self, default: ChatTemplate, tool_use: ChatTemplate | None, control: ControlTokens
    ) -> None:
        self._default = default
        self._tool_use = tool_use or default
        self._control = control
        self.rejoins = self._forgets()

    def unmarked(self, conversation: Conversation, generate: bool) -> Layout:
        """The text alone, in half the time.

        Raises:
            DataError: the template refuses the conversation, or leaves out its tools.
        """
        if self._rejoined(conversation, generate):
            return self.of(conversation, generate)
        turns = turns_of(conversation, self._control)
        text = self._render(turns, generate)
        if turns.uses_tools:
            marks = Marks()
            turns.marked(marks)
            _refuse_losses(turns, text, marks, None)
        return Layout(text, None, turns.hidden)

    def of(self, conversation: Conversation, generate: bool) -> Layout:
        """The text and where each message stands in it.

        Raises:
            DataError: the template refuses the conversation, or leaves out its tools.
        """
        whole = self._of(conversation, generate)
        if not self._rejoined(conversation, generate):
            return whole
        return _joined(self._of(conversation.prompt(), True), whole, len(conversation.messages) - 1)

    def _of(self, conversation: Conversation, generate: bool) -> Layout:
        turns = turns_of(conversation, self._control)
        text = self._render(turns, generate)
        marks = Marks()
        found = self._found(turns, generate, text, marks)
        if turns.uses_tools:
            _refuse_losses(turns, text, marks, found)
        spans = None if found is None else _by_message(marks, found)
        return Layout(text, spans, turns.hidden or self._yields_control(turns))

    def prompt_text(self, messages: Sequence[Message], conversation: Conversation) -> str:
        """The text of a conversation's first messages, up to where the model would go on."""
        begun = Conversation.model_construct(messages=tuple(messages), tools=conversation.tools)
        return self._render(turns_of(begun, self._control), True)

    def encode(self, layouts: Sequence[Layout]) -> list[Encoded]:
        """Token ids; spelled control tokens as plain text."""
        ordinary = iter(self._control.encode_batch([t.text for t in layouts if not t.hidden]))
        return [
            self._control.encode_hidden(t.text) if t.hidden else next(ordinary) for t in layouts
        ]

    def count(self, layouts: Sequence[Layout]) -> list[int]:
        """How many ids ``encode`` gives, faster."""
        ordinary = iter(self._control.count_batch([t.text for t in layouts if not t.hidden]))
        return [
            len(self._control.encode_hidden(t.text).ids) if t.hidden else next(ordinary)
            for t in layouts
        ]

    def _rejoined(self, conversation: Conversation, generate: bool) -> bool:
        return self.rejoins and not generate and conversation.messages[-1].role == "assistant"

    def _forgets(self) -> bool:
        roles: tuple[Role, ...] = ("system", "user", "assistant", "user", "assistant")
        messages = tuple(Message(role=role, content=f"a{n}") for n, role in enumerate(roles))
        chat = Conversation(messages=messages)
        try:
            asked = self._render(turns_of(chat.prompt(), self._control), True)
            whole = self._render(turns_of(chat, self._control), False)
        except TunewrightError:
            return False
        return "a0" in asked and "a0" not in whole

    def _render(self, turns: Turns, generate: bool) -> str:
        template = self._default if turns.tools is None else self._tool_use
        return template.render(turns.messages, generate, turns.tools)

    def _found(
        self, turns: Turns, generate: bool, text: str, marks: Marks
    ) -> list[Span | None] | None:
        """Where each marked text stands; None when that cannot be told."""
        try:
            marked = self._render(turns.marked(marks), generate)
        except TunewrightError:
            return None
        return marks.find(marked, text)

    def _yields_control(self, turns: Turns) -> bool:
        """Whether a text yields control tokens that it does not spell, after normalisation."""
        return self._control.normalising and any(
            self._control.ids.intersection(self._control.encode(text).ids) for text in turns.texts()
        )


def _joined(asked: Layout, whole: Layout, answer: int) -> Layout:
    """What was asked, and behind it what the whole conversation has after that.

    Args:
        asked: up to where the model is to go on.
        whole: with the answer.
        answer: the number of its message, the last one.

    Raises:
        DataError: the answer cannot be followed.
    """
    mine, theirs = asked.spans or {}, whole.spans or {}
    if answer - 1 in mine and answer - 1 in theirs and answer in theirs:
        before = asked.text[mine[answer - 1][1] :]
        place = theirs[answer - 1][1]
        if whole.text.startswith(before, place):
            place += len(before)
            start, end = (one - place + len(asked.text) for one in theirs[answer])
            spans = {**mine, answer: (start, end)}
            return Layout(asked.text + whole.text[place:], spans, asked.hidden or whole.hidden)
    raise DataError("the base's chat template writes a question differently once it is answered")


def _by_message(marks: Marks, found: Sequence[Span | None]) -> dict[int, Span]:
    spans: dict[int, Span] = {}
    for slot, span in zip(marks.slots, found, strict=True):
        if span is None or slot.kind == "tool":
            continue
        start, end = spans.get(slot.message, span)
        spans[slot.message] = (min(start, span[0]), max(end, span[1]))
    return spans


def _refuse_losses(
    turns: Turns, text: str, marks: Marks, found: Sequence[Span | None] | None
) -> None:
    """Refuse what the template would drop without a word, or write in a garbled way.

    Raises:
        DataError: saying what is lost.
    """
    for index, slot in enumerate(marks.slots):
        if slot.kind not in _LOST or not slot.text.strip():
            continue
        if found is not None:
            lost = found[index] is None
        else:
            lost = slot.kind != "result" and not _shown(slot.text, text)
        if lost:
            raise DataError(_LOST[slot.kind])
    if turns.hidden and _ESCAPED.search(text):
        raise DataError(
            "a tool's text spells a control token, which the base's chat template would garble"
        )


def _shown(name: str, text: str) -> bool:
    return name in text or json.dumps(name)[1:-1] in text
