"""Copying and formatting of random words: what makes a small model learn induction."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from .characters import common_characters
from .example import Example, ask, table

COPY_ZH = [
    "重复这句话：{}",
    "请重复：{}",
    "跟我说：{}",
    "照着说一遍：{}",
    "复述：{}",
    "重复一遍：{}",
    "请照抄：{}",
    "把下面的话再说一遍：{}",
    "请跟我读：{}",
    "请说“{}”",
    "重复“{}”这句话",
]
COPY_EN = [
    "Repeat: {}",
    "Say this: {}",
    "Please repeat: {}",
    "Repeat after me: {}",
    "Copy this: {}",
    "Say exactly: {}",
    "Repeat the words: {}",
    'Please say "{}"',
    "Echo: {}",
]
ZH_PATTERNS = [
    "{a}和{b}",
    "{a}、{b}和{c}",
    "我喜欢{a}",
    "{a}在{b}里",
    "今天我看到了{a}",
    "我要买{a}和{b}",
    "{a}比{b}贵",
    "{a}，{b}，{c}",
    "这是{a}，那是{b}",
    "请把{a}给我",
    "他的{a}不见了",
]
EN_PATTERNS = [
    "{a} and {b}",
    "{a}, {b} and {c}",
    "I like the {a}",
    "the {a} is near the {b}",
    "I see a {a}",
    "{a} {b} {c}",
    "this is the {a}",
    "give me the {a}",
    "where is my {a}",
    "{a} {b}",
]
NOUNS = {
    "animal",
    "fruit",
    "vegetable",
    "vehicle",
    "furniture",
    "clothing",
    "drink",
    "food",
    "job",
    "instrument",
    "body",
    "family",
    "nature",
    "place",
    "object",
    "law",
    "colour",
    "sport",
}
NAMES_ZH = [
    "王芳",
    "李明",
    "张伟",
    "刘洋",
    "陈静",
    "赵强",
    "孙丽",
    "周杰",
    "吴敏",
    "郑爽",
    "小明",
    "小红",
    "小华",
    "阿强",
]
NAMES_EN = [
    "Tom",
    "Anna",
    "Ben",
    "Mary",
    "Jack",
    "Lucy",
    "Sam",
    "Kate",
    "Paul",
    "Nina",
    "Alex",
    "Emma",
]

Words = tuple[list[str], list[str]]


def word_lists() -> Words:
    """Nouns of the word table: Chinese, and those English ones that are one word."""
    rows = [row for row in table("words.tsv") if row[0] in NOUNS]
    return [zh for _, zh, _ in rows], [en for _, _, en in rows if " " not in en]


def copying(rng: random.Random, words: Words) -> Example:
    """Say the same again: words in a pattern, or random characters, letters and digits."""
    chinese = rng.random() < 0.55
    a, b, c = rng.sample(words[0] if chinese else words[1], 3)
    style = rng.random()
    if style < 0.6:
        text = rng.choice(ZH_PATTERNS if chinese else EN_PATTERNS).format(a=a, b=b, c=c)
    elif style < 0.8 and chinese:
        text = "".join(rng.choices(common_characters(), k=rng.randint(2, 8)))
    elif style < 0.9:
        text = "".join(rng.choices("0123456789", k=rng.randint(3, 8)))
    else:
        text = " ".join(rng.sample(words[0] if chinese else words[1], rng.randint(2, 5)))
    return ask("copying", rng.choice(COPY_ZH if chinese else COPY_EN).format(text), text)


def one_of(rng: random.Random, chinese: list[str], english: list[str]) -> tuple[bool, str]:
    """A frame of either language, and whether it is Chinese."""
    flag = rng.random() < 0.5
    return flag, rng.choice(chinese if flag else english)


def reverse(rng: random.Random, words: Words) -> Example:
    """Two to four words in the opposite order."""
    flag, frame = one_of(
        rng,
        ["把词语倒过来排列：{}", "倒序排列：{}", "请反过来说：{}"],
        ["Reverse the order: {}", "Say in reverse order: {}", "Reverse: {}"],
    )
    items = rng.sample(words[0 if flag else 1], rng.randint(2, 3))
    return ask("reverse", frame.format(" ".join(items)), " ".join(items[::-1]))


def join(rng: random.Random, words: Words) -> Example:
    """Words with commas between them."""
    flag, frame = one_of(
        rng,
        ["用逗号连接：{}", "用逗号隔开这些词：{}", "在词语之间加逗号：{}"],
        ["Join with commas: {}", "Put commas between the words: {}", "Add commas: {}"],
    )
    items = rng.sample(words[0 if flag else 1], rng.randint(2, 4))
    return ask("join", frame.format(" ".join(items)), ("，" if flag else ", ").join(items))


def pick(rng: random.Random, words: Words) -> Example:
    """The first or the last word."""
    first = rng.random() < 0.5
    zh, en = ("第一个", "first") if first else ("最后一个", "last")
    flag, frame = one_of(
        rng,
        [f"{zh}词是什么：{{}}", f"说出{zh}词：{{}}", f"下面{zh}词是哪个：{{}}"],
        [
            f"What is the {en} word: {{}}",
            f"Say the {en} word: {{}}",
            f"{en.capitalize()} word of: {{}}",
        ],
    )
    items = rng.sample(words[0 if flag else 1], rng.randint(2, 4))
    return ask("pick", frame.format(" ".join(items)), items[0 if first else -1])


def count(rng: random.Random, words: Words) -> Example:
    """How many words there are."""
    flag, frame = one_of(
        rng,
        ["有几个词：{}", "数一数有几个词：{}", "下面一共几个词：{}"],
        ["How many words: {}", "Count the words: {}", "How many words are here: {}"],
    )
    items = rng.sample(words[0 if flag else 1], rng.randint(1, 5))
    return ask("count", frame.format(" ".join(items)), str(len(items)))


def case(rng: random.Random, words: Words) -> Example:
    """English words in upper case."""
    frame = rng.choice(
        [
            "Write in capital letters: {}",
            "Uppercase: {}",
            "Make it upper case: {}",
            "用大写字母写：{}",
            "变成大写：{}",
        ]
    )
    word = rng.choice(words[1])
    return ask("uppercase", frame.format(word), word.upper())


def as_json(rng: random.Random, words: Words) -> Example:
    """Fields as a JSON object."""
    flag = rng.random() < 0.5
    name, age = rng.choice(NAMES_ZH if flag else NAMES_EN), rng.randint(5, 80)
    thing = rng.choice(words[0 if flag else 1])
    if flag:
        frames = [
            ("用JSON表示：姓名{n}，年龄{a}", {"姓名": name, "年龄": age}),
            ("转成JSON：姓名是{n}", {"姓名": name}),
            ("转成JSON：商品是{t}，数量{a}", {"商品": thing, "数量": age}),
        ]
    else:
        frames = [
            ("As JSON: name {n}, age {a}", {"name": name, "age": age}),
            ("Write JSON: name is {n}", {"name": name}),
            ("As JSON: item {t}, count {a}", {"item": thing, "count": age}),
        ]
    frame, value = rng.choice(frames)
    text = json.dumps(value, ensure_ascii=False)
    return ask("json", frame.format(n=name, a=age, t=thing), text)


def bullets(rng: random.Random, words: Words) -> Example:
    """Words as a list, one to a line."""
    flag, frame = one_of(
        rng,
        ["写成列表：{}", "每行一个写成列表：{}", "列成清单：{}"],
        ["Write as a list: {}", "Make a list of: {}", "List these: {}"],
    )
    items = rng.sample(words[0 if flag else 1], rng.randint(2, 3))
    shown = ("、" if flag else ", ").join(items)
    return ask("list", frame.format(shown), "\n".join(f"- {item}" for item in items))


def formatting(rng: random.Random) -> Iterator[Example]:
    """All the formatting tasks in equal shares."""
    words = word_lists()
    makers: list[Callable[[random.Random, Words], Example]] = [
        reverse,
        join,
        pick,
        count,
        case,
        as_json,
        bullets,
    ]
    while True:
        yield rng.choice(makers)(rng, words)


def examples(rng: random.Random) -> Iterator[Example]:
    """Copying only; `formatting` is a family of its own."""
    words = word_lists()
    while True:
        yield copying(rng, words)
