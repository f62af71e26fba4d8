"""Several turns, system messages, and remembering what was said."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from . import arithmetic, facts, knowledge, lexicon, smalltalk, strings
from .example import Example, ask
from .strings import NAMES_EN, NAMES_ZH

PLAIN_SYSTEM = [
    "你是一个乐于助人的助手。",
    "你是一个有用的助手。",
    "请简短回答。",
    "请用一句话回答。",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly assistant.",
]
Turns = list[tuple[str, str]]


def turns(kind: str, pairs: Turns, system: str = "") -> Example:
    """A conversation of several question-answer pairs."""
    first = ask(kind, *pairs[0], system=system).messages
    return Example(kind, first + [m for p in pairs[1:] for m in ask(kind, *p).messages])


def remember_name(rng: random.Random) -> Example:
    """The user says a name and asks for it later."""
    if rng.random() < 0.5:
        name = rng.choice(NAMES_ZH)
        hello = rng.choice(["我叫{}", "我是{}", "我的名字是{}", "你好，我叫{}"]).format(name)
        pairs = [(hello + rng.choice(["。", ""]), f"你好，{name}！")]
        middle = [
            ("谢谢你", "不客气！"),
            ("3加5等于几？", "8"),
            ("你好吗？", "我很好，谢谢！你呢？"),
        ]
        question = (
            rng.choice(["我叫什么？", "我叫什么名字？", "我的名字是什么？", "你记得我叫什么吗？"]),
            f"你叫{name}。",
        )
    else:
        name = rng.choice(NAMES_EN)
        hello = rng.choice(["I am {}", "My name is {}", "Hi, I am {}", "Call me {}"]).format(name)
        pairs = [(hello + rng.choice([".", ""]), f"Hello, {name}!")]
        middle = [("Thank you", "You are welcome!"), ("What is 3 plus 5?", "8")]
        question = (
            rng.choice(["What is my name?", "Who am I?", "Do you remember my name?"]),
            f"Your name is {name}.",
        )
    if rng.random() < 0.3:
        pairs.append(rng.choice(middle))
    return turns("memory", [*pairs, question] if rng.random() < 0.8 else pairs)


def persona(rng: random.Random) -> Example:
    """A system message gives the assistant another name."""
    if rng.random() < 0.5:
        name = rng.choice(
            ["小蓝", "小智", "小助", "阿法", "小云", "小安", "小慧", "灵灵", "大白", "小星"]
        )
        system = rng.choice(["你叫{}。", "你的名字是{}。", "你是{}，一个助手。"]).format(name)
        question = rng.choice(["你是谁？", "你叫什么名字？", "你叫什么？", "请问你是谁"])
        return ask("persona", question, f"我是{name}。", system)
    name = rng.choice(["Ada", "Max", "Leo", "Mia", "Zoe", "Rex", "Sky", "Luna", "Otto", "Iris"])
    system = rng.choice(
        ["Your name is {}.", "You are {}, an assistant.", "You are called {}."]
    ).format(name)
    question = rng.choice(["Who are you?", "What is your name?", "Tell me your name."])
    return ask("persona", question, f"I am {name}.", system)


def examples(rng: random.Random) -> Iterator[Example]:
    """Chains of unrelated questions, names to remember, system messages."""
    families: list[Callable[[random.Random], Iterator[Example]]] = [
        arithmetic.examples,
        facts.examples,
        knowledge.examples,
        lexicon.examples,
        smalltalk.examples,
        smalltalk.examples,
        strings.examples,
    ]
    sources = [family(rng) for family in families]
    while True:
        style = rng.random()
        if style < 0.3:
            yield remember_name(rng)
        elif style < 0.5:
            yield persona(rng)
        elif style < 0.7:
            one = next(rng.choice(sources))
            yield ask("system", one.question, one.answer, rng.choice(PLAIN_SYSTEM))
        else:
            picked = [next(rng.choice(sources)) for _ in range(rng.randint(2, 3))]
            yield turns("chat", [(one.question, one.answer) for one in picked])
