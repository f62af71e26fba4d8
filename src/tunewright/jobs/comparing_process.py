"""One comparison in a process of its own: ``python -m tunewright.jobs.comparing_process``.

Its parent writes a key to its stdin and keeps that pipe open; when the pipe closes, it leaves. It
prints one line of JSON: ``{report}``, or ``{error, again}``. It gives way to everything else on the
machine, and is the first to go when memory runs out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunewright.config.export import ServedConfig
from tunewright.core.errors import EndpointError, TunewrightError
from tunewright.core.parents import leave_with_parent, read_secret
from tunewright.core.settings import answering_precision, set_process_defaults
from tunewright.core.store import Store

_LEAST_URGENT = 19
_FIRST_TO_GO = "1000"
_ADJUSTMENT = Path("/proc/self/oom_score_adj")


def main(given: list[str] | None = None) -> int:
    """The process."""
    set_process_defaults()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(given)
    key = read_secret()
    # Libraries that print must not write into the line that the parent reads.
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    leave_with_parent()
    _give_way()
    with parent:
        try:
            said: dict[str, Any] = {"report": _compare(arguments, key)}
        except TunewrightError as error:
            again = isinstance(error, EndpointError)
            said = {"error": f"{error.message} {error.hint}".strip(), "again": again}
        print(json.dumps(said), file=parent, flush=True)
    return 0


def _give_way() -> None:
    os.nice(_LEAST_URGENT)
    # Elsewhere than on Linux nobody asks.
    with suppress(OSError):
        _ADJUSTMENT.write_text(_FIRST_TO_GO, encoding="ascii")


def _compare(arguments: argparse.Namespace, key: str) -> dict[str, Any]:
    # Seconds of imports: only once its parent knows that it is there.
    import httpx
    import torch

    from tunewright.endpoints.address import Address
    from tunewright.export.served import compare_served
    from tunewright.model.loading import pick_device, pick_dtype

    # The engine waits while this computes, and the other way round: one core is enough.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    dtype = pick_dtype(answering_precision(), pick_device(arguments.device))
    config = ServedConfig.build(
        {
            "model": arguments.model,
            "endpoint": arguments.endpoint,
            "served_as": arguments.model,
            "device": arguments.device,
            "precision": "bfloat16" if dtype == torch.bfloat16 else "float32",
        }
    )
    url = httpx.URL(f"{arguments.endpoint}/chat/completions")
    return compare_served(config, Store(arguments.home), address=Address(url, key, loopback=True))


if __name__ == "__main__":
    sys.exit(main())
