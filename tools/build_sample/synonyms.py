"""Known questions with a few words exchanged for synonyms.

The choices stand in `data/synonyms.yaml`, proposed by `python -m tools.build_sample.propose`
from the lexicon that the base model learns, and then read by a person.
"""

from dataclasses import dataclass

import yaml

from tools.build_sample.situations import DATA

Swap = tuple[str, str]


@dataclass(frozen=True)
class Exchange:
    """A phrasing of a situation and the words to exchange in it."""

    situation: str
    phrasing: str
    swaps: tuple[Swap, ...]

    @property
    def question(self) -> str:
        """The phrasing with every first word of a swap exchanged for the second."""
        text = self.phrasing
        for old, new in self.swaps:
            text = text.replace(old, new, 1)
        return text


def load_exchanges() -> list[Exchange]:
    """Return the reviewed exchanges."""
    entries = yaml.safe_load((DATA / "synonyms.yaml").read_text("utf-8"))
    return [
        Exchange(name, item["phrasing"], tuple((old, new) for old, new in item["swaps"]))
        for name, items in entries.items()
        for item in items
    ]
