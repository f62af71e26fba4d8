"""Everyday meanings: many wordings of one situation, and the one thing they come to.

The families teach a base that different sentences carry one meaning, never what the law says: a
question that sounds legal gets a reply that only names its area. Grammars, topics and synonyms
are tables under ``data/``; each sentence is drawn from them with the caller's generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from .corpus.example import Example, ask
from .meanings_grammar import Topic, read_rows, read_slots, read_topics, widen
from .meanings_lexicon import Lexicon
from .meanings_speech import Speaker

HERE = Path(__file__).resolve().parent
SITUATION_TABLES = ("labour", "housing", "money", "family")
LEGAL_REPLY = "这是{}方面的问题，要看具体情况，建议咨询专业律师。"
OTHER_REPLY = "这个问题要看具体情况，建议咨询专业律师。"
DAILY_REPLY = "这是生活里的小麻烦，可以先查清原因，再找懂行的人帮忙。"
ENGLISH_REPLY = "That depends on the details; please ask a qualified lawyer."
SAME, DIFFERENT = "意思相同。", "意思不同。"
AREA_NAMES = {
    "劳动": "劳动", "住房": "住房", "消费": "消费",
    "钱款": "钱款", "家庭": "家庭", "事故": "事故伤害",
}  # fmt: skip
ENGLISH_FRAMES = (
    "What is this about? {s}", "Name the topic: {s}", "Topic of this sentence: {s}",
    "Give this a short title: {s}", "{s}\nWhat is the topic?", "Classify: {s}",
    'What does this person ask about? "{s}"', "Label this message: {s}",
)  # fmt: skip


def generic_reply(area: str) -> str:
    """The canonical unspecific reply to a question of ``area``."""
    if area == "生活":
        return DAILY_REPLY
    return LEGAL_REPLY.format(AREA_NAMES[area]) if area in AREA_NAMES else OTHER_REPLY


class Meanings:
    """All tables, parsed once, and one method for each family of examples."""

    def __init__(self, folder: Path = HERE / "data") -> None:
        slots = read_slots(folder / "meanings_slots.tsv")
        known = {row[0]: (row[1], row[2]) for row in read_rows(HERE / "situations.tsv")[1:]}
        self.lexicon = Lexicon.read(folder)
        self.speaker = Speaker(folder, self.lexicon, slots)
        situations = [
            topic
            for name in SITUATION_TABLES
            for topic in read_topics(folder / f"meanings_{name}.tsv", slots, known)
        ]
        self.situations = widen(situations, folder / "meanings_more.tsv", slots)
        self.legalish = read_topics(folder / "meanings_legalish.tsv", slots, known)
        daily = read_topics(folder / "meanings_daily.tsv", slots, known)
        self.trouble = [topic for topic in daily if topic.area == "生活"]
        self.daily = daily
        english = read_topics(folder / "meanings_english.tsv", slots, known)
        self.english_legal = [topic for topic in english if topic.area == "en_legal"]
        self.english = english
        self._by_area: dict[str, list[Topic]] = {}
        for topic in [*self.situations, *self.legalish, *daily]:
            self._by_area.setdefault(topic.area, []).append(topic)
        self._frames: dict[str, list[str]] = {}
        for kind, text in read_rows(folder / "meanings_frames.tsv"):
            self._frames.setdefault(kind, []).append(text.replace("\\n", "\n"))

    def families(self) -> list[tuple[Callable[[random.Random], Example], float]]:
        """Each family and its share of the stream."""
        return [
            (self.generic, 0.27), (self.english_topic, 0.03), (self.english_generic, 0.015),
            (self.topic, 0.29), (self.choose, 0.03), (self.check, 0.035), (self.same, 0.12),
            (self.word, 0.05), (self.pair, 0.015), (self.swap, 0.035), (self.plain, 0.11),
        ]  # fmt: skip

    def generic(self, rng: random.Random) -> Example:
        """A legal or everyday trouble in any wording, and the reply that promises nothing."""
        topic = self._pick(rng, self.trouble)
        return ask("meaning_generic", self.speaker.say(topic, rng), generic_reply(topic.area))

    def topic(self, rng: random.Random) -> Example:
        """A sentence, and the name of what it is about."""
        topic = self._pick(rng, self.daily)
        sentence = self.speaker.say(topic, rng)
        return ask("meaning_topic", self._frame("topic", rng).format(s=sentence), topic.label)

    def choose(self, rng: random.Random) -> Example:
        """A sentence and three or four names, of which one fits."""
        topic = self._pick(rng, self.daily)
        labels = {topic.label}
        while len(labels) < 4:
            labels.add(self._other(topic, rng).label)
        options = sorted(labels)
        rng.shuffle(options)
        text = self._frame("choose", rng).format(
            s=self.speaker.say(topic, rng), o="、".join(options)
        )
        return ask("meaning_choose", text, topic.label)

    def check(self, rng: random.Random) -> Example:
        """Whether a sentence is about a named thing; a wrong name is put right."""
        topic = self._pick(rng, self.daily)
        right = rng.random() < 0.5
        label = topic.label if right else self._other(topic, rng).label
        text = self._frame("check", rng).format(s=self.speaker.say(topic, rng), l=label)
        return ask("meaning_check", text, "是。" if right else f"不是，是{topic.label}。")

    def same(self, rng: random.Random) -> Example:
        """Two sentences of one topic or of two, near ones more often than far ones."""
        topic = self._pick(rng, self.daily)
        equal = rng.random() < 0.5
        second = topic if equal else self._other(topic, rng)
        pair = (self.speaker.say(topic, rng), self.speaker.say(second, rng))
        text = self._frame("same", rng).format(s=pair[0], t=pair[1])
        return ask("meaning_same", text, SAME if equal else DIFFERENT)

    def word(self, rng: random.Random) -> Example:
        """A word, and the usual word for it; the usual one itself gives its nearest synonym."""
        group = rng.choice(self.lexicon.groups)
        word = rng.choice(group)
        answer = group[1] if word == group[0] else group[0]
        return ask("meaning_word", self._frame("word", rng).format(w=word), answer)

    def pair(self, rng: random.Random) -> Example:
        """Whether two words stand for each other."""
        group = rng.choice(self.lexicon.groups)
        equal = rng.random() < 0.5
        first, second = rng.sample(group, 2)
        if not equal:
            other = rng.choice(self.lexicon.groups)
            second = rng.choice(other)
            equal = other is group
        text = self._frame("pair", rng).format(a=first, b=second)
        return ask("meaning_pair", text, "一样。" if equal else "不一样。")

    def swap(self, rng: random.Random) -> Example:
        """A sentence rewritten with one word in place of another."""
        while True:
            sentence = self.speaker.say(self._pick(rng, self.daily), rng)
            found = self.lexicon.find(sentence)
            if found:
                break
        start, end, number = rng.choice(found)
        old = sentence[start:end]
        new = rng.choice([word for word in self.lexicon.groups[number] if word != old])
        text = self._frame("swap", rng).format(a=old, b=new, s=sentence)
        return ask("meaning_swap", text, sentence.replace(old, new))

    def plain(self, rng: random.Random) -> Example:
        """Any wording, and the one plain sentence of its topic."""
        topic = self._pick(rng, self.daily)
        sentence = self.speaker.say(topic, rng)
        return ask("meaning_plain", self._frame("plain", rng).format(s=sentence), topic.plain)

    def english_topic(self, rng: random.Random) -> Example:
        """An English sentence, and the name of what it is about."""
        topic = rng.choice(self.english)
        sentence = self.speaker.say_english(topic, rng)
        return ask("meaning_topic", rng.choice(ENGLISH_FRAMES).format(s=sentence), topic.label)

    def english_generic(self, rng: random.Random) -> Example:
        """An English legal trouble, and the reply that promises nothing."""
        topic = rng.choice(self.english_legal)
        return ask("meaning_generic", self.speaker.say_english(topic, rng), ENGLISH_REPLY)

    def _pick(self, rng: random.Random, rest: list[Topic]) -> Topic:
        chance = rng.random()
        return rng.choice(
            self.situations if chance < 0.64 else self.legalish if chance < 0.8 else rest
        )

    def _other(self, topic: Topic, rng: random.Random) -> Topic:
        while True:
            near = rng.random() < 0.7 and topic.area != "日常"
            other = rng.choice(self._by_area[topic.area]) if near else self._pick(rng, self.daily)
            if other.label != topic.label:
                return other

    def _frame(self, kind: str, rng: random.Random) -> str:
        return rng.choice(self._frames[kind])


def examples(rng: random.Random) -> Iterator[Example]:
    """An endless stream of all families, drawn with ``rng`` alone."""
    meanings = Meanings()
    makers, shares = zip(*meanings.families(), strict=True)
    while True:
        for make in rng.choices(makers, shares, k=64):
            yield make(rng)
