"""The shared synonym lexicon: which words may stand for each other in a sentence."""

from __future__ import annotations

import random
from pathlib import Path

from tunewright.core.errors import DataError

from .meanings_grammar import read_rows


class Lexicon:
    """Groups of interchangeable words and a longest-match scanner over them."""

    def __init__(self, groups: list[list[str]], protected: list[str]) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self._index: dict[str, list[tuple[str, int]]] = {}
        seen: set[str] = set()
        for number, group in enumerate(groups):
            for word in group:
                if word in seen:
                    raise DataError(f"lexicon: {word!r} is in two groups; keep it in one")
                seen.add(word)
                self._index.setdefault(word[0], []).append((word, number))
        for word in protected:
            if word not in seen:
                self._index.setdefault(word[0], []).append((word, -1))
        for words in self._index.values():
            words.sort(key=lambda item: -len(item[0]))

    @classmethod
    def read(cls, folder: Path) -> Lexicon:
        """The lexicon of ``synonyms.tsv`` and the words of ``meanings_protected.tsv``."""
        protected = [row[0] for row in read_rows(folder / "meanings_protected.tsv")]
        return cls(read_rows(folder / "synonyms.tsv"), protected)

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Known words in ``text``, longest first: (start, end, group number)."""
        found: list[tuple[int, int, int]] = []
        position, size = 0, len(text)
        while position < size:
            step = 1
            for word, number in self._index.get(text[position], ()):
                if text.startswith(word, position):
                    step = len(word)
                    if number >= 0:
                        found.append((position, position + step, number))
                    break
            position += step
        return found

    def reword(self, text: str, share: float, rng: random.Random) -> str:
        """``text`` with each known word replaced by another of its group with chance ``share``."""
        out: list[str] = []
        last = 0
        for start, end, number in self.find(text):
            if rng.random() < share:
                group = self.groups[number]
                out += (text[last:start], group[int(rng.random() * len(group))])
                last = end
        out.append(text[last:])
        return "".join(out)
