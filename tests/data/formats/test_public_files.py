"""Public training files load with no option; needs a folder of them, which is not bundled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import DataError
from tunewright.data.collect import collect

VARIABLE = "TUNEWRIGHT_PUBLIC_DATA"
FILES = [
    ("legal_qa_gb18030.csv", "columns", "conversation", 2425, 2073),
    ("legal_counsel.jsonl", "query", "conversation", 1000, 1000),
    ("alpaca_zh_demo.json", "alpaca", "conversation", 1000, 1000),
    ("identity.json", "alpaca", "conversation", 91, 91),
    ("dpo_zh_demo.json", "preference", "preference", 300, 300),
    ("kto_en_demo.json", "rating", "rating", 300, 300),
    ("glaive_toolcall_zh_demo.json", "sharegpt", "conversation", 300, 298),
    ("advertisegen_dev.jsonl", "summary", "conversation", 1070, 1070),
    ("advertisegen_conversations.jsonl", "conversations", "conversation", 1070, 1070),
]
"""Name, format, kind, rows read, rows that can be used before any check."""


def public(name: str) -> str:
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder of public data files")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return str(path)


@pytest.mark.parametrize(("name", "form", "kind", "read", "usable"), FILES)
def test_a_public_file_loads_with_no_option(
    name: str, form: str, kind: str, read: int, usable: int
) -> None:
    rows = collect(PrepareConfig.build({"files": [public(name)]}), lambda event: None)
    file = rows.files[0]
    assert (file.format, file.content, rows.read, len(rows.train)) == (form, kind, read, usable)
    assert rows.read == len(rows.train) + len(rows.dropped) + rows.merged
    for draft in rows.train[:50]:
        draft.row().model_validate(draft.row().model_dump())


def test_questions_without_answers_are_refused_with_the_mapping_that_would_help() -> None:
    config = PrepareConfig.build({"files": [public("statute_queries.jsonl")]})
    with pytest.raises(DataError, match="its columns are: query_id, query, articles") as error:
        collect(config, lambda event: None)
    assert "--map question=query --map answer=COLUMN" in error.value.hint
