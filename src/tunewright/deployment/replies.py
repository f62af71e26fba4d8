"""What goes back to a client in OpenAI's shape: whole replies, chunks and errors."""

from __future__ import annotations

import time
from typing import Any

from tunewright.core.errors import TunewrightError


class RequestError(TunewrightError):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        type, param, code: as in OpenAI's error object.
        retry_after: seconds after which the same request may succeed, or None.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = _error_type(status)
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        return error_body(self.message, self.type, self.param, self.code)


def _error_type(status: int) -> str:
    if status == 429:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"


def error_body(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """``{"error": {message, type, param, code}}``; text that is no valid Unicode is replaced."""
    values = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": {key: _encodable(value) for key, value in values.items()}}


def _encodable(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Token counts of one reply."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class ReplyWriter:
    """Writes the reply to one request, whole or in chunks, under one id and time."""

    def __init__(self, reply_id: str, model: str) -> None:
        self.common = {"id": f"chatcmpl-{reply_id}", "created": int(time.time()), "model": model}

    def whole(self, text: str, finish_reason: str, counts: dict[str, int]) -> dict[str, Any]:
        """A ``chat.completion``."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return {
            **self.common,
            "object": "chat.completion",
            "choices": [choice],
            "usage": counts,
        }

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        """A ``chat.completion.chunk`` that carries a piece of the answer."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self.common, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, counts: dict[str, int]) -> dict[str, Any]:
        """The last chunk, asked for with ``stream_options.include_usage``."""
        return {
            **self.common,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": counts,
        }
