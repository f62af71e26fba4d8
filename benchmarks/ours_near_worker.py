"""Tunewright's side of ``near_duplicates.py``. Arguments: file of texts, planted texts."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from tunewright.data.checks.clusters import clusters
from tunewright.data.keys import near_keys


def main() -> None:
    """Cluster the texts once and report seconds, peak memory and the share found."""
    texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    planted = int(sys.argv[2])
    started = time.perf_counter()
    keys = pl.Series(near_keys(texts), dtype=pl.String)
    first = clusters(keys, 0.8).first
    seconds = time.perf_counter() - started
    found = int((np.bincount(first)[first] > 1)[-planted:].sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("METER " + json.dumps({"seconds": seconds, "peak": peak, "found": found / planted}))


if __name__ == "__main__":
    main()
