"""The matrix of methods and tuners, on a file of four rows."""

from __future__ import annotations

import json
from pathlib import Path

from tools.matrix import PASSES, Cell, Source, beginning, column, table


def test_a_column_trains_or_says_why_not(tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"第{n}条？"},
                      {"role": "assistant", "content": f"是第{n}条。"}]}
        for n in range(9)
    ]  # fmt: skip
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    source = Source("sft", "rows.jsonl", 6)
    trained, frozen = column(source, tmp_path, ["lora", "freeze"])
    assert trained.steps == frozen.steps == PASSES
    assert 0 < trained.last < trained.first
    (refused,) = column(Source("dpo", "rows.jsonl", 6), tmp_path, ["lora"])
    assert "conversations" in refused.shown
    shown = table({"one": [trained], "other": [refused]})
    assert shown.splitlines()[0] == "| tuner | one | other |"
    assert trained.shown in shown


def test_the_beginning_of_a_file_is_taken_and_a_rise_is_marked(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "rows.json").write_text(json.dumps(list(range(9))), encoding="utf-8")
    copy = beginning(Source("sft", "rows.json", 4), tmp_path, tmp_path / "here")
    assert json.loads(copy.read_text(encoding="utf-8")) == [0, 1, 2, 3]
    assert Cell("lora", 2.0, 1.0, 3, 1.4).shown == "2.000 → 1.000 (-50 %, 1 s)"
    assert Cell("lora", 1.0, 1.5, 3, 2.0).shown.endswith("**rose**")
