"""Making malformed files, without anything that reads them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tools.malformed.binaries import BINARIES
from tools.malformed.classes import Malformed, csv_text, pairs
from tools.malformed.containers import parquet, workbook
from tools.malformed.texts import TEXTS

CLASSES: tuple[Malformed, ...] = (*TEXTS, *BINARIES)
ORDERS = "orders.json"
"""Name of the file that lists what was made."""


def make_all(root: Path, names: Iterable[str], seeds: Iterable[int]) -> None:
    """Make a file of every class for every seed, each in a folder of its own, and good ones.

    This is a task of its own, for some of them take more memory to make than to refuse.
    """
    orders: list[dict[str, object]] = []
    seeds = list(seeds)
    for one in (one for one in CLASSES if one.name in set(names)):
        for seed in seeds:
            folder = root / str(len(orders))
            folder.mkdir()
            made = one.make(folder, Random(zlib.crc32(one.name.encode()) + seed))
            orders.append({"name": one.name, "seed": seed, "folder": str(folder), "made": made})
    (root / ORDERS).write_text(json.dumps(orders), encoding="utf-8")
    rows = pairs(Random(0))
    (root / "good.csv").write_text(csv_text(rows), encoding="utf-8")
    (root / "good.parquet").write_bytes(parquet(rows))
    table = [["question", "answer"], *(list(row.values()) for row in rows)]
    (root / "good.xlsx").write_bytes(workbook({"s": table}))
