"""Calls of functions as a base's chat template writes them: learnt from it, asked for, read again.

The template is shown an answer with one call and one with two; where the names and the arguments
stand in what it writes is all there is to know.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import TunewrightError
from tunewright.core.messages import Conversation, Message, ToolCall
from tunewright.deployment.vocabulary import JSON_STYLE, quoted
from tunewright.model.rendering import Renderer

_NAMES = ("qz_first", "qz_second")
_ARGUMENTS = {"qz_key": "qz_value"}
# With one of these beside its properties an object may hold more than those.
_OPENING = frozenset({"additionalProperties", "patternProperties", "anyOf", "oneOf", "$ref"})
_decoder = json.JSONDecoder()


@dataclass(frozen=True)
class Call:
    """One call that a model made.

    Attributes:
        name: of the function.
        arguments: a JSON object as text, as the model wrote it.
    """

    name: str
    arguments: str

    def wire(self, index: int | None = None) -> dict[str, Any]:
        """The call in OpenAI's shape; ``index`` is there in chunks of a stream."""
        call = {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }
        return call if index is None else {"index": index, **call}


@dataclass(frozen=True)
class CallForm:
    """What stands around names and arguments.

    Attributes:
        head: before the first name; never empty.
        middle: between a name and its arguments.
        between: from one call's arguments to the next name; None where only one is possible.
        tail: after the last arguments.
    """

    head: str
    middle: str
    between: str | None
    tail: str

    @classmethod
    def learn(cls, renderer: Renderer) -> CallForm | None:
        """The form that a base's template writes; None if it knows none with JSON arguments."""
        try:
            one, two = (_written(renderer, _NAMES[:count]) for count in (1, 2))
        except TunewrightError:
            return None
        arguments = next((a for a in _spellings() if a in one), None)
        if arguments is None or _NAMES[0] not in one:
            return None
        head, _, rest = one.partition(_NAMES[0])
        middle, _, tail = rest.partition(arguments)
        if not head or not middle or arguments in tail:
            return None
        start = f"{head}{_NAMES[0]}{middle}{arguments}"
        end = f"{_NAMES[1]}{middle}{arguments}{tail}"
        fits = two.startswith(start) and two.endswith(end) and len(two) > len(start) + len(end)
        between = two[len(start) : len(two) - len(end)] if fits else None
        return cls(head, middle, between, tail)

    def grammar(self, tools: Sequence[dict[str, Any]], several: bool) -> str:
        """Lark's notation for an answer that is one call of one of the tools, or several."""
        rules = []
        for number, tool in enumerate(tools):
            function = tool["function"]
            schema = {"type": "object", **closed(function.get("parameters") or {})}
            style = json.dumps({**schema, "x-guidance": JSON_STYLE}, ensure_ascii=False)
            before = quoted([json.dumps(function["name"])[1:-1] + self.middle])
            rules.append(f"call_{number}: {before} %json {style}")
        names = " | ".join(f"call_{number}" for number in range(len(rules)))
        more = f"({quoted([self.between])} call)*" if several and self.between else ""
        start = f"start: {quoted([self.head])} call {more} {quoted([self.tail])}"
        return "\n".join([start, f"call: {names}", *rules])


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of arguments whose objects hold what they declare and nothing else.

    A function can do nothing with arguments that it does not declare, yet few clients say so, and
    small models would go on inventing them. Parts that ``allOf`` joins say nothing of the whole,
    so a schema with one stays as it is.
    """
    return schema if '"allOf"' in json.dumps(schema) else _closed(schema)


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(found.get(key), dict):
            found[key] = {name: _closed(inner) for name, inner in found[key].items()}
    found |= {key: _closed(found[key]) for key in ("items",) if key in found}
    if "properties" not in found:
        unions = [key for key in ("anyOf", "oneOf") if isinstance(found.get(key), list)]
        return found | {key: [_closed(inner) for inner in found[key]] for key in unions}
    return found if _OPENING & found.keys() else found | {"additionalProperties": False}


class CallReader:
    """Reads calls from an answer while it grows.

    Args:
        form: how the base writes them.
        names: functions on offer; a call of another one is text.
    """

    def __init__(self, form: CallForm, names: frozenset[str]) -> None:
        self._form = form
        self._names = names
        self._held = ""
        self._inside = False
        self.calls: list[Call] = []

    def feed(self, text: str) -> tuple[str, list[Call]]:
        """Text that is no call for certain, and calls that are complete."""
        self._held += text
        plain, found = "", []
        while True:
            if not self._inside:
                piece = self._before_head()
                plain += piece
                if not self._inside:
                    break
            call = self._read()
            if call is None:
                break
            found.append(call)
            self.calls.append(call)
        return plain, found

    def finish(self) -> str:
        """What was held back and is no call after all."""
        rest, self._held = self._held, ""
        # Between two calls and after the last there is only what the template writes.
        return "" if self.calls and not rest.strip(self._form.tail + " \n") else rest

    def _before_head(self) -> str:
        """Give out what comes before a call; hold back what may be the beginning of one."""
        place = self._held.find(self._form.head)
        if place >= 0:
            self._inside = True
            piece, self._held = self._held[:place], self._held[place:]
            # A template may part text and call by a line break, which is neither's.
            return piece.rstrip("\n") if not self.calls else ""
        if self.calls:
            return ""
        kept = _overlap(self._held, self._form.head)
        certain = self._held[: len(self._held) - kept].rstrip("\n")
        self._held = self._held[len(certain) :]
        return certain

    def _read(self) -> Call | None:
        """A complete call from the front of what is held, if there is one."""
        head = self._form.head if self._held.startswith(self._form.head) else self._form.between
        rest = self._held[len(head or "") :]
        name, middle, after = rest.partition(self._form.middle)
        if not middle:
            return None
        try:
            value, end = _decoder.raw_decode(after)
        except ValueError:
            return None
        if name not in self._names or not isinstance(value, dict):
            return None
        self._held = after[end:]
        between = self._form.between
        self._inside = bool(between) and self._held.startswith(between or "")
        return Call(name, after[:end])


def _written(renderer: Renderer, names: Sequence[str]) -> str:
    """What the template writes for an answer that calls these functions."""
    tool = {"type": "object", "properties": {"qz_key": {"type": "string"}}}
    conversation = Conversation(
        messages=(
            Message(role="user", content="?"),
            Message(
                role="assistant",
                content="",
                tool_calls=tuple(
                    ToolCall(name=name, arguments=json.dumps(_ARGUMENTS), id=f"call{n:05}")
                    for n, name in enumerate(names)
                ),
            ),
        ),
        tools=tuple(
            {"type": "function", "function": {"name": name, "parameters": tool}} for name in names
        ),
    )
    rendered = renderer.render(conversation)
    ids = [
        token
        for token, learnt in zip(rendered.ids, rendered.mask, strict=True)
        if learnt and token not in renderer.eos_ids
    ]
    return renderer.tokenizer.decode(ids, skip_special_tokens=False)


def _spellings() -> list[str]:
    return [json.dumps(_ARGUMENTS), json.dumps(_ARGUMENTS, separators=(",", ":"))]


def _overlap(text: str, start: str) -> int:
    """Length of the longest end of ``text`` that begins ``start``."""
    longest = min(len(text), len(start) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(start[:n])), 0)
