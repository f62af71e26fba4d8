"""The hand-written sentences of every situation, read from `data/*.yaml`."""

from dataclasses import dataclass
from pathlib import Path

import yaml

DATA = Path(__file__).parent / "data"
TOPICS = ("work", "housing", "consumer", "money", "family", "harm", "procedure")


@dataclass(frozen=True)
class Situation:
    """One everyday legal problem.

    `phrasings` are ways of asking that the spreadsheet contains; `paraphrases` are kept for the
    locked test set and occur in no training row.
    """

    id: str
    best: str
    titles: tuple[str, ...]
    others: tuple[str, ...]
    phrasings: tuple[str, ...]
    paraphrases: tuple[str, ...]


def load_situations() -> list[Situation]:
    """Return all situations in the order of the topic files."""
    found = []
    for topic in TOPICS:
        entries = yaml.safe_load((DATA / f"{topic}.yaml").read_text("utf-8"))
        for name, entry in entries.items():
            lists = {field: tuple(entry[field]) for field in entry if field != "best"}
            found.append(Situation(id=name, best=entry["best"], **lists))
    return found


def load_common_replies() -> tuple[str, ...]:
    """Return the inferior replies that may stand below any question."""
    return tuple(yaml.safe_load((DATA / "common.yaml").read_text("utf-8"))["others"])
