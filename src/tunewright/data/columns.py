"""Which column is the question and which the answer: by usual names, by ``--map``, or refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import DataError
from tunewright.data.labels import Fact

FIELDS = ("question", "input", "title", "answer", "system", "best", "slice")

# Usual names of each field, the likeliest first. Compared without case, spaces, _ and -.
NAMES: dict[str, tuple[str, ...]] = {
    "question": (
        *("question", "query", "prompt", "instruction", "问题", "提问", "咨询内容", "咨询", "问句"),
        *("问", "用户问题", "问题内容", "questions", "ask", "user", "q"),
    ),
    "title": ("title", "标题", "主题", "问题标题", "subject"),
    "answer": (
        *("answer", "reply", "response", "output", "completion", "回答", "答复", "回复", "答案"),
        *("答", "回答内容", "回复内容", "标准答案", "answers", "assistant", "target", "a"),
    ),
    "system": ("system", "systemprompt", "系统", "系统提示", "系统提示词"),
    "best": ("isbest", "best", "最佳", "采纳", "是否最佳", "是否采纳", "最佳答案", "isaccepted"),
    "slice": ("kind", "slice", "category", "类别", "分类"),
    "input": ("input", "输入"),
}
# Names that mean the field only when its partner carries the other name.
_PAIRS: tuple[tuple[str, str], ...] = (("content", "summary"), ("input", "output"))

TRUE = frozenset({"1", "1.0", "true", "yes", "y", "t", "是", "对", "√", "best", "最佳", "采纳"})
FALSE = frozenset({"", "0", "0.0", "false", "no", "n", "f", "否", "不是", "×", "none", "null"})


@dataclass(frozen=True)
class ColumnMap:
    """Field → column, and why."""

    fields: dict[str, str]
    reason: tuple[Fact, ...]

    def get(self, field: str) -> str | None:
        """The column of a field, or None."""
        return self.fields.get(field)


def find_columns(
    file: str,
    columns: Iterable[str],
    wanted: Mapping[str, str],
    sample: Iterable[Mapping[str, Any]] = (),
) -> ColumnMap:
    """Map fields to a file's columns.

    Args:
        file: for messages.
        columns: the file's columns in order.
        wanted: the user's own ``field → column``, which wins.
        sample: records to suggest columns from when names say nothing.

    Raises:
        DataError: an unknown field or column, or no question or answer column; the message
            lists the columns and the ``--map`` that would help.
    """
    columns = list(columns)
    given = _given(file, columns, wanted)
    found = {**_by_pair(columns), **_by_name(columns)}
    if "question" not in {*found, *given} and "input" in found:
        found["question"] = found.pop("input")
    if "question" in found and "title" in given and "question" not in given:
        del found["question"]  # who asks for the title wants the title
    fields = {**found, **given}
    _release(fields, given)
    if not {"question", "title"} & set(fields) or "answer" not in fields:
        raise _not_found(file, columns, fields, list(sample))
    ordered = {field: fields[field] for field in FIELDS if field in fields}
    return ColumnMap(ordered, _reason(ordered, given))


def plain(name: str) -> str:
    """A column name for comparing: width, case, spaces, ``_`` and ``-`` do not matter."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character not in " \t_-.:：*")


def is_flag(values: Iterable[Any]) -> bool:
    """Whether values are yes/no marks, at least one of them yes."""
    marks = {mark(value) for value in values}
    return bool(marks & TRUE) and marks <= TRUE | FALSE


def mark(value: Any) -> str:
    """A cell as a yes/no mark or a value to compare: trimmed, without case."""
    return "" if value is None else str(value).strip().casefold()


def _given(file: str, columns: list[str], wanted: Mapping[str, str]) -> dict[str, str]:
    known = {plain(column): column for column in reversed(columns)}
    result = {}
    for field, column in wanted.items():
        if field not in FIELDS:
            raise DataError(
                f"--map {field}={column}: there is no field {field!r}",
                f"Fields: {', '.join(FIELDS)}.",
            )
        if column not in columns and plain(column) not in known:
            raise DataError(
                f"{file}: there is no column {column!r} (--map {field}={column})",
                f"Its columns: {', '.join(columns)}.",
            )
        result[field] = column if column in columns else known[plain(column)]
    return result


def _by_name(columns: list[str]) -> dict[str, str]:
    known = {plain(column): column for column in reversed(columns)}
    found = {}
    for field, names in NAMES.items():
        match = next((known[name] for name in names if name in known), None)
        if match is not None:
            found[field] = match
    return found


def _by_pair(columns: list[str]) -> dict[str, str]:
    known = {plain(column): column for column in reversed(columns)}
    for question, answer in _PAIRS:
        if question in known and answer in known:
            return {"question": known[question], "answer": known[answer]}
    return {}


def _release(fields: dict[str, str], given: dict[str, str]) -> None:
    """A column that the user gave to one field, or that serves two, is taken from the others."""
    taken = {column: field for field, column in given.items()}
    for field in FIELDS:
        column = fields.get(field)
        if column is None or field in given:
            continue
        if column in taken:
            del fields[field]
        else:
            taken[column] = field


def _reason(fields: dict[str, str], given: dict[str, str]) -> tuple[Fact, ...]:
    own = [f"{field}={column}" for field, column in given.items()]
    usual = [f"{field}={column}" for field, column in fields.items() if field not in given]
    facts: list[Fact] = []
    if own:
        facts.append({"kind": "mapped as asked", "pairs": ", ".join(own)})
    if usual:
        facts.append({"kind": "mapped by name", "pairs": ", ".join(usual)})
    return tuple(facts)


def _not_found(
    file: str, columns: list[str], fields: dict[str, str], sample: list[Mapping[str, Any]]
) -> DataError:
    has_question = "question" in fields or "title" in fields
    missing = [
        name
        for name, there in (("question", has_question), ("answer", "answer" in fields))
        if not there
    ]
    lengths = {c: _mean_length(c, sample) for c in columns if c not in fields.values()}
    free = sorted((c for c in lengths if lengths[c] > 0), key=lambda c: -lengths[c])
    # Of two text columns the one further left is more often the question.
    likely = sorted(free[: len(missing)], key=columns.index)
    if len(likely) == len(missing):
        guess = [f"--map {m}={_quoted(c)}" for m, c in zip(missing, likely, strict=True)]
        hint = f"If they are there, name them: {' '.join(guess)}"
    elif has_question or "answer" in fields:
        hint = f"No other column holds text that could be the {missing[0]}."
    else:
        hint = "Does the first row hold the column names?"
    return DataError(
        f"{file}: no column looks like the {' or the '.join(missing)}; "
        f"its columns are: {', '.join(column[:60] for column in columns[:40])}",
        hint,
    )


def _mean_length(column: str, sample: list[Mapping[str, Any]]) -> float:
    texts = [value for record in sample if isinstance(value := record.get(column), str)]
    if not texts:
        return 0.0
    wordy = [text for text in texts if not text.strip().replace(".", "", 1).isdigit()]
    return sum(len(text) for text in wordy) / len(sample)


def _quoted(column: str) -> str:
    return f"'{column}'" if not column.isidentifier() else column
