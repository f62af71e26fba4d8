"""Message, Conversation, Row: what every stage passes on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["system", "user", "assistant", "tool"]
Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
RowKind = Literal["conversation", "preference", "rating", "text"]
"""What a dataset's rows are: answers to learn, pairs of answers, judged answers, plain text."""


class ToolCall(BaseModel):
    """A function that an assistant turn calls; ``arguments`` is a JSON object as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: str
    id: str | None = None

    @model_validator(mode="after")
    def _callable(self) -> ToolCall:
        if not self.name:
            raise ValueError("a tool call needs the name of a function")
        self.parsed()
        return self

    def parsed(self) -> dict[str, Any]:
        """The arguments as values.

        Raises:
            ValueError: they are not the text of a JSON object.
        """
        try:
            value = json.loads(self.arguments, parse_constant=_number, parse_float=_number)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the arguments for {self.name} are not JSON: {error}") from None
        if not isinstance(value, dict):
            raise ValueError(f"the arguments for {self.name} are not a JSON object")
        return value


def _number(text: str) -> float:
    """A number that JSON can write again; Python alone also reads NaN and Infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number in JSON")
    return value


class Message(BaseModel):
    """One turn. ``weight`` 0 keeps an assistant turn in the context but out of the loss.

    ``tool_calls`` stand in assistant turns; ``tool_call_id`` and ``name`` in the tool's answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str
    weight: Literal[0, 1] = 1
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _calls_by_assistant(self) -> Message:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant message may call tools")
        if self.tool_call_id is not None and self.role != "tool":
            raise ValueError("only a tool message may answer a tool call")
        return self


class Conversation(BaseModel):
    """Messages in order; a system message may only come first, and one turn must be a user's.

    ``tools`` are the functions offered, each as a JSON schema in OpenAI's ``tools`` format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...] = Field(min_length=1)
    tools: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Conversation:
        roles = [message.role for message in self.messages]
        if "system" in roles[1:]:
            raise ValueError("a system message may only be the first message")
        if "user" not in roles:
            raise ValueError("a conversation needs at least one user message")
        for tool in self.tools:
            tool_name(tool)
        return self

    @property
    def question(self) -> str:
        """The last user turn: what an evaluation asks."""
        return next(m.content for m in reversed(self.messages) if m.role == "user")

    @property
    def answer(self) -> str | None:
        """The final assistant turn, or None when the conversation ends with another role."""
        last = self.messages[-1]
        return last.content if last.role == "assistant" else None

    def prompt(self) -> Conversation:
        """The conversation without its final assistant turn."""
        if self.messages[-1].role != "assistant":
            return self
        return Conversation(messages=self.messages[:-1], tools=self.tools)


def tool_name(tool: Mapping[str, Any]) -> str:
    """The name of a function as ``tools`` offers it.

    Raises:
        ValueError: it has none.
    """
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ValueError("a tool needs a function with a name")
    return name


def conversation(*turns: tuple[Role, str]) -> Conversation:
    """Shorthand: ``conversation(("user", "hi"), ("assistant", "hello"))``."""
    return Conversation(messages=tuple(Message(role=role, content=text) for role, text in turns))


class Source(BaseModel):
    """Where a row came from: the file's name as given and its 1-based row or line number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    row: int


class Row(BaseModel):
    """One row of a dataset, as stored: one JSON object per line in ``<split>.jsonl``.

    ``group`` names what must stay on one side of a split (near-equal questions share it);
    ``slice`` is a label that scores are reported by, e.g. ``paraphrase``; ``origin`` tells the
    team's own rows from those mixed in against forgetting. In a preference, ``conversation``
    ends with the better answer and ``rejected`` holds the worse one; in a rating, ``desirable``
    judges the conversation's answer. ``required`` and ``forbidden`` are phrases that answers are
    scored by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation: Conversation
    source: Source
    group: str
    slice: str | None = None
    origin: Literal["own", "general"] = "own"
    rejected: tuple[Message, ...] = ()
    desirable: bool | None = None
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


class Passage(BaseModel):
    """One row of a dataset of plain text, for continued pretraining."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    source: Source
    group: str
    origin: Literal["own", "general"] = "own"


def supervised(rows: Iterable[Row]) -> list[Row]:
    """The rows that hold an answer to learn from or to compare with."""
    return [row for row in rows if row.conversation.answer is not None]
