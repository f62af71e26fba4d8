"""The input of a batch: one request per line, looked at before any of them is answered."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.deployment.bodies import MAX_BODY_BYTES

MOST_LINES = 50_000
_MOST_ERRORS = 100
_LONGEST_ID = 512
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """One request.

    Attributes:
        number: of its line in the file, from 1 on.
        custom_id: what its answer is to be told by.
        body: of the request, as JSON.
    """

    number: int
    custom_id: str
    body: bytes


class BadLineError(ValueError):
    """What is wrong with a line.

    Attributes:
        code, param: as in OpenAI's errors of a batch.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param

    def told(self, number: int | None) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        return {"code": self.code, "message": str(self), "param": self.param, "line": number}


@dataclass
class Checked:
    """What a look at the whole input found.

    Attributes:
        total: requests.
        model: what all of them ask.
        errors: in OpenAI's shape; the first ones, where there are many.
    """

    total: int = 0
    model: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)


def check_lines(path: Path, endpoint: str) -> Checked:
    """Look at every line: whether it is a request to ``endpoint``, and all are to one model."""
    found = Checked()
    seen: set[str] = set()
    for number, raw in _numbered(path):
        found.total += 1
        try:
            _check(raw, endpoint, found, seen)
        except BadLineError as error:
            found.errors.append(error.told(number))
        if found.total > MOST_LINES:
            problem = BadLineError("too_many_tasks", f"a batch has at most {MOST_LINES:,} requests")
            found.errors.append(problem.told(None))
        if found.total > MOST_LINES or len(found.errors) >= _MOST_ERRORS:
            break
    if not found.total:
        found.errors.append(BadLineError("empty_file", "the file holds no request").told(None))
    return found


def unanswered(path: Path, answered: Collection[int]) -> Iterator[Line]:
    """The requests of a checked input, less those whose lines are ``answered``."""
    for number, raw in _numbered(path):
        if number not in answered:
            values = _parsed(raw)
            body = json.dumps(values["body"], ensure_ascii=False).encode()
            yield Line(number, values["custom_id"], body)


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank; of one that is too long, no more than shows that it is."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_BODY_BYTES + 1):
            number += 1
            whole = raw
            while len(raw) > MAX_BODY_BYTES and not raw.endswith(b"\n"):
                raw = file.readline(MAX_BODY_BYTES + 1)
                if not raw:
                    break
            if number == 1:
                whole = whole.removeprefix(_MARK)
            if whole.strip():
                yield number, whole


def _check(raw: bytes, endpoint: str, found: Checked, seen: set[str]) -> None:
    values = _parsed(raw)
    name = values.get("custom_id")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        problem = f"custom_id must be a text of 1 to {_LONGEST_ID} characters"
        raise BadLineError("invalid_custom_id", problem, "custom_id")
    if name in seen:
        problem = f"custom_id {name[:64]!r} is another line's too; each must be the only one"
        raise BadLineError("duplicate_custom_id", problem, "custom_id")
    seen.add(name)
    if values.get("method") != "POST":
        raise BadLineError("invalid_method", "method must be 'POST'", "method")
    if values.get("url") != endpoint:
        problem = f"url must be the batch's endpoint, {endpoint!r}"
        raise BadLineError("url_mismatch", problem, "url")
    body = values.get("body")
    if not isinstance(body, dict):
        raise BadLineError("invalid_body", "body must be a JSON object", "body")
    _check_model(body.get("model"), found)


def _check_model(model: Any, found: Checked) -> None:
    if not isinstance(model, str) or not model:
        raise BadLineError("missing_required_parameter", "body.model is required", "body.model")
    if found.model is None:
        found.model = model
    if model != found.model:
        problem = f"body.model is {model[:64]!r}, but {found.model[:64]!r} in an earlier line"
        raise BadLineError("model_mismatch", problem, "body.model")


def _parsed(raw: bytes) -> dict[str, Any]:
    if len(raw.rstrip(b"\r\n")) > MAX_BODY_BYTES:
        raise BadLineError("line_too_long", f"a line has at most {MAX_BODY_BYTES:,} bytes")
    try:
        values = json.loads(raw)
        # Half of a character, escaped, is JSON but no text that could be written down.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadLineError("invalid_json_line", "the line is not JSON") from None
    if not isinstance(values, dict):
        raise BadLineError("invalid_json_line", "the line is no JSON object")
    return values
