"""Whole columns become the rows that their records become one by one."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.data.convert import Converted, Converter
from tunewright.data.formats import make_plan
from tunewright.data.sources import opened

CELLS = (
    *("押金怎么退？", "可以要求返还。", "a" * 300, "Is 1 < 2?", "是"),
    *("", " ", "　\n", "\x07", "\ufeff", "带,逗号", '带"引号"', "两\n行", "回\r车", "都\r\n有\t"),
    *("é e\u0301", "①½℃", "😀𠮷", "\x7f删", "零\0宽\u200b", "_下划线_"),
)
Writing = Callable[[random.Random, list[tuple[str, str]]], bytes]


def _table(**how: str) -> Writing:
    def write(draw: random.Random, rows: list[tuple[str, str]]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=how.get("end", "\n"))
        writer.writerows([("question", "answer"), *rows])
        return text.getvalue().encode(how.get("encoding", "utf-8"), "ignore")

    return write


def _ragged(draw: random.Random, rows: list[tuple[str, str]]) -> bytes:
    """Rows with too many or too few fields, repeated headers, blank lines, mixed line ends."""
    lines = _table()(draw, rows).decode().split("\n")
    spoil = (
        *(lambda line: f"{line},", lambda line: f"{line},more", lambda line: "only one"),
        *(lambda line: "", lambda line: "question,answer", lambda line: f"{line}\r"),
    )
    made = [draw.choice(spoil)(x) if draw.random() < 0.1 and '"' not in x else x for x in lines[1:]]
    return "\n".join([lines[0], *made]).encode()


def _objects(draw: random.Random, rows: list[tuple[str, str]]) -> bytes:
    """One object on each line; some lack a field, hold something else, or are no JSON."""
    lines: list[str] = []
    for question, answer in rows:
        row: dict[str, object] = {"question": question, "answer": answer, "id": len(lines)}
        if draw.random() < 0.1:
            row[draw.choice(["question", "answer"])] = draw.choice([None, 7, 1.5, True, ["x"]])
        if draw.random() < 0.05:
            del row[draw.choice(["question", "answer"])]
        lines.append("{oops" if draw.random() < 0.03 else json.dumps(row, ensure_ascii=False))
    return "\n".join(lines).encode()


KINDS: dict[str, Writing] = {
    "plain.csv": _table(),
    "bom.csv": _table(encoding="utf-8-sig", end="\r\n"),
    "gb.csv": _table(encoding="gb18030"),
    "ragged.csv": _ragged,
    "objects.jsonl": _objects,
}


def _read(path: Path, general: bool, size: int, system: str | None = None) -> Converted:
    config = PrepareConfig(files=(str(path),), system=system)
    result = Converted()
    with opened(config.files, config) as sources:
        plan = make_plan(sources[0], config)
        assert plan.pair == ("question", "answer")
        converter = Converter(sources[0], replace(plan, pair=None) if general else plan, config)
        records = list(sources[0].read())
    for first in range(0, len(records), size):
        converted = converter.convert(records[first : first + size])
        result.drafts += converted.drafts
        result.dropped += converted.dropped
    assert len(records) == len(result.drafts) + len(result.dropped)
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_columns_become_the_rows_that_records_become(tmp_path: Path, kind: str, seed: int) -> None:
    draw = random.Random(seed)
    rows = [("押金怎么退？", "可以要求返还。")]
    rows += [(draw.choice(CELLS), draw.choice(CELLS)) for _ in range(300)]
    path = tmp_path / kind
    path.write_bytes(KINDS[kind](draw, rows))
    one_by_one = _read(path, general=True, size=100)
    assert one_by_one.drafts
    assert one_by_one.dropped
    assert _read(path, general=False, size=3) == one_by_one
    assert _read(path, general=False, size=100) == one_by_one


def test_a_system_message_stands_before_both(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\n押金怎么退？,可以。\n工资呢？,照付。\n", encoding="utf-8")
    fast = _read(path, general=False, size=10, system="你是律师。")
    assert fast == _read(path, general=True, size=10, system="你是律师。")
    assert [turn.role for turn in fast.drafts[0].turns] == ["system", "user", "assistant"]
