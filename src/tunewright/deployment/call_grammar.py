"""Forms of answers that call functions, in Lark's notation as llguidance reads it.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunewright.deployment.tool_calls import closed
from tunewright.deployment.vocabulary import JSON_STYLE
from tunewright.model.calls.forms import ID_LENGTH, CallForm
from tunewright.model.calls.notations import JSON, PYTHON, Notation
from tunewright.model.calls.patterns import SLOT

_ID = f"/[a-zA-Z0-9]{{{ID_LENGTH}}}/"
_TEXT = r"""/'([^'\\\n]|\\[\\'"nrt])*'|"([^"\\\n]|\\[\\'"nrt])*"/"""
_ANY_NAME = "/[a-zA-Z_][a-zA-Z0-9_]*/"
_NOTES = frozenset({"title", "description", "default", "examples"})
"""Keys of a schema that ask for nothing."""


def call_grammar(
    form: CallForm,
    controls: Mapping[str, int],
    tools: Sequence[Mapping[str, Any]],
    several: bool,
) -> str:
    """The form of an answer that is one call of one of the tools, or several.

    Args:
        form: how the base writes calls.
        controls: its control tokens, by their spelling.
        tools: in OpenAI's shape.
        several: whether there may be more than one call.
    """

    def literal(text: str) -> str:
        return _literal(text, controls)

    rules: list[str] = []
    for number, tool in enumerate(tools):
        function, label = tool["function"], f"call_{number}"
        schema = {"type": "object", **closed(function.get("parameters") or {})}
        name = function["name"]
        if form.middle.startswith('"'):
            name = json.dumps(name, ensure_ascii=False)[1:-1]
        rules.append(f"{label}: {literal(name + form.middle)} {label}_arguments")
        rules += _ARGUMENTS[form.notation](f"{label}_arguments", schema)
    names = " | ".join(f"call_{number}" for number in range(len(tools)))
    more = f"({literal(form.between)} call)*" if several and form.between else ""
    lead = f"{json.dumps(form.lead)}?" if form.lead else ""
    start = f"start: {lead} {literal(form.head)} call {more} {literal(form.tail)}"
    return "\n".join([start, f"call: {names}", *rules])


def _literal(text: str, controls: Mapping[str, int]) -> str:
    """A text of the template's: its control tokens as such, not as the letters that spell them."""
    spelled = sorted(controls, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, [*spelled, SLOT]))})", text)
    return " ".join(_piece(piece, controls) for piece in pieces if piece)


def _piece(piece: str, controls: Mapping[str, int]) -> str:
    if piece == SLOT:
        return _ID
    return f"<[{controls[piece]}]>" if piece in controls else _quoted(piece)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json(schema: Any) -> str:
    whole = schema if isinstance(schema, dict) else {}
    return f"%json {json.dumps({**whole, 'x-guidance': JSON_STYLE}, ensure_ascii=False)}"


def _json_arguments(label: str, schema: Mapping[str, Any]) -> list[str]:
    return [f"{label}: {_json(schema)}"]


def _python_arguments(label: str, schema: Mapping[str, Any]) -> list[str]:
    """Declared arguments in their order; those that are not required may be left out."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        any_value = f"{label}_any"
        pair = f"{_ANY_NAME} {_quoted('=')} {any_value}"
        return [f'{label}: ({pair} (", " {pair})*)?', f"{any_value}: {_json({})}"]
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    required = set(schema.get("required") or ())
    # "first" where nothing was written yet, "rest" where a comma is due.
    rules = [f"{label}: {label}_first_0"]
    for number, (name, inner) in enumerate(properties.items()):
        value, after = f"{label}_value_{number}", number + 1
        pair, rest = f"{_quoted(f'{name}=')} {value}", f"{label}_rest_{after}"
        skipped = "" if name in required else f" | {label}_first_{after}"
        optional = "" if name in required else "?"
        rules += [
            f"{value}: {_python(inner, shared)}",
            f"{label}_first_{number}: {pair} {rest}{skipped}",
            f'{label}_rest_{number}: (", " {pair}){optional} {rest}',
        ]
    last = len(properties)
    return [*rules, f'{label}_first_{last}: ""', f'{label}_rest_{last}: ""']


def _python(schema: Any, shared: Mapping[str, Any]) -> str:
    """A value as Python writes it where that is simple, else as JSON, which is read as well."""
    if not isinstance(schema, dict):
        return _json({})
    asked = {key: value for key, value in schema.items() if key not in _NOTES}
    chosen = asked.get("enum")
    if isinstance(chosen, list) and chosen and all(map(_is_scalar, chosen)):
        return " | ".join(_quoted(repr(value)) for value in chosen)
    if asked in ({"type": "boolean"}, {"type": "string"}, {"type": "null"}):
        return _WORDS[asked["type"]]
    return _json({**shared, **schema})


_WORDS = {"boolean": '"True" | "False"', "null": '"None"', "string": _TEXT}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


_ARGUMENTS: dict[Notation, Callable[[str, Mapping[str, Any]], list[str]]] = {
    JSON: _json_arguments,
    PYTHON: _python_arguments,
}
