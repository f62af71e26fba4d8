"""The plain mapping CSV → chat JSONL with one library; runs in a peer's Python.

Arguments: library (``datasets``, ``pandas``, ``polars`` or ``csv``), source CSV, target JSONL.
Each reads the table, makes ``{"messages": […]}``, leaves out empty rows and exact duplicates, and
writes one JSON object per line, in the way its own documentation shows.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable


def messages(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    """One row in chat form."""
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def by_csv(source: str, target: str) -> None:
    """Python's own csv and json."""
    seen = set()
    with (
        open(source, encoding="utf-8", newline="") as table,
        open(target, "w", encoding="utf-8") as out,
    ):
        for row in csv.DictReader(table):
            pair = (row["question"].strip(), row["answer"].strip())
            if all(pair) and pair not in seen:
                seen.add(pair)
                out.write(json.dumps(messages(*pair), ensure_ascii=False) + "\n")


def by_pandas(source: str, target: str) -> None:
    """A data frame, then one dictionary per row."""
    import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]

    frame = pandas.read_csv(source, dtype=str, keep_default_na=False)
    frame["question"], frame["answer"] = frame.question.str.strip(), frame.answer.str.strip()
    frame = frame[(frame.question != "") & (frame.answer != "")]
    frame = frame.drop_duplicates(["question", "answer"])
    frame["messages"] = [
        messages(question, answer)["messages"]
        for question, answer in zip(frame.question, frame.answer, strict=True)
    ]
    frame[["messages"]].to_json(target, orient="records", lines=True, force_ascii=False)


def by_polars(source: str, target: str) -> None:
    """Expressions from end to end."""
    import polars as pl

    frame = pl.read_csv(source, infer_schema=False)
    frame = frame.with_columns(pl.col("question", "answer").str.strip_chars())
    frame = frame.filter((pl.col("question") != "") & (pl.col("answer") != ""))
    frame = frame.unique(["question", "answer"], keep="first", maintain_order=True)
    turns = [
        pl.struct(pl.lit(role).alias("role"), pl.col(column).alias("content"))
        for role, column in (("user", "question"), ("assistant", "answer"))
    ]
    frame.select(pl.concat_list(turns).alias("messages")).write_ndjson(target)


def by_datasets(source: str, target: str) -> None:
    """load_dataset, map, filter; duplicates by a set of seen rows, as users write it."""
    import datasets  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with tempfile.TemporaryDirectory() as cache:
        rows = datasets.load_dataset("csv", data_files=source, split="train", cache_dir=cache)
        seen: set[tuple[str, str]] = set()

        def fresh(row: dict[str, str | None]) -> bool:
            pair = ((row["question"] or "").strip(), (row["answer"] or "").strip())
            if not all(pair) or pair in seen:
                return False
            seen.add(pair)
            return True

        rows = rows.filter(fresh, load_from_cache_file=False)
        rows = rows.map(
            lambda row: messages(row["question"].strip(), row["answer"].strip()),
            remove_columns=rows.column_names,
            load_from_cache_file=False,
        )
        rows.to_json(target, force_ascii=False)


LIBRARIES: dict[str, Callable[[str, str], None]] = {
    "csv": by_csv,
    "pandas": by_pandas,
    "polars": by_polars,
    "datasets": by_datasets,
}


def main() -> None:
    """Map once and report seconds, without the interpreter's start, and peak memory."""
    library, source, target = sys.argv[1:4]
    os.environ["HF_HUB_OFFLINE"] = "1"
    if library not in ("csv",):
        __import__(library)  # imports are not what is measured here
    started = time.perf_counter()
    LIBRARIES[library](source, target)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open(target, "rb") as file:
        rows = sum(1 for _ in file)
    print("METER " + json.dumps({"seconds": seconds, "peak": peak, "rows": rows}))


if __name__ == "__main__":
    main()
