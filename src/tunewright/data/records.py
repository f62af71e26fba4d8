"""What the stages of ``prepare`` hand to each other; plain and small, for they hold every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson

from tunewright.core.messages import (
    Conversation,
    Message,
    Passage,
    Role,
    Row,
    RowKind,
    ToolCall,
)
from tunewright.core.messages import Source as RowSource


class Unusable(Exception):  # noqa: N818 - it is a verdict on one row, not an error
    """Why one row is left out.

    Attributes:
        reason: a fixed phrase, counted in reports.
        detail: particulars of this row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Record(NamedTuple):
    """One record of a file: its 1-based row or line number and its fields, or why it has none."""

    number: int
    fields: dict[str, Any] | Unusable


class Turn(NamedTuple):
    """A message before it becomes one."""

    role: Role
    text: str
    weight: Literal[0, 1] = 1
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None

    def message(self) -> Message:
        """The turn as a message; formats have checked it, so it is not checked again."""
        if not (self.calls or self.call_id or self.name):
            return Message.model_construct(role=self.role, content=self.text, weight=self.weight)
        return Message.model_construct(
            role=self.role,
            content=self.text,
            weight=self.weight,
            tool_calls=self.calls,
            tool_call_id=self.call_id,
            name=self.name,
        )


@dataclass(slots=True)
class Draft:
    """A row on its way into a dataset.

    Attributes:
        turns: the conversation; of a text row one user turn that holds the text.
        file: name of the file it came from.
        number: row or line in that file.
        group: digest of its near-equality key, later of the cluster it belongs to.
        slice: label that scores are reported by.
        kind: what the row is.
        rejected: the worse answer of a preference.
        desirable: the judgement of a rating.
        tools: functions offered, in OpenAI's ``tools`` format.
        label: the class of a classification row, by which splits are stratified.
        best: whether its source marks it as the best answer; None where it has no marks.
        date: when it was written, as its source says; compared as text.
        required: phrases that an answer must say when it is scored.
        forbidden: phrases that it must not say.
    """

    turns: tuple[Turn, ...]
    file: str
    number: int
    group: str
    slice: str | None = None
    origin: Literal["own", "general"] = "own"
    kind: RowKind = "conversation"
    rejected: tuple[Turn, ...] = ()
    desirable: bool | None = None
    tools: tuple[dict[str, Any], ...] = ()
    label: str | None = None
    best: bool | None = None
    date: str | None = None
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """Every user turn, joined."""
        return said_by(self.turns, "user")

    @property
    def answer(self) -> str:
        """Every assistant turn, joined."""
        return said_by(self.turns, "assistant")

    def conversation(self) -> Conversation:
        """The turns as a conversation; formats have checked their order, so it is not redone."""
        return Conversation.model_construct(
            messages=tuple(turn.message() for turn in self.turns), tools=self.tools
        )

    def row(self) -> Row | Passage:
        """The row as it is stored."""
        source = RowSource.model_construct(file=self.file, row=self.number)
        if self.kind == "text":
            text = self.turns[0].text
            return Passage.model_construct(
                text=text, source=source, group=self.group, origin=self.origin
            )
        return Row.model_construct(
            conversation=self.conversation(),
            source=source,
            group=self.group,
            slice=self.slice,
            origin=self.origin,
            rejected=tuple(turn.message() for turn in self.rejected),
            desirable=self.desirable,
            required=self.required,
            forbidden=self.forbidden,
        )

    def line(self) -> bytes:
        """``row()`` as one line of JSON without its defaults; many times faster than by way of it.

        Lone surrogates cannot be written as UTF-8; ``clean`` has replaced them.
        """
        stored: dict[str, Any] = {}
        if self.kind == "text":
            stored["text"] = self.turns[0].text
        else:
            conversation: dict[str, Any] = {"messages": [_stored(turn) for turn in self.turns]}
            if self.tools:
                conversation["tools"] = self.tools
            stored["conversation"] = conversation
        stored["source"] = {"file": self.file, "row": self.number}
        stored["group"] = self.group
        if self.slice is not None:
            stored["slice"] = self.slice
        if self.origin != "own":
            stored["origin"] = self.origin
        if self.rejected:
            stored["rejected"] = [_stored(turn) for turn in self.rejected]
        if self.desirable is not None:
            stored["desirable"] = self.desirable
        if self.required:
            stored["required"] = self.required
        if self.forbidden:
            stored["forbidden"] = self.forbidden
        return orjson.dumps(stored, option=orjson.OPT_APPEND_NEWLINE)


def said_by(turns: Sequence[Turn], role: Role) -> str:
    """The texts of every turn of a role, joined."""
    return "\n".join([turn.text for turn in turns if turn.role == role])


def _stored(turn: Turn) -> dict[str, Any]:
    """A message's JSON without its defaults."""
    role, text, weight, calls, call_id, name = turn
    if weight == 1 and not calls and call_id is None and name is None:
        return {"role": role, "content": text}
    return turn.message().model_dump(mode="json", exclude_defaults=True)


class Dropped(NamedTuple):
    """One row left out, as ``dropped.jsonl`` holds it.

    ``kept`` is the file and row that stands for it in the dataset, where there is one.
    """

    file: str
    row: int
    reason: str
    text: str
    kept: tuple[str, int] | None = None

    def json_dict(self) -> dict[str, Any]:
        """The row as JSON values, without ``kept`` where there is none."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Changed(NamedTuple):
    """One change to a row that is kept, as ``changed.jsonl`` holds it; never the removed text."""

    file: str
    row: int
    check: str
    detail: str

    def json_dict(self) -> dict[str, Any]:
        """The change as JSON values."""
        return self._asdict()
