"""Preparing a malformed file, and judging what became of it."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.malformed.classes import Malformed
from tools.malformed.making import CLASSES, ORDERS
from tools.malformed.outcomes import SECONDS, Outcome, Peaks
from tunewright.config.data import PrepareConfig
from tunewright.core.errors import TunewrightError
from tunewright.core.records import Dataset
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.data.prepare import prepare


def try_all(root: Path) -> tuple[list[Outcome], Peaks]:
    """Prepare everything that ``make_all`` made; memory is counted beyond what good files take."""
    store = Store(root / "home", Settings(home=root / "home", offline=True))
    try:
        for path in sorted(root.glob("good.*")):
            _prepare(path, store, {})
        before = _peaks()
        orders = json.loads((root / ORDERS).read_text(encoding="utf-8"))
        outcomes = [attempt(order, store) for order in orders]
        after = _peaks()
    finally:
        store.close()
    return outcomes, Peaks(after.own - before.own, after.child - before.child)


def _prepare(path: Path | str, store: Store, options: dict[str, object]) -> Dataset:
    values = {"files": [str(path)], "base": "nano", **options}
    return prepare(PrepareConfig.build(values), store)


def attempt(order: Mapping[str, Any], store: Store) -> Outcome:
    """Prepare one malformed file."""
    one = next(one for one in CLASSES if one.name == order["name"])
    name = order["made"]
    before = fingerprint(store.home)
    started = _spent()
    kept, message, wrong = False, "", ""
    try:
        dataset = _prepare(f"{order['folder']}/{name}", store, dict(one.options or {}))
    except TunewrightError as error:
        message = str(error)
        wrong = _misjudged(one, message, name) or _changed(before, store)
    except BaseException as error:  # whatever else it is, it is what this looks for
        if isinstance(error, KeyboardInterrupt):
            raise
        wrong = f"{type(error).__name__}: {error}"
    else:
        kept = True
        wrong = _unaccounted(dataset)
        if one.expected == "refused":
            wrong = "rows were kept"
    seconds = _spent() - started
    if not wrong and seconds > SECONDS:
        wrong = f"took {seconds:.1f} s"
    return Outcome(one.name, order["seed"], kept, seconds, message, wrong)


def _misjudged(one: Malformed, message: str, name: str) -> str:
    if one.expected == "kept":
        return f"refused: {message}"
    said = name.rpartition("/")[2]
    if said and said not in message:
        return f"does not name the file: {message}"
    if one.place and not re.search(rf"\b({one.place}) \d", message):
        return f"does not name the {one.place}: {message}"
    return ""


def _changed(before: str, store: Store) -> str:
    return "" if fingerprint(store.home) == before else "the store changed"


def _unaccounted(dataset: Dataset) -> str:
    rows = dataset.rows
    dropped = sum(rows["dropped"].values())
    if rows["read"] != rows["kept"] + rows.get("merged", 0) + dropped:
        return f"rows are unaccounted for: {rows}"
    if rows["kept"] != sum(dataset.splits.values()):
        return f"splits do not sum up: {rows}, {dataset.splits}"
    return ""


def fingerprint(folder: Path) -> str:
    """SHA-256 over every file below a folder, names and bytes."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _spent() -> float:
    """Processor seconds of this process and of those that it waited for; idle time is no work."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _peaks() -> Peaks:
    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (
        resource.getrusage(who).ru_maxrss * unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return Peaks(own, child)
