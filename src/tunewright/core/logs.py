"""What the server and its engines write to stderr: what they did, and what went wrong.

Lines name a key by its id and a route as it is declared, so they hold no text of a request unless
that was asked for. What looks like a key is blacked out wherever it comes from.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from tunewright.core.errors import TunewrightError

Format = Literal["text", "json", "off"]
_SECRET = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}|(?i:bearer)\s+[\w.~+/-]{8,}=*")
_requests = logging.getLogger("tunewright.requests")


def note(event: str, facts: dict[str, Any]) -> None:
    """One line, about a request that has ended, a server or an engine; None is left out."""
    known = {key: value for key, value in facts.items() if value is not None}
    _requests.info(event, extra={"facts": known})


@contextmanager
def logging_to_stderr(form: Format) -> Iterator[None]:
    """Write logs in this form while the block runs; ``off`` leaves warnings and errors."""
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    level = _requests.level
    _requests.setLevel(logging.CRITICAL if form == "off" else logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        _requests.setLevel(level)


class _Text(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """``2026-11-21T09:30:00.123Z 200 POST /v1/… key=… model=…``."""
        begin = _time(record.created)
        facts: dict[str, Any] | None = getattr(record, "facts", None)
        if facts is None:
            return f"{begin} {record.levelname.lower()} {_said(record)}"
        rest = dict(facts)
        event = record.getMessage()
        names = ("status", "method", "route") if event == "request" else ()
        head = " ".join(str(rest.pop(name, "-")) for name in names) or event
        shown = " ".join(f"{name}={_word(value)}" for name, value in rest.items())
        return masked(f"{begin} {head} {shown}")


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """``{"time": …, "event": "request" or a level, …}``."""
        facts: dict[str, Any] | None = getattr(record, "facts", None)
        begin: dict[str, Any] = {"time": _time(record.created)}
        if facts is None:
            level = record.levelname.lower()
            begin |= {"event": level, "logger": record.name, "message": _said(record)}
        else:
            begin |= {"event": record.getMessage(), **facts}
        return masked(json.dumps(begin, ensure_ascii=False))


def masked(text: str) -> str:
    """The text with what looks like a key blacked out."""
    return _SECRET.sub("***", text)


def _time(at: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at * 1000) % 1000:03d}Z"


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    plain = text.isprintable() and " " not in text and '"' not in text and text
    return text if plain else json.dumps(text, ensure_ascii=False)


def _said(record: logging.LogRecord) -> str:
    """The message and where an exception came from.

    What an exception of a library says may quote a request; only where it arose is told. Our own
    errors and the system's say nothing of the kind.
    """
    said = record.getMessage().strip()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        named = f"{type(error).__name__}"
        if isinstance(error, TunewrightError | OSError):
            named += f": {error}"
        frames = "".join(traceback.format_tb(error.__traceback__))
        said = f"{said}: {named}\n{frames}".rstrip()
    return masked(said)
