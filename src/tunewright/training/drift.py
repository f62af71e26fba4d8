"""What changed between the beginning of a run and now, told in full. Loads no torch.

A run may only go on with what it began with, or its losses would mean nothing. Digests decide;
this module says where they differ: which option, which rows. For the rows, a run keeps eight
bytes per row of its dataset.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.config.training import WATCHING, TrainConfig
from tunewright.core.errors import TrainingError
from tunewright.core.files import digest, write_bytes_atomic
from tunewright.core.nested import flat
from tunewright.training.options import usual

SPLITS = ("train", "dev")
_NAMES = {
    "config": "the recipe",
    "data": "the dataset's rows",
    "base": "the base model",
    "renderer": "the tokenizer or chat template",
}
_FOUND = ("optimizer.learning_rate", "optimizer.multiplier")
"""What a run with ``optimizer.auto`` finds out itself, once, and keeps in a file of its own."""
_MOST = 5  # new rows that are named


@dataclass(frozen=True)
class Now:
    """What a run would go on with.

    Attributes:
        identity: digests by name, see ``_NAMES``.
        config: the recipe.
        rows: the dataset's folder.
    """

    identity: Mapping[str, str]
    config: TrainConfig
    rows: Path


def config_digest(config: TrainConfig) -> str:
    """Changes with every option that changes what is learnt.

    The names of dataset and base are left out: the same ones have several, and their own digests
    count. Options at their defaults are left out as well, so that a version with more of them goes
    on with the runs of the one before.
    """
    return digest(learnt_by(config))


def learnt_by(config: TrainConfig) -> dict[str, Any]:
    """The options that change what is learnt and are not at their defaults, by dotted name."""
    known, default = flat(config.json_dict()), usual()
    left_out = {"dataset", "base", "suffix", *WATCHING, *(_FOUND if config.optimizer.auto else ())}
    return {
        name: value
        for name, value in known.items()
        if name not in left_out and (name not in default or default[name] != value)
    }


def keep_rows(dataset_folder: Path, run_folder: Path) -> None:
    """Note what the rows are, when a run begins.

    Raises:
        StorageError: when the disk refuses.
    """
    for split in SPLITS:
        write_bytes_atomic(_kept(run_folder, split), _hashes(dataset_folder, split).tobytes())


def refuse_drift(run_folder: Path, now: Now, saved: Mapping[str, str] | None) -> None:
    """Refuse to go on with anything else than what the run began with.

    Args:
        run_folder: the run's folder.
        now: what it would go on with.
        saved: digests that the checkpoint bears, if there is one.

    Raises:
        TrainingError: naming each thing that changed, from what to what.
    """
    began = json.loads((run_folder / "config.json").read_bytes())
    for identity in (began["identity"], saved or began["identity"]):
        changed = [key for key in _NAMES if identity.get(key) != now.identity[key]]
        if changed:
            lines = [line for key in changed for line in _explain(key, began, identity, now)]
            what = " and ".join(_NAMES[key] for key in changed)
            raise TrainingError(
                "\n  ".join((f"run {run_folder.name} cannot go on: {what} changed since it began",
                             *lines, *_rows_told(run_folder, now, changed))),
                "Put it back, or start a new run with tunewright train.",
            )  # fmt: skip


def _explain(
    key: str, began: Mapping[str, Any], identity: Mapping[str, str], now: Now
) -> Iterator[str]:
    if key == "config":
        yield from config_changes(began, now.config)
    elif key != "data":
        yield f"{_NAMES[key]}: {str(identity.get(key))[:12]} → {now.identity[key][:12]}"


def config_changes(began: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """``["seed: 5 → 6", …]``: the options that a run began with and what they are now."""
    recipe = {key: value for key, value in began.items() if key != "identity"}
    before, after = flat(recipe), flat(config.json_dict())
    left_out = {*WATCHING, *(_FOUND if config.optimizer.auto else ())}
    names = sorted(name for name in before.keys() | after.keys() if name not in left_out)
    absent = object()
    default = usual()
    return [
        f"{name}: {_shown(old)} → {_shown(new)}"
        for name in names
        if (old := before.get(name, default.get(name, absent)))
        != (new := after.get(name, default.get(name, absent)))
    ]


def _rows_told(run_folder: Path, now: Now, changed: list[str]) -> list[str]:
    if "data" not in changed:
        return []
    lines = [line for split in SPLITS for line in _split_changes(run_folder, now.rows, split)]
    # The same rows may still be rendered otherwise.
    return lines or ["the rows are the same, but become other tokens"]


def _split_changes(run_folder: Path, dataset_folder: Path, split: str) -> list[str]:
    path = _kept(run_folder, split)
    if not path.exists():
        return []
    before = array("Q")
    before.frombytes(path.read_bytes())
    after = _hashes(dataset_folder, split)
    if before == after:
        return []
    gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    counts = f"{split}.jsonl: {len(before):,} → {len(after):,} rows"
    if not gone and not new:
        return [f"{counts}, the same ones in another order"]
    line = f"{counts}, {gone.total():,} gone, {new.total():,} new"
    places = list(_places(dataset_folder, split, new))
    return [f"{line}: {', '.join(places)}" if places else line]


def _places(dataset_folder: Path, split: str, new: Counter[int]) -> Iterator[str]:
    """Where the first new rows come from."""
    left = _MOST
    for number, line in enumerate(_lines(dataset_folder, split), start=1):
        if left and new[_hash(line)]:
            left -= 1
            yield _place(line, f"line {number}")
    if new.total() > _MOST:
        yield "…"


def _place(line: bytes, otherwise: str) -> str:
    try:
        source = json.loads(line)["source"]
        return f"{source['file']} row {source['row']}"
    except (ValueError, KeyError, TypeError):
        return otherwise


def _hashes(dataset_folder: Path, split: str) -> array[int]:
    return array("Q", map(_hash, _lines(dataset_folder, split)))


def _hash(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line.strip(), digest_size=8).digest(), "little")


def _lines(dataset_folder: Path, split: str) -> Iterator[bytes]:
    path = dataset_folder / f"{split}.jsonl"
    if path.exists():
        with open(path, "rb") as file:
            yield from file


def _kept(run_folder: Path, split: str) -> Path:
    return run_folder / f"{split}.rows"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value is not None else "not set"
