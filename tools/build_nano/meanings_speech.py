"""How people put a situation: openings, closings, haste, and words swapped for others."""

from __future__ import annotations

import random
from pathlib import Path

from .meanings_grammar import Topic, draw, read_rows
from .meanings_lexicon import Lexicon

REWORDED_SENTENCES = 0.5
REWORDED_WORDS = 0.4
_ENDS = ("？", "。", "！", "?", "!", ".")


class Speaker:
    """Turns a topic into one sentence as someone might type it."""

    def __init__(self, folder: Path, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._wrappers: dict[str, list[str]] = {}
        for kind, text in read_rows(folder / "meanings_wrappers.tsv"):
            self._wrappers.setdefault(kind, []).append(text)

    def say(self, topic: Topic, rng: random.Random) -> str:
        """One Chinese sentence on ``topic``."""
        chance = rng.random()
        if chance < 0.1 and topic.keywords:
            return self._keywords(topic, rng)
        core = self._core(topic, rng)
        if topic.area == "日常":
            return self._wrap(core, ("chat", ""), rng)
        kind = "trouble" if topic.area == "生活" else "legal"
        return self._wrap(core, ("open", kind), rng)

    def say_english(self, topic: Topic, rng: random.Random) -> str:
        """One English sentence on ``topic``."""
        core = draw(rng.choice(topic.patterns + topic.sentences), rng)
        lead = rng.choice(("", "", "", "Hello, ", "Hi, ", "Please help: ", "Excuse me, "))
        text = lead + core
        text = text[:1].upper() + text[1:]
        if text.endswith(_ENDS) or topic.area != "en_legal":
            return text if text.endswith(_ENDS) else text + rng.choice((".", ".", "", "!"))
        return text + rng.choice((".", ".", ". What can I do?", ". Is that legal?", ". Any help?"))

    def _core(self, topic: Topic, rng: random.Random) -> str:
        pool = topic.patterns if rng.random() < 0.62 else topic.sentences
        return self._reword(draw(pool[int(rng.random() * len(pool))], rng), rng)

    def _reword(self, text: str, rng: random.Random) -> str:
        if rng.random() < REWORDED_SENTENCES:
            return self._lexicon.reword(text, REWORDED_WORDS, rng)
        return text

    def _keywords(self, topic: Topic, rng: random.Random) -> str:
        text = self._reword(draw(rng.choice(topic.keywords), rng), rng)
        if topic.area not in ("日常", "生活") and rng.random() < 0.4:
            text += rng.choice(self._wrappers["key"])
        return text

    def _wrap(self, core: str, kinds: tuple[str, str], rng: random.Random) -> str:
        opening = rng.choice(self._wrappers[kinds[0]]) if rng.random() < 0.45 else ""
        text = opening + core
        if not core.endswith(_ENDS):
            if kinds[1] and rng.random() < 0.55:
                text += rng.choice(self._wrappers[kinds[1]])
            else:
                text += rng.choice(("。", "。", "", "", "！", "……"))
        if rng.random() < 0.08:
            text += rng.choice(self._wrappers["thanks"])
        return self._haste(text, rng)

    @staticmethod
    def _haste(text: str, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.05:
            return text.replace("，", " ")
        if chance < 0.1:
            return text.replace("？", "?").replace("，", ",")
        if chance < 0.18:
            return text.rstrip("？。！")
        return text
