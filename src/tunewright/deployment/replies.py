"""What goes back to a client in OpenAI's shape: whole replies, chunks and errors."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tunewright.core.errors import TunewrightError


class RequestError(TunewrightError):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        type, param, code: as in OpenAI's error object.
        retry_after: seconds after which the same request may succeed, or None.
        should_retry: False where OpenAI's client would ask again in vain.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        retry_after: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = kind or _error_type(status)
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.should_retry = should_retry

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


def usage(
    prompt_tokens: int, completion_tokens: int, cached_tokens: int | None = None
) -> dict[str, Any]:
    """Token counts of one reply; ``cached_tokens`` of the prompt did not have to be read."""
    counts: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached_tokens, "audio_tokens": 0}
    return counts


class ReplyWriter:
    """Writes the reply to one request, whole or in chunks, under one id and time.

    Args:
        prefix: of the id.
        kind, chunk_kind: the names of a whole reply's and a chunk's shape.
        model: as the client knows it.
        fingerprint: of what answers; the same request may get another answer where it differs.
    """

    def __init__(
        self, prefix: str, kind: str, chunk_kind: str, model: str, fingerprint: str
    ) -> None:
        self._kind = kind
        self._chunk_kind = chunk_kind
        self._common = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, choices: list[dict[str, Any]], counts: dict[str, Any]) -> dict[str, Any]:
        """The whole reply."""
        return {**self._common, "object": self._kind, "choices": choices, "usage": counts}

    def chunk(self, choice: dict[str, Any], counts: dict[str, Any] | None = None) -> dict[str, Any]:
        """A chunk that carries a piece of one answer, and the token counts so far, if given."""
        told = {} if counts is None else {"usage": counts}
        return {**self._common, "object": self._chunk_kind, "choices": [choice], **told}

    def usage_chunk(self, counts: dict[str, Any]) -> dict[str, Any]:
        """The last chunk, asked for with ``stream_options.include_usage``."""
        return {**self._common, "object": self._chunk_kind, "choices": [], "usage": counts}
