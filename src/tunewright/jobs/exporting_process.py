"""One export in a process of its own: ``python -m tunewright.jobs.exporting_process``.

When the pipe to its stdin closes, it leaves. It prints one line of JSON: ``{}`` once the export's
record says how it went, or ``{error}``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tunewright.config.export import ExportConfig
from tunewright.core.errors import NotFoundError, TunewrightError
from tunewright.core.parents import leave_with_parent, read_secret
from tunewright.core.records import Export
from tunewright.core.settings import set_process_defaults
from tunewright.core.store import Lease, Store

_LESS_URGENT = 5


def main(given: list[str] | None = None) -> int:
    """The process."""
    set_process_defaults()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--export", required=True)
    parser.add_argument("--token", type=int, required=True)
    arguments = parser.parse_args(given)
    read_secret()
    # Libraries that print must not write into the line that the parent reads.
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    leave_with_parent()
    os.nice(_LESS_URGENT)
    said: dict[str, Any] = {}
    with parent:
        try:
            _make(arguments)
        except TunewrightError as error:
            said = {"error": f"{error.message} {error.hint}".strip()}
        print(json.dumps(said), file=parent, flush=True)
    return 0


def _make(arguments: argparse.Namespace) -> None:
    # Seconds of imports: only once its parent knows that it is there.
    from tunewright.export.export import export

    store = Store(arguments.home, fence=Lease(arguments.export, arguments.token))
    record = store.by_id(Export, arguments.export)
    if record is None:
        raise NotFoundError(f"no export {arguments.export!r} in {arguments.home}")
    export(ExportConfig.build(record.settings), store, record_id=record.id)


if __name__ == "__main__":
    sys.exit(main())
