"""The words of reports in English and Chinese; ``templates/words.*.json`` holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

Fact = Mapping[str, Any]
"""Something a report says: ``kind`` names its sentence, the other values fill it in."""


@dataclass(frozen=True)
class Words:
    """One language.

    Attributes:
        labels: headings and captions.
        reasons: why rows are left out.
        facts: sentence of each kind of fact.
    """

    labels: Mapping[str, str]
    reasons: Mapping[str, str]
    facts: Mapping[str, str]

    @classmethod
    def of(cls, language: str) -> Words:
        """Chinese for ``zh``, English for every other language."""
        name = f"words.{'zh' if language == 'zh' else 'en'}.json"
        file = resources.files("tunewright.data") / "templates" / name
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def say(self, fact: Fact) -> str:
        """A fact as a sentence."""
        return self.facts[str(fact["kind"])].format(**fact)

    def say_all(self, facts: Iterable[Fact]) -> str:
        """Several facts in one line."""
        return self.labels["file_separator"].join(self.say(fact) for fact in facts)
