"""A streamed chat completion put together again as the whole one that it stands for."""

from __future__ import annotations

from typing import Any

_LISTS = ("content", "refusal")


class Assembly:
    """Takes the chunks of one stream, in their order.

    Wire format: https://platform.openai.com/docs/api-reference/chat-streaming.
    """

    def __init__(self) -> None:
        self._common: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, dict[int, dict[str, Any]]] = {}
        self._usage: dict[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """One more chunk."""
        for key in ("id", "created", "model", "system_fingerprint"):
            if key in chunk:
                self._common[key] = chunk[key]
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices", ()):
            self._grow(choice)

    def whole(self) -> dict[str, Any]:
        """The completion so far."""
        for index, calls in self._calls.items():
            self._choices[index]["message"]["tool_calls"] = [calls[at] for at in sorted(calls)]
        choices = [self._choices[index] for index in sorted(self._choices)]
        told = {} if self._usage is None else {"usage": self._usage}
        return {**self._common, "object": "chat.completion", "choices": choices, **told}

    def _grow(self, piece: dict[str, Any]) -> None:
        index = int(piece.get("index", 0))
        choice = self._choices.setdefault(index, _empty(index))
        delta = piece.get("delta") or {}
        message = choice["message"]
        for key in ("content", "refusal"):
            if delta.get(key) is not None:
                message[key] = (message[key] or "") + delta[key]
        for call in delta.get("tool_calls") or ():
            _grow_call(self._calls.setdefault(index, {}), call)
        _grow_logprobs(choice, piece.get("logprobs"))
        choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]


def _empty(index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None}


def _grow_call(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    """The first piece of a call names it; the others bring more of its arguments."""
    at = int(piece.get("index", len(calls)))
    empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(at, empty)
    call["id"] = piece.get("id") or call["id"]
    function = piece.get("function") or {}
    for key in ("name", "arguments"):
        call["function"][key] += function.get(key) or ""


def _grow_logprobs(choice: dict[str, Any], piece: dict[str, Any] | None) -> None:
    if piece is None:
        return
    known = choice["logprobs"] or dict.fromkeys(_LISTS)
    choice["logprobs"] = {
        key: [*(known[key] or ()), *piece[key]] if piece.get(key) is not None else known[key]
        for key in _LISTS
    }
