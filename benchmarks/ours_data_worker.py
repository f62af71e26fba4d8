"""Tunewright's side of ``data_speed.py``: the plain mapping, or the whole gate.

Arguments: ``mapping`` source target, or ``gate`` source home.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from tunewright.config.data import PrepareConfig
from tunewright.core.events import ignore
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.data.checks.table import check_named
from tunewright.data.collect import collect
from tunewright.data.pipeline import run_checks
from tunewright.data.prepare import prepare, uncollected
from tunewright.model.catalog import resolve_base
from tunewright.model.rendering import Renderer


def mapping(source: str, target: str) -> int:
    """Read, map, leave out empty rows and exact duplicates, write."""
    config = PrepareConfig(files=(source,))
    renderer = Renderer(resolve_base("nano", Settings(home=Path(target).parent)).folder)
    with uncollected():
        return _mapped(config, renderer, target)


def _mapped(config: PrepareConfig, renderer: Renderer, target: str) -> int:
    collection = collect(config, ignore)
    run_checks(collection, config, renderer, checks=[check_named("duplicates")])
    with open(target, "wb") as file:
        file.writelines(draft.line() for draft in collection.train)
    return len(collection.train)


def gate(source: str, home: str) -> int:
    """Everything that ``tunewright prepare`` does."""
    store = Store(settings=Settings(home=Path(home) / str(time.time_ns()), offline=True))
    kept: int = prepare(PrepareConfig(files=(source,)), store).rows["kept"]
    store.close()
    return kept


def main() -> None:
    """Run once and report seconds, without the interpreter's start, and peak memory."""
    what, source, target = sys.argv[1:4]
    started = time.perf_counter()
    rows = {"mapping": mapping, "gate": gate}[what](source, target)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("METER " + json.dumps({"seconds": seconds, "peak": peak, "rows": rows}))


if __name__ == "__main__":
    main()
