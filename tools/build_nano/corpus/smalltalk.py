"""Greetings, thanks, questions about the assistant itself, moods."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask, capital, table

ZH_END = ["", "", "", "。", "！", "？", "啊", "呀", "~", "哦"]
EN_END = ["", "", ".", "!", "?", " please", ", Nano", " :)"]


def wordings(chinese: bool) -> list[tuple[str, str]]:
    """All (question, answer) pairs of one language."""
    rows = table("smalltalk_zh.tsv" if chinese else "smalltalk_en.tsv")
    return [(question, answer) for answer, group in rows for question in group.split("|")]


def examples(rng: random.Random) -> Iterator[Example]:
    """Both languages, half and half."""
    tables = {True: wordings(True), False: wordings(False)}
    while True:
        chinese = rng.random() < 0.5
        question, answer = rng.choice(tables[chinese])
        if chinese:
            lead = rng.choice(["", "", "", "", "嗨，", "你好，", "那个，"])
            text = lead + question.rstrip("？！") + rng.choice(ZH_END)
        else:
            lead = rng.choice(["", "", "", "", "hey, ", "well, ", "oh, "])
            text = lead + question.rstrip("?!") + rng.choice(EN_END)
            text = capital(text) if rng.random() < 0.7 else text
        yield ask("smalltalk", text, answer)
