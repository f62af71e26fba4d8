"""What the stages of ``prepare`` hand to each other; plain and small, for they hold every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tunewright.core.messages import Conversation, Message, Role, Row
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


@dataclass(slots=True)
class Draft:
    """A row on its way into a dataset.

    Attributes:
        turns: the conversation.
        file: name of the file it came from.
        number: row or line in that file.
        group: digest of its near-equality key.
        slice: label that scores are reported by.
    """

    turns: tuple[Turn, ...]
    file: str
    number: int
    group: str
    slice: str | None = None
    origin: Literal["own", "general"] = "own"

    @property
    def question(self) -> str:
        """Every user turn, joined."""
        return "\n".join(turn.text for turn in self.turns if turn.role == "user")

    @property
    def answer(self) -> str:
        """Every assistant turn, joined."""
        return "\n".join(turn.text for turn in self.turns if turn.role == "assistant")

    def conversation(self) -> Conversation:
        """The turns as a conversation; formats have checked their order, so it is not redone."""
        return Conversation.model_construct(
            messages=tuple(
                Message.model_construct(role=turn.role, content=turn.text, weight=turn.weight)
                for turn in self.turns
            )
        )

    def row(self) -> Row:
        """The row as it is stored."""
        return Row.model_construct(
            conversation=self.conversation(),
            source=RowSource.model_construct(file=self.file, row=self.number),
            group=self.group,
            slice=self.slice,
            origin=self.origin,
        )


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
