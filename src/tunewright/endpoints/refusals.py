"""What an endpoint's refusals mean: stop, wait, or leave out one request."""

from __future__ import annotations

import json
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

LONGEST_WAIT = 60.0
"""Seconds; no pause is longer, whatever the endpoint asks for."""
_FIRST_PAUSE = 0.5
_LONGEST_TEXT = 300

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""
FATAL: dict[str, str] = {
    "401": (
        "Give a valid key: --key-file FILE, or the variable TUNEWRIGHT_ENDPOINT_KEY "
        "(OPENAI_API_KEY is told to api.openai.com only)."
    ),
    "402": "The account has no credit left; what was answered is kept.",
    "403": "The key may not use this model or this API.",
    "404": "Check the model's name (--model) and that --endpoint ends where /chat/completions "
    "begins, e.g. in /v1.",
    "405": "Check --endpoint: the address takes no chat requests.",
    "insufficient_quota": "The account has no credit left; what was answered is kept.",
    "model_not_found": "Check --model.",
}
"""Status or error code → what to do; every other request would meet the same."""


def pause(attempt: int, chance: float) -> float:
    """Seconds before repeat ``attempt`` (from 1): doubling, spread by ``chance`` in [0, 1)."""
    return float(min(LONGEST_WAIT, _FIRST_PAUSE * 2.0 ** (attempt - 1)) * (0.5 + chance / 2))


def retry_after(headers: httpx.Headers, now: float | None = None) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3: seconds or an HTTP date).

    Args:
        headers: of the refusal.
        now: seconds since the epoch; the clock's when not given.

    Returns:
        At most ``LONGEST_WAIT``; None without a header that can be understood.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_WAIT, float(text[:9]))
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    seconds = date.timestamp() - (time.time() if now is None else now)
    return min(LONGEST_WAIT, max(0.0, seconds))


def said(body: bytes, key: str | None) -> tuple[str, str]:
    """``(message, code)`` of an error body, on one line, without control characters or the key."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    error = value.get("error", value) if isinstance(value, dict) else value
    fields = error if isinstance(error, dict) else {"message": error}
    message = str(fields.get("message") or fields.get("detail") or "")[: 10 * _LONGEST_TEXT]
    if key:
        message = message.replace(key, "…")
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return line[:_LONGEST_TEXT], str(fields.get("code") or "")
