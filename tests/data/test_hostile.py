"""Every class of malformed file ends well: rows accounted for, or one clear refusal."""

from __future__ import annotations

import pytest
from tools.malformed.__main__ import run_apart
from tools.malformed.making import CLASSES
from tools.malformed.outcomes import MEMORY

NAMES = [one.name for one in CLASSES]
BATCHES = [NAMES[start::4] for start in range(4)]


def test_there_are_forty_classes_and_more() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 4), marks=pytest.mark.slow)])
@pytest.mark.parametrize("names", BATCHES, ids=lambda names: f"{len(names)} classes")
def test_malformed_files_are_refused_clearly_or_read_completely(
    names: list[str], seeds: range
) -> None:
    outcomes, peaks = run_apart(names, seeds)
    assert [f"{o.name}, seed {o.seed}: {o.wrong}" for o in outcomes if o.wrong] == []
    assert len(outcomes) == len(names) * len(seeds)
    assert peaks.own < MEMORY, f"{peaks.own >> 20} MiB here"
    assert peaks.child < MEMORY, f"{peaks.child >> 20} MiB in a child"
