"""General rows mixed into training, so that a small expert set does not wipe out the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from importlib import resources

from tunewright.core.errors import ModelError
from tunewright.core.files import digest
from tunewright.data.checks import turns_group
from tunewright.data.records import Draft, Turn

_FILE = "general.jsonl"


def bundled_general() -> list[Draft]:
    """The general rows that come with the bundled base.

    Raises:
        ModelError: this installation holds none.
    """
    file = resources.files("tunewright") / "bases" / "nano" / _FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"general rows cannot be mixed in: {_FILE} is missing from the bundled base",
            "Install Tunewright again, or prepare with general=0.",
        ) from None
    return list(_drafts(lines))


def sample_general(
    pool: list[Draft],
    wanted: int,
    seed: int,
    held: frozenset[str],
    fits: Callable[[list[Draft]], list[bool]],
) -> list[Draft]:
    """``wanted`` rows of the pool, or as many as there are, in the pool's order.

    Args:
        pool: candidates.
        wanted: how many.
        seed: of the draw; more rows of the same seed contain fewer rows of it.
        held: groups that must not be trained on.
        fits: whether rows fit the base's context.
    """
    rest = [draft for draft in pool if draft.group not in held]
    random.Random(digest([seed, "general"])).shuffle(rest)
    drawn: list[Draft] = []
    while rest and len(drawn) < wanted:
        batch, rest = rest[: wanted - len(drawn)], rest[wanted - len(drawn) :]
        drawn += [draft for draft, ok in zip(batch, fits(batch), strict=True) if ok]
    return sorted(drawn, key=lambda draft: draft.number)


def _drafts(lines: list[str]) -> Iterator[Draft]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value = json.loads(line)
        turns = tuple(Turn(m["role"], m["content"]) for m in value["messages"])
        yield Draft(turns, _FILE, number, turns_group(turns), value.get("kind"), "general")
