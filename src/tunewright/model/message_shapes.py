"""Messages for templates that know tools by keys of GLM's own, and not by OpenAI's.

Their turns have a ``metadata``: the function that an answer calls, whose arguments are then its
content. What a function gave back is an ``observation``. Some want the functions on offer as
``tools`` of the first message. See https://github.com/zai-org/GLM-4/tree/main/finetune_demo.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Turn = Mapping[str, Any]
Shaped = tuple[Sequence[Turn], Sequence[Turn] | None]
Shape = Callable[[Sequence[Turn], Sequence[Turn] | None], Shaped]
"""OpenAI's messages and tools → those that a template knows."""

_TOOLS_OF_A_MESSAGE = re.compile(r"""\w+(\[['"]tools['"]\]|\.tools)\s+is\s+defined""")


def shape_for(source: str) -> Shape:
    """How a template, given as its source, wants messages."""
    if "metadata" not in source or "tool_calls" in source:
        return _as_they_are
    return _with_tools if _TOOLS_OF_A_MESSAGE.search(source) else _by_metadata


def _as_they_are(messages: Sequence[Turn], tools: Sequence[Turn] | None) -> Shaped:
    return messages, tools


def _by_metadata(messages: Sequence[Turn], tools: Sequence[Turn] | None) -> Shaped:
    return [turn for message in messages for turn in _turns(message)], tools


def _with_tools(messages: Sequence[Turn], tools: Sequence[Turn] | None) -> Shaped:
    turns = [turn for message in messages for turn in _turns(message)]
    if tools is None:
        return turns, None
    if turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": ""})
    return [{**turns[0], "tools": tools}, *turns[1:]], tools


def _turns(message: Turn) -> Iterator[Turn]:
    calls = message.get("tool_calls", ())
    if message["role"] == "tool":
        yield {"role": "observation", "content": message["content"]}
    elif not calls:
        yield message
    elif message["content"]:
        yield {"role": "assistant", "content": message["content"]}
    for call in calls:
        function = call["function"]
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        yield {"role": "assistant", "metadata": function["name"], "content": arguments}
