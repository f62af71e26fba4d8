"""How people put a situation: openings, closings, haste, and words swapped for others."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path

from .meanings_grammar import Choice, Sequence, Topic, draw, parse, read_rows
from .meanings_lexicon import Lexicon

REWORDED_SENTENCES = 0.5
REWORDED_WORDS = 0.4
TWO_CLAUSES = 0.1
_ASKS = re.compile(r"([吗呢谁]|多少|多久|几天|怎么[办算分说]|哪[里儿]|行不行|什么|有没有用)$")
_ENDS = ("？", "。", "！", "?", "!", ".")


class Speaker:
    """Turns a topic into one sentence as someone might type it."""

    def __init__(self, folder: Path, lexicon: Lexicon, slots: Mapping[str, Choice]) -> None:
        self._lexicon = lexicon
        self._wrappers: dict[str, list[Sequence]] = {}
        for kind, text in read_rows(folder / "meanings_wrappers.tsv"):
            self._wrappers.setdefault(kind, []).append(parse(text, slots))

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

    def _wrapper(self, kind: str, rng: random.Random) -> str:
        return draw(rng.choice(self._wrappers[kind]), rng)

    def _core(self, topic: Topic, rng: random.Random) -> str:
        text = self._clause(topic, rng)
        if rng.random() < TWO_CLAUSES and topic.area != "日常" and not text.endswith(_ENDS):
            second = self._clause(topic, rng)
            text = text if second == text else f"{text}，{second}"
        text = text.rstrip("，").replace("，，", "，").replace("？，", "？")
        return self._reword(text, rng)

    @staticmethod
    def _clause(topic: Topic, rng: random.Random) -> str:
        pool = topic.patterns if rng.random() < 0.68 else topic.sentences
        return draw(pool[int(rng.random() * len(pool))], rng)

    def _reword(self, text: str, rng: random.Random) -> str:
        if rng.random() < REWORDED_SENTENCES:
            return self._lexicon.reword(text, REWORDED_WORDS, rng)
        return text

    def _keywords(self, topic: Topic, rng: random.Random) -> str:
        text = self._reword(draw(rng.choice(topic.keywords), rng), rng)
        if topic.area not in ("日常", "生活") and rng.random() < 0.4:
            text += self._wrapper("key", rng)
        return text

    def _wrap(self, core: str, kinds: tuple[str, str], rng: random.Random) -> str:
        opening = self._wrapper(kinds[0], rng) if rng.random() < 0.45 else ""
        text = opening + core
        if _ASKS.search(core):
            text += rng.choice(("？", "？", "？", "", "?", "呀？", "啊？"))
        elif not core.endswith(_ENDS):
            if kinds[1] and rng.random() < 0.55:
                text += self._wrapper(kinds[1], rng)
            else:
                text += rng.choice(("。", "。", "", "", "！", "……"))
        if rng.random() < 0.08:
            text += self._wrapper("thanks", rng)
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
