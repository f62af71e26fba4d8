"""The form of a request: what OpenAI takes, less what a compatible server has refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tunewright.config.endpoint import EndpointConfig

Messages = tuple[dict[str, str], ...]
"""A chat prompt in OpenAI's form."""


class Dialect(NamedTuple):
    """How a request is written.

    Attributes:
        many: whether several completions are asked for in one call.
        format: of structured output: ``json_schema``, ``json_object`` or none.
        limit: name of the field that bounds the reply.
        temperature: whether it may be set.
    """

    many: bool = True
    format: str | None = "json_schema"
    limit: str = "max_tokens"
    temperature: bool = True

    def body(
        self, messages: Messages, wanted: int, config: EndpointConfig, schema: dict[str, Any]
    ) -> dict[str, Any]:
        """A request body."""
        body: dict[str, Any] = {
            "model": config.model,
            "messages": list(messages),
            self.limit: config.sampling.max_tokens,
        }
        if self.many and wanted > 1:
            body["n"] = wanted
        if self.temperature and config.sampling.temperature is not None:
            body["temperature"] = config.sampling.temperature
        if self.format == "json_schema":
            named = {"name": "results", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.format is not None:
            body["response_format"] = {"type": self.format}
        return body


_WEAKER = {"json_schema": "json_object", "json_object": None}


class _Change(NamedTuple):
    """A field that servers refuse: how they name it in words, and the form without it."""

    named: re.Pattern[str]
    without: Callable[[Dialect], Dialect]


_CHANGES: dict[str, _Change] = {
    "response_format": _Change(
        re.compile(r"response_format|json_schema|json_object|structured output"),
        lambda d: d._replace(format=_WEAKER.get(d.format or "")),
    ),
    "n": _Change(re.compile(r"['\"`]n['\"`]|\bn\s?[=><]|\bn (must|should|is|>)"),
                 lambda d: d._replace(many=False)),
    "max_tokens": _Change(
        re.compile(r"max_completion_tokens|unsupported.{0,20}max_tokens"),
        lambda d: d._replace(limit="max_completion_tokens"),
    ),
    "temperature": _Change(re.compile("temperature"), lambda d: d._replace(temperature=False)),
}  # fmt: skip
_TOO_LONG = "context_length_exceeded"


def adapted(dialect: Dialect, body: bytes) -> Dialect | None:
    """The dialect without the field that a refusal names; None when it names none in use."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    error = value.get("error", value) if isinstance(value, dict) else {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    if error.get("code") == _TOO_LONG:
        return None
    param, words = str(error.get("param") or ""), json.dumps(error, ensure_ascii=False).lower()
    for name, change in _CHANGES.items():
        if param.split(".")[0] == name or (not param and change.named.search(words)):
            better = change.without(dialect)
            if better != dialect:
                return better
    return None
