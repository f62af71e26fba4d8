"""Rows of other sets mixed into training, so that a small expert set does not wipe out the rest.

A share is one of all training rows, the mixed ones included: ``general=10%`` of 90 own rows
adds 10. A plain number is a number of rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from importlib import resources

from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError, DataError, ModelError
from tunewright.core.files import digest
from tunewright.core.messages import Row
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.data.normal import turns_group
from tunewright.data.records import Draft, Turn

_FILE = "general.jsonl"
BUNDLED = "general"


def wanted_rows(mix: Mapping[str, str], own: int) -> dict[str, int]:
    """Set → how many of its rows to mix in beside ``own`` rows.

    Raises:
        ConfigError: a value that is neither a percentage nor a number, or shares that leave
            no room for the own rows.
    """
    shares: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, text in mix.items():
        try:
            if text.strip().endswith("%"):
                shares[name] = float(text.strip()[:-1]) / 100
            else:
                counts[name] = int(text)
        except ValueError:
            raise _not_a_share(name, text) from None
        if shares.get(name, 0) < 0 or counts.get(name, 0) < 0:
            raise _not_a_share(name, text)
    rest = 1 - sum(shares.values())
    if rest < 0.01:
        raise ConfigError(
            f"option 'mix': the shares make {100 - 100 * rest:.0f} % of all training rows",
            "Leave room for your own rows: at most 99 % together.",
        )
    # Counted rows are no one's share: percentages are of own rows and shared ones together.
    return {**{name: round(share * own / rest) for name, share in shares.items()}, **counts}


def _not_a_share(name: str, text: str) -> ConfigError:
    return ConfigError(
        f"option 'mix': {name}={text!r} is neither a share nor a number of rows",
        "Examples: --mix general=10%  --mix general=200  --mix my-dataset=25%",
    )


def pool(name: str, store: Store) -> list[Draft]:
    """The rows of a set: ``general`` is the bundled one, other names are datasets of the store.

    Raises:
        ModelError: this installation holds no general rows.
        StorageError: there is no such dataset.
        DataError: the dataset holds no conversations.
    """
    if name == BUNDLED:
        return bundled_general()
    dataset = store.get(Dataset, name)
    if dataset.content != "conversation":
        raise DataError(
            f"dataset {dataset.name}: {dataset.content} rows cannot be mixed into training",
            "Only conversations can.",
        )
    rows = read_rows(store.folder(Dataset, dataset.id), "train")
    return [_draft(row, dataset.name) for row in rows]


def _draft(row: Row, file: str) -> Draft:
    messages = row.conversation.messages
    turns = tuple(
        Turn(m.role, m.content, m.weight, m.tool_calls, m.tool_call_id, m.name) for m in messages
    )
    draft = Draft(turns, f"{file}/{row.source.file}", row.source.row, turns_group(turns))
    draft.slice, draft.origin, draft.tools = row.slice, "general", row.conversation.tools
    return draft


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
            "Install Tunewright again, or prepare without --mix general.",
        ) from None
    return list(_drafts(lines))


def draw(
    rows: list[Draft],
    wanted: int,
    seed: int,
    held: frozenset[str],
    fits: Callable[[list[Draft]], list[bool]],
) -> list[Draft]:
    """``wanted`` rows of the pool, or as many as there are, in the pool's order.

    Args:
        rows: candidates.
        wanted: how many.
        seed: of the draw; more rows of the same seed contain fewer rows of it.
        held: groups that must not be trained on.
        fits: whether rows fit the base's context.
    """
    rest = [draft for draft in rows if draft.group not in held]
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
