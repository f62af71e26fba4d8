"""Small things that the makers share."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path


def sampled(total: int, limit: int | None, chance: random.Random) -> Sequence[int]:
    """All places from 0 to ``total``, or ``limit`` of them drawn without repeats, in order."""
    if limit is None or limit >= total:
        return range(total)
    return sorted(chance.sample(range(total), limit))


def output_name(source: str, kind: str) -> str:
    """The output's name beside where the command runs, e.g. ``handbook-questions.jsonl``."""
    stem = re.sub(r"[^\w.-]+", "-", Path(source).stem).strip("-.") if source else ""
    return f"{stem}-{kind}.jsonl" if stem else f"{kind}.jsonl"
