"""What a chat template is given: messages and tools in the shape that transformers passes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, tool_name
from tunewright.model.control_tokens import ControlTokens
from tunewright.model.marks import Kind, Marks

Values = dict[str, Any]
_Text = Callable[[str], str]
# Escapes in JSON can stand for half of a pair, which no encoding of text can hold.
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Turns:
    """A conversation as the variables ``messages`` and ``tools`` of a chat template.

    Attributes:
        messages: dictionaries with ``role`` and ``content``, and ``tool_calls``, ``tool_call_id``
            and ``name`` where there are such; the arguments of a call are a dictionary.
        tools: as the conversation's, or None when it offers none.
        hidden: whether private characters stand for spelled control tokens.
    """

    messages: list[Values]
    tools: list[Values] | None
    hidden: bool

    @property
    def uses_tools(self) -> bool:
        """Whether there is more than plain messages."""
        return self.tools is not None or any(
            "tool_calls" in message or message["role"] == "tool" for message in self.messages
        )

    def texts(self) -> Iterator[str]:
        """Every text that is the user's own: contents, names, ids, arguments, descriptions."""
        for message in self.messages:
            for name, value in message.items():
                if name != "role":
                    yield from _texts(value)
        yield from _texts(self.tools)

    def marked(self, marks: Marks) -> Turns:
        """The same with marks around contents and around the names of tools and of calls."""
        tools = None if self.tools is None else [_named(t, "tool", -1, marks) for t in self.tools]
        messages = [_marked(message, n, marks) for n, message in enumerate(self.messages)]
        return Turns(messages, tools, self.hidden)


def turns_of(conversation: Conversation, control: ControlTokens) -> Turns:
    """The conversation for a template, spelled control tokens hidden.

    Raises:
        DataError: a text that spells a control token also holds the characters that hide one;
            a tool has no name, or the arguments of a call are no JSON object.
    """
    _check_tools(conversation)
    try:
        return _turns(conversation, control)
    except RecursionError:
        raise DataError("a tool or the arguments of a call are nested too deeply") from None


def _turns(conversation: Conversation, control: ControlTokens) -> Turns:
    tools = [*conversation.tools] or None
    plain = Turns([_message(m, _as_it_is) for m in conversation.messages], tools, False)
    if plain.uses_tools and any(map(_HALF.search, plain.texts())):
        raise DataError("a tool, a call or its result holds half of a character (a surrogate)")
    if not any(control.spelled_in(text) for text in plain.texts()):
        return plain
    _check_room(plain, control)
    messages = [_message(message, control.hide) for message in conversation.messages]
    return Turns(messages, tools and [_mapped(tool, control.hide) for tool in tools], True)


def _check_tools(conversation: Conversation) -> None:
    for number, tool in enumerate(conversation.tools, start=1):
        try:
            tool_name(tool)
        except ValueError as error:
            raise DataError(f"tool {number}: {error}") from None


def _check_room(turns: Turns, control: ControlTokens) -> None:
    for number, message in enumerate(turns.messages, start=1):
        if not all(map(control.can_hide, _texts(message))):
            raise DataError(
                f"message {number} spells a control token beside private-use characters"
            )
    if not all(map(control.can_hide, _texts(turns.tools))):
        raise DataError("a tool spells a control token beside private-use characters")


def _message(message: Message, text: _Text) -> Values:
    values: Values = {"role": message.role, "content": text(message.content)}
    if message.tool_calls:
        values["tool_calls"] = _calls(message, text)
    if message.role == "tool":
        for name in ("tool_call_id", "name"):
            value = getattr(message, name)
            if value is not None:
                values[name] = text(value)
    return values


def _calls(message: Message, text: _Text) -> list[Values]:
    calls = []
    for call in message.tool_calls:
        try:
            # Parsed before texts are hidden, for JSON can spell a control token in escapes.
            arguments = _mapped(call.parsed(), text)
        except ValueError as error:
            raise DataError(str(error)) from None
        named: Values = {} if call.id is None else {"id": text(call.id)}
        function = {"name": text(call.name), "arguments": arguments}
        calls.append({"type": "function", **named, "function": function})
    return calls


def _as_it_is(text: str) -> str:
    return text


def _mapped(value: Any, text: _Text) -> Any:
    """JSON values with another text in the place of each."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): _mapped(inner, text) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(inner, text) for inner in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _marked(message: Values, number: int, marks: Marks) -> Values:
    calls = message.get("tool_calls", ())
    content = message["content"]
    # Templates ask whether a turn that calls tools says something too; marks must not.
    if content.strip() or not calls:
        kind: Kind = "result" if message["role"] == "tool" else "content"
        content = marks.around(kind, number, content)
    marked = {**message, "content": content}
    if calls:
        marked["tool_calls"] = [_named(call, "call", number, marks) for call in calls]
    return marked


def _named(value: Values, kind: Kind, number: int, marks: Marks) -> Values:
    """A tool or a call with marks around the function's name."""
    function = value["function"]
    name = marks.around(kind, number, function["name"])
    return {**value, "function": {**function, "name": name}}
