"""Sentences in the languages that reports speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("en", "zh")
Declared = Mapping[str, tuple[str, str]]
"""Key → the sentence in every language, in the order of ``LANGUAGES``."""


class Sentences:
    """Declared sentences in one language; ``sentences("key", name=value)`` fills the blanks.

    Args:
        declared: every sentence.
        language: one of ``LANGUAGES``; any other is English.
    """

    def __init__(self, declared: Declared, language: str) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self._declared = declared
        self._column = LANGUAGES.index(self.language)

    def __call__(self, key: str, **values: object) -> str:
        return self._declared[key][self._column].format(**values)

    def label(self, family: str, name: str) -> str:
        """The text ``family.name``, or ``name`` itself where none is declared."""
        entry = self._declared.get(f"{family}.{name}")
        return entry[self._column] if entry else name
