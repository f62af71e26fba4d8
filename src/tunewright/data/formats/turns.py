"""Lists of messages → turns, in the notations of OpenAI, ChatGLM, ShareGPT and pairs.

Every notation is read wherever a list of messages stands: exports mix them, and no key of one
means something else in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from tunewright.core.messages import Role
from tunewright.data.columns import mark
from tunewright.data.formats.base import Fields, Parsed, Tools, as_list
from tunewright.data.formats.tools import (
    as_result,
    chatglm_call,
    chatglm_tool_call,
    openai_calls,
    read_tools,
    written_calls,
)
from tunewright.data.normal import clean
from tunewright.data.records import Turn, Unusable

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
}
"""Names of roles in all notations; ``function`` is OpenAI's older name of a tool's result."""
_CALLS = frozenset({"function_call", "tool_call", "tool_calls"})
_PAIRS = (("human", "assistant"), ("input", "output"), ("user", "assistant"), ("query", "response"))
_MEDIA = frozenset({"images", "image", "audio", "audios", "videos", "video"})
# ChatGLM's system message that only carries the tools; a renderer writes it anew from them.
_CARRIES_TOOLS = "answer the following questions as best as you can"
_KNOWN = frozenset(
    {"role", "from", "content", "value", "weight", "loss", "name", "tool_calls", "function_call"}
    | {"tool_call_id", "tools", "functions", "metadata", "parameters", "observation", "system"}
    | {name for pair in _PAIRS for name in pair}
)


def read_conversation(record: Fields, items: Any, system: Any = None) -> tuple[list[Turn], Tools]:
    """The turns of a record's list of messages, and the tools that the record offers.

    Args:
        record: may offer ``tools`` or the older ``functions`` beside the list.
        items: the list, or its JSON text.
        system: a system message that stands beside the list.

    Raises:
        Unusable: a message that cannot be read, or tools that are not JSON.
    """
    messages = as_list(items)
    if not messages:
        raise Unusable("no messages", str(items)[:100])
    tools = read_tools(record.get("tools")) or read_tools(record.get("functions"))
    turns: list[Turn] = []
    for item in messages:
        _add(turns, item)
        if not tools and isinstance(item, dict) and item.get("tools"):
            tools = read_tools(item["tools"])
    if tools and turns[0].role == "system":
        turns[0] = _without_carrier(turns[0])
    if isinstance(system, str) and system.strip() and turns[0].role != "system":
        turns.insert(0, Turn("system", clean(system)))
    return turns, tools


def parsed(record: Fields, items: Any, system: Any = None) -> Parsed:
    """A record's list of messages as a whole conversation.

    Raises:
        Unusable: as ``read_conversation`` and ``ordered``.
    """
    turns, tools = read_conversation(record, items, system)
    return Parsed(ordered(turns), tools=tools)


def read_answer(value: Any) -> tuple[Turn, ...]:
    """One answer: a text, a message, or a list of messages.

    Raises:
        Unusable: a message that cannot be read, or none at all.
    """
    if isinstance(value, str):
        return (Turn("assistant", clean(value)),)
    items = [value] if isinstance(value, dict) else value
    if not items:
        raise Unusable("empty answer")
    return tuple(read_conversation({}, items)[0])


def ordered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Refuse what a Conversation would refuse or nothing could learn, with a countable reason.

    An empty system message at the beginning is taken away.

    Raises:
        Unusable: a system message further down, no user turn, an empty turn, a tool's result
            that no call asked for, or an end that is not an assistant's turn.
    """
    if turns and turns[0].role == "system" and not turns[0].text:
        turns = turns[1:]
    roles = [turn.role for turn in turns]
    if "system" in roles[1:]:
        raise Unusable("system message not first")
    if "user" not in roles:
        raise Unusable("empty question", "no user turn")
    _refuse_empty(turns)
    if "tool" in roles:
        _refuse_uncalled(turns)
    if roles[-1] != "assistant":
        what = "ends with the {} turn" if "assistant" in roles else "holds no assistant turn"
        raise Unusable("empty answer", f"the conversation {what.format(roles[-1])}")
    return tuple(turns)


def ignored_keys(lists: Iterable[Any]) -> list[str]:
    """Keys of messages that say something and are not read, sorted."""
    keys: set[str] = set()
    for items in lists:
        for item in as_list(items) or ():
            if isinstance(item, dict):
                keys |= {str(key) for key, value in item.items() if value and key not in _KNOWN}
    return sorted(keys)


def _refuse_empty(turns: Sequence[Turn]) -> None:
    for turn in turns:
        if not turn.text and turn.role != "tool" and not turn.calls:
            reason = "empty answer" if turn.role == "assistant" else "empty question"
            raise Unusable(reason, f"a turn by the {turn.role} without text")


def _refuse_uncalled(turns: Sequence[Turn]) -> None:
    """A result follows the turn that called for it, or another result of that turn."""
    open_calls: tuple[Any, ...] = ()
    for turn in turns:
        if turn.role != "tool":
            open_calls = turn.calls
            continue
        if not open_calls:
            raise Unusable("tool result without a call", turn.text[:100])
        ids = {call.id for call in open_calls}
        if turn.call_id and None not in ids and turn.call_id not in ids:
            raise Unusable("tool result without a call", f"no call has the id {turn.call_id!r}")


