"""The rows of an eval's run: items, some with their answers; and what models are asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs

from tunewright.config.grading import JudgeMessage
from tunewright.core.asked_records import EvalRun
from tunewright.core.errors import InputError
from tunewright.core.store import Store
from tunewright.deployment.bodies import MAX_BODY_BYTES
from tunewright.grading.results import Case, NoGrade
from tunewright.grading.templates import template

MOST_ROWS = 50_000
_ROLES = ("system", "developer", "user", "assistant")
_SAMPLING = ("temperature", "top_p", "seed", "max_completion_tokens", "response_format", "tools")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        number: its place, from 0 on.
        item: its fields.
        sample: the answer that it holds, in OpenAI's shape; None where there is none.
    """

    number: int
    item: dict[str, Any]
    sample: dict[str, Any] | None

    @property
    def answer(self) -> str:
        """The text of the answer that it holds."""
        return str((self.sample or {}).get("output_text") or "")


def rows_path(store: Store, run: EvalRun) -> Path:
    """Where a run's rows are."""
    return store.folder(EvalRun, run.id) / "items.jsonl"


def write_rows(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``{item, sample}`` objects into a run's folder."""
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def check_rows(path: Path, schema: Any) -> int:
    """Look at every row.

    Args:
        path: of the rows.
        schema: that items must fit, or None.

    Returns:
        How many there are.

    Raises:
        InputError: naming the row that is wrong, or saying that there is none.
    """
    fits = None if schema is None else item_validator(schema)
    total = 0
    for row in read_rows(path):
        total += 1
        if total > MOST_ROWS:
            raise InputError(f"a run has at most {MOST_ROWS:,} rows")
        problem = None if fits is None else next(iter(fits.iter_errors(row.item)), None)
        if problem is not None:
            raise InputError(f"row {row.number}: the item does not fit: {problem.message[:300]}")
    if not total:
        raise InputError("there is no row to test")
    return total


def item_validator(schema: Any) -> Any:
    """What tells whether items fit a schema.

    Raises:
        InputError: it is no JSON schema, or refers to another document.
    """
    try:
        patterns = jsonschema_rs.RegexOptions()
        return jsonschema_rs.validator_for(schema, pattern_options=patterns, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise InputError(f"item_schema is no schema that can be used: {what}") from None


def read_rows(path: Path, done: Collection[int] = ()) -> Iterator[Row]:
    """The rows in order, less those that are ``done``.

    Raises:
        InputError: naming the row that is none.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_BODY_BYTES + 1):
            if len(raw) > MAX_BODY_BYTES:
                raise InputError(f"row {number}: a row has at most {MAX_BODY_BYTES:,} bytes")
            if not raw.strip():
                continue
            if number not in done:
                yield _row(number, raw)
            number += 1


def _row(number: int, raw: bytes) -> Row:
    try:
        values = json.loads(raw)
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InputError(f"row {number} is not JSON") from None
    item = values.get("item") if isinstance(values, dict) else None
    sample = values.get("sample") if isinstance(values, dict) else None
    if not isinstance(item, dict) or not (sample is None or isinstance(sample, dict)):
        raise InputError(f'row {number} must be {{"item": {{…}}}}, with a "sample" object at most')
    return Row(number, item, sample)


# What a model is asked -------------------------------------------------------------------------


def request(run: EvalRun, row: Row) -> dict[str, Any]:
    """The body of the chat request for a row.

    Raises:
        InputError: a blank or reference that the row cannot fill.
    """
    sampling = run.source.get("sampling_params") or {}
    drawn = {key: sampling[key] for key in _SAMPLING if sampling.get(key) is not None}
    return {"model": run.model, "messages": _messages(run.source, row), **drawn}


def _messages(source: Mapping[str, Any], row: Row) -> list[dict[str, str]]:
    given = source.get("input_messages") or {
        "type": "item_reference",
        "item_reference": "item.input",
    }
    if given["type"] == "item_reference":
        return _referred(given["item_reference"], row)
    case = Case(row.answer, row.item)
    try:
        return [
            {"role": one.role, "content": template(one.content).fill(case)}
            for one in template_messages(given["template"])
        ]
    except NoGrade:
        raise InputError(
            f"row {row.number}: the template names a field that the item does not have"
        ) from None


def template_messages(messages: Sequence[Any]) -> list[JudgeMessage]:
    """Messages with blanks.

    Raises:
        ValueError: one is no message of texts.
    """
    return [JudgeMessage.model_validate(one) for one in messages]


def _referred(path: str, row: Row) -> list[dict[str, str]]:
    value: Any = {"item": row.item}
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, list) or not value or not all(map(_is_message, value)):
        raise InputError(f"row {row.number}: {path} is no list of messages")
    return [{"role": one["role"], "content": one["content"]} for one in value]


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in _ROLES
        and isinstance(value.get("content"), str)
    )
