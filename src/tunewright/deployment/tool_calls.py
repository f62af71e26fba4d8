"""Calls of functions on the wire, and the arguments that a function takes."""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

from tunewright.core.messages import ToolCall
from tunewright.model.calls.forms import ID_LENGTH, CallForm
from tunewright.model.calls.reader import CallReader

# With one of these beside its properties an object may hold more than those.
_OPENING = frozenset({"additionalProperties", "patternProperties", "anyOf", "oneOf", "$ref"})


def identified(call: ToolCall, form: CallForm) -> ToolCall:
    """The call with an id that its base's template can write when the call is sent back."""
    letters = string.ascii_letters + string.digits
    fresh = (
        "".join(secrets.choice(letters) for _ in range(ID_LENGTH))
        if form.writes_ids
        else f"call_{secrets.token_hex(12)}"
    )
    return call.model_copy(update={"id": fresh})


class Calls:
    """The calls of one answer, each with an id.

    Args:
        reader: reads them.
        form: how the base writes them.

    Attributes:
        made: so far.
    """

    def __init__(self, reader: CallReader, form: CallForm) -> None:
        self._reader = reader
        self._form = form
        self.made: list[ToolCall] = []

    @property
    def over(self) -> bool:
        """Whether the answer has called all that it may."""
        return self._reader.over

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """Text that is no call for certain, and calls that are complete."""
        words, found = self._reader.feed(text)
        named = [identified(call, self._form) for call in found]
        self.made += named
        return words, named

    def finish(self) -> str:
        """What was held back and is no call after all."""
        return self._reader.finish()


def wire(call: ToolCall, index: int | None = None) -> dict[str, Any]:
    """A call in OpenAI's shape; ``index`` is there in chunks of a stream."""
    said = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    return said if index is None else {"index": index, **said}


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