# One message -------------------------------------------------------------------------------------


def _add(turns: list[Turn], item: Any) -> None:
    if not isinstance(item, dict):
        raise Unusable("not a message", str(item)[:100])
    if not _MEDIA.isdisjoint(item):
        _refuse_media(item)
    name = item.get("role", item.get("from"))
    name = name if isinstance(name, str) and name in ROLES else mark(name)
    if not name:
        _add_pair(turns, item)
    elif name in _CALLS:
        calls = written_calls(item.get("content", item.get("value")))
        _add_calls(turns, Turn("assistant", "", _weight(item), calls))
    else:
        role = ROLES.get(name)
        if role is None:
            known = ", ".join((*ROLES, *sorted(_CALLS)))
            raise Unusable("unknown role", f"{name[:60]!r}; known: {known}")
        _READERS[role](turns, item)


def _add_system(turns: list[Turn], item: dict[str, Any]) -> None:
    turns.append(Turn("system", _content(item)))


def _add_user(turns: list[Turn], item: dict[str, Any]) -> None:
    turns.append(Turn("user", _content(item)))


def _add_assistant(turns: list[Turn], item: dict[str, Any]) -> None:
    tool = item.get("metadata")
    if isinstance(tool, str) and tool.strip():  # ChatGLM3's calls, in the notation of its history
        call = chatglm_call(tool.strip(), _content(item))
        _add_calls(turns, Turn("assistant", "", _weight(item), (call,)))
        return
    turns.append(Turn("assistant", _content(item), _weight(item), openai_calls(item)))


def _add_result(turns: list[Turn], item: dict[str, Any]) -> None:
    if "parameters" in item or "observation" in item:  # ChatGLM3's training data: call and result
        call = chatglm_tool_call(item)
        _add_calls(turns, Turn("assistant", "", _weight(item), (call,)))
        turns.append(Turn("tool", clean(as_result(item.get("observation") or "")), name=call.name))
        return
    call_id, name = item.get("tool_call_id"), item.get("name")
    turns.append(
        Turn(
            "tool",
            _result(item.get("content", item.get("value"))),
            call_id=call_id if isinstance(call_id, str) and call_id else None,
            name=name if isinstance(name, str) and name else None,
        )
    )


_READERS: dict[Role, Callable[[list[Turn], dict[str, Any]], None]] = {
    "system": _add_system,
    "user": _add_user,
    "assistant": _add_assistant,
    "tool": _add_result,
}


def _add_pair(turns: list[Turn], item: dict[str, Any]) -> None:
    """A question and its answer in one object, as Firefly (human) and XTuner (input) write."""
    asked, answered = next(((q, a) for q, a in _PAIRS if q in item and a in item), ("", ""))
    if not asked:
        raise Unusable("unknown role", f"a message without a role: {str(item)[:100]}")
    if item.get("system") and not turns:
        turns.append(Turn("system", _text(item["system"])))
    turns.append(Turn("user", _text(item[asked])))
    turns.append(Turn("assistant", _text(item[answered])))


def _add_calls(turns: list[Turn], turn: Turn) -> None:
    """A turn of calls alone belongs to the assistant's turn right before it, if there is one."""
    last = turns[-1] if turns else None
    if last is not None and last.role == "assistant" and last.weight == turn.weight:
        turns[-1] = last._replace(calls=last.calls + turn.calls)
    else:
        turns.append(turn)


def _without_carrier(turn: Turn) -> Turn:
    carries = turn.text.casefold().startswith(_CARRIES_TOOLS) and len(turn.text) < 150
    return turn._replace(text="") if carries else turn


def _weight(item: dict[str, Any]) -> Literal[0, 1]:
    """OpenAI's ``weight`` 0 or 1, or ChatGLM's ``loss`` false or true; 1 where neither stands."""
    value = item.get("weight")
    if value is None:
        value = item.get("loss")
    if value is None or value == 1:
        return 1
    if value == 0:
        return 0
    raise Unusable("weight is not 0 or 1", str(value)[:60])


def _refuse_media(item: dict[str, Any]) -> None:
    media = next((name for name in item if name in _MEDIA and item[name]), None)
    if media:
        raise Unusable("not text", f"a message with {media}")


def _content(item: dict[str, Any]) -> str:
    return _text(item.get("content", item.get("value")))


def _text(value: Any) -> str:
    """Text, or OpenAI's list of parts as long as all of them are text."""
    if isinstance(value, str):
        return clean(value)
    if value is None:
        return ""
    parts = _parts(value)
    if parts is None:
        raise Unusable("not text", f"content is a {type(value).__name__}: {str(value)[:80]}")
    return clean("".join(parts))


def _result(value: Any) -> str:
    """What a tool gave back: text, text parts, or any other value as JSON."""
    if value is None:
        return ""
    parts = _parts(value)
    return clean(as_result(value) if parts is None else "".join(parts))


def _parts(value: Any) -> list[str] | None:
    if not isinstance(value, list) or not value:
        return None
    parts = [part.get("text") for part in value if isinstance(part, dict)]
    texts = [part for part in parts if isinstance(part, str)]
    return texts if len(texts) == len(value) else None
