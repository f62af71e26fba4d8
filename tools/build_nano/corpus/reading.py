"""Answers that stand in the question: a sentence or two to read, then what was said."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask
from .strings import NAMES_EN, NAMES_ZH, Words, word_lists

CITIES_ZH = ["北京", "上海", "广州", "深圳", "成都", "杭州", "武汉", "南京", "西安", "重庆"]
CITIES_EN = ["London", "Paris", "Rome", "Berlin", "Tokyo", "Madrid", "Boston", "Sydney"]


def chinese_fields(rng: random.Random, words: Words) -> list[tuple[str, str, str]]:
    """(statement, question, answer) triples about one person; {n} is the name."""
    thing, city, food = rng.choice(words[0]), rng.choice(CITIES_ZH), rng.choice(words[0])
    age, code = str(rng.randint(3, 90)), "".join(rng.choices("0123456789", k=rng.randint(4, 6)))
    return [
        (f"{{n}}今年{age}岁", "{n}几岁", f"{age}岁"),
        (f"{{n}}住在{city}", "{n}住在哪里", city),
        (f"{{n}}喜欢{food}", "{n}喜欢什么", food),
        (f"{{n}}买了{thing}", "{n}买了什么", thing),
        (f"{{n}}的编号是{code}", "{n}的编号是多少", code),
    ]


def english_fields(rng: random.Random, words: Words) -> list[tuple[str, str, str]]:
    """The same in English."""
    thing, city, food = rng.choice(words[1]), rng.choice(CITIES_EN), rng.choice(words[1])
    age, code = str(rng.randint(3, 90)), "".join(rng.choices("0123456789", k=rng.randint(4, 6)))
    return [
        (f"{{n}} is {age} years old", "How old is {n}", age),
        (f"{{n}} lives in {city}", "Where does {n} live", city),
        (f"{{n}} likes {food}", "What does {n} like", food),
        (f"{{n}} bought {thing}", "What did {n} buy", thing),
        (f"{{n}}'s number is {code}", "What is {n}'s number", code),
    ]


def passage(rng: random.Random, words: Words) -> Example:
    """Two facts about one or two people, and a question about one of them."""
    chinese = rng.random() < 0.55
    names = rng.sample(NAMES_ZH if chinese else NAMES_EN, 2)
    fields = (chinese_fields if chinese else english_fields)(rng, words)
    chosen = rng.sample(fields, rng.randint(1, 2))
    owners = [names[0]] + [rng.choice(names)] * (len(chosen) - 1)
    stated = [s.format(n=n) for (s, _, _), n in zip(chosen, owners, strict=True)]
    index = rng.randrange(len(chosen))
    question = chosen[index][1].format(n=owners[index])
    if chinese:
        frame = rng.choice(
            [
                "{s}。{q}？",
                "{s}。问：{q}？",
                "资料：{s}。问题：{q}？",
                "根据资料回答。资料：{s}。问题：{q}？",
            ]
        )
        text = frame.format(s="，".join(stated), q=question)
    else:
        frame = rng.choice(["{s}. {q}?", "Text: {s}. Question: {q}?", "Read: {s}. {q}?"])
        text = frame.format(s=". ".join(stated), q=question)
    return ask("reading", text, chosen[index][2])


def examples(rng: random.Random) -> Iterator[Example]:
    """Short passages in both languages."""
    words = word_lists()
    while True:
        yield passage(rng, words)
