"""What a class of malformed file is, and the good rows that most of them are made from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

Expected = Literal["kept", "refused", "either"]


@dataclass(frozen=True)
class Malformed:
    """One class of malformed file.

    Attributes:
        name: what is wrong.
        make: writes files into a folder, at random; gives the name of what is to be prepared.
        expected: whether rows are kept, the file refused, or both may be.
        place: pattern of the place that a refusal names, where there is one.
        options: options of ``prepare`` besides its files.
    """

    name: str
    make: Callable[[Path, Random], str]
    expected: Expected
    place: str = ""
    options: Mapping[str, Any] | None = None


_THINGS = (
    "押金",
    "工资",
    "合同",
    "年假",
    "社保",
    "工伤",
    "加班",
    "试用期",
    "房租",
    "遗产",
    "货款",
    "定金",
)
_ASKS = ("怎么算", "什么时候给", "可以不给吗", "归谁", "要交税吗", "丢了怎么办", "能退吗")


def pairs(rng: Random, count: int = 40) -> list[dict[str, Any]]:
    """Good rows of question and answer, no two alike."""
    asked = rng.sample([(a, b) for a in _THINGS for b in _ASKS], count)
    return [
        {
            "question": f"{thing}{ask}？",
            "answer": f"{thing}的事要看约定；没有约定的，{rng.randrange(3, 90)} 天内申请。",
        }
        for thing, ask in asked
    ]


def talks(rng: Random) -> list[dict[str, Any]]:
    """The same as conversations in OpenAI's notation."""
    return [
        {
            "messages": [
                {"role": "user", "content": row["question"]},
                {"role": "assistant", "content": row["answer"]},
            ]
        }
        for row in pairs(rng)
    ]


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a table."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["question", "answer"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as lines of JSON."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
