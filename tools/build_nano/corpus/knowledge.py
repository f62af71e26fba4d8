"""Definitions in one sentence, and true-or-false questions about them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask, dress, table

ZH = [
    "什么是{}",
    "{}是什么",
    "介绍一下{}",
    "简单介绍{}",
    "说说{}",
    "讲讲{}",
    "{}是什么意思",
    "解释一下{}",
    "你知道{}吗",
    "告诉我{}是什么",
    "用一句话介绍{}",
    "我想了解{}",
    "{}是啥",
    "给我讲讲{}",
]
ZH_PEOPLE = [
    "{}是谁",
    "介绍一下{}",
    "{}是什么人",
    "说说{}",
    "你知道{}吗",
    "{}是哪位",
    "告诉我{}是谁",
    "用一句话介绍{}",
    "我想了解{}",
    "讲讲{}这个人",
]
EN = [
    "what is {}",
    "tell me about {}",
    "explain {}",
    "describe {}",
    "define {}",
    "do you know {}",
    "what do you know about {}",
    "say something about {}",
    "explain {} in one sentence",
]
EN_PEOPLE = [
    "who was {}",
    "tell me about {}",
    "who is {}",
    "do you know {}",
    "what do you know about {}",
]
PEOPLE = {"孔子", "李白", "鲁迅", "爱因斯坦", "牛顿", "莎士比亚", "屈原", "司马迁"}


def examples(rng: random.Random) -> Iterator[Example]:
    """One definition at a time."""
    rows = table("knowledge.tsv")
    while True:
        zh_topic, zh, en_topic, en = rng.choice(rows)
        chinese = rng.random() < 0.5
        person = zh_topic in PEOPLE
        if chinese:
            frames, topic, answer = (ZH_PEOPLE if person else ZH), zh_topic, zh
        else:
            frames, topic, answer = (EN_PEOPLE if person else EN), en_topic, en
        question = dress(rng, rng.choice(frames).format(topic), chinese)
        yield ask("knowledge", question, answer)
