"""Functions offered and called, in the notations of OpenAI, ShareGPT (glaive) and ChatGLM3."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from typing import Any

from tunewright.core.messages import ToolCall
from tunewright.data.formats.base import Tools
from tunewright.data.records import Unusable

_LONGEST_CODE = 100_000
_FENCE = re.compile(r"```(?:python)?\s*(.*?)\s*```", re.S)


def read_tools(value: Any) -> Tools:
    """Functions offered, from OpenAI's list, a list of bare functions, or either as JSON text.

    Raises:
        Unusable: not JSON, or a function without a name.
    """
    if isinstance(value, str):
        value = _json(value, "tools are not JSON") if value.strip() else None
    if not value:
        return ()
    items = value if isinstance(value, list) else [value]
    return tuple(_tool(item) for item in items)


def _tool(item: Any) -> dict[str, Any]:
    wrapped = isinstance(item, dict) and isinstance(item.get("function"), dict)
    function = item["function"] if wrapped else item
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise Unusable("tools are not JSON", f"a function without a name: {_short(item)}")
    bare = {key: value for key, value in function.items() if value is not None}
    return {"type": "function", "function": bare}


def openai_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    """The calls in a message's ``tool_calls``, or in its older ``function_call``.

    Raises:
        Unusable: a call without a name, or whose arguments are no JSON object.
    """
    items = message.get("tool_calls") or []
    if not items and message.get("function_call"):
        items = [message["function_call"]]
    if not isinstance(items, list):
        raise Unusable("tool call is not JSON", _short(items))
    return tuple(_call(item) for item in items)


def written_calls(value: Any) -> tuple[ToolCall, ...]:
    """The calls of a turn that is nothing but one: ``{"name", "arguments"}``, or a list of such.

    Raises:
        Unusable: not JSON, no name, or arguments that are no JSON object.
    """
    if isinstance(value, str):
        value = _json(value, "tool call is not JSON")
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Unusable("tool call is not JSON", "an empty list")
    return tuple(_call(item) for item in items)


def chatglm_call(name: str, code: str) -> ToolCall:
    """ChatGLM3's call: a function's name and ``tool_call(key='value')``, or a JSON object.

    Raises:
        Unusable: neither of the two.
    """
    fenced = _FENCE.search(code)
    text = (fenced.group(1) if fenced else code).strip()
    if text.startswith("{"):
        return ToolCall.model_construct(name=name, arguments=_arguments(text))
    try:
        arguments = json.dumps(_named_values(text), ensure_ascii=False, allow_nan=False)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise Unusable("tool call is not JSON", f"{error}: {_short(text)}") from None
    return ToolCall.model_construct(name=name, arguments=arguments)


def _named_values(code: str) -> dict[str, Any]:
    """The literal arguments of one Python call; nothing of it is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in the code's strings
        call = ast.parse(code[:_LONGEST_CODE], mode="eval").body
    if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
        raise ValueError("no call with named arguments")
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


def chatglm_tool_call(message: dict[str, Any]) -> ToolCall:
    """The call in a ``tool`` turn of ChatGLM3's training data: its ``name`` and ``parameters``.

    Raises:
        Unusable: no name, or parameters that are no JSON object.
    """
    return _call({"name": message.get("name"), "arguments": message.get("parameters")})


def as_result(value: Any) -> str:
    """What a tool gave back, as text; objects and numbers as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _call(item: Any) -> ToolCall:
    function = item.get("function") if isinstance(item, dict) else None
    named = function if isinstance(function, dict) else item
    if not isinstance(named, dict) or not isinstance(named.get("name"), str) or not named["name"]:
        raise Unusable("tool call is not JSON", f"a call without a name: {_short(item)}")
    given = named.get("arguments", named.get("parameters"))
    call_id = item.get("id")
    return ToolCall.model_construct(
        name=named["name"],
        arguments=_arguments(given),
        id=call_id if isinstance(call_id, str) and call_id else None,
    )


def _arguments(value: Any) -> str:
    """Arguments as the text of a JSON object; text that is one already stays as it is written."""
    if value is None or value == "":
        return "{}"
    parsed = _json(value, "tool call is not JSON") if isinstance(value, str) else value
    if not isinstance(parsed, dict):
        raise Unusable("tool call is not JSON", f"arguments are no object: {_short(value)}")
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unusable("tool call is not JSON", f"{error}: {_short(value)}") from None


def _json(text: str, reason: str) -> Any:
    """JSON as its standard has it: Python alone also reads NaN and Infinity."""
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise Unusable(reason, f"{error}: {text[:150]}") from None


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number in JSON")
    return value


def _short(value: Any) -> str:
    return str(value)[:150]
