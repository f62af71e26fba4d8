"""Words: translation, opposites, synonyms."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask, capital, table

TO_ENGLISH = [
    "{}用英语怎么说？",
    "{}的英文是什么？",
    "把“{}”翻译成英文。",
    "翻译成英文：{}",
    "英语里{}怎么说？",
    "{}的英语单词是什么？",
    "请把{}译成英语",
    "How do you say {} in English?",
    "Translate to English: {}",
    "“{}”用英文怎么讲？",
]
TO_CHINESE = [
    "{}是什么意思？",
    "{}用中文怎么说？",
    "把“{}”翻译成中文。",
    "翻译成中文：{}",
    "{}的中文是什么？",
    "英语单词{}是什么意思？",
    "请把{}译成中文",
    "How do you say {} in Chinese?",
    "Translate to Chinese: {}",
    "What is {} in Chinese?",
]
FRAMES = {
    ("opposite", True): [
        "{}的反义词是什么？",
        "{}的反义词",
        "写出{}的反义词",
        "“{}”的反义词是哪个？",
        "和{}意思相反的词是什么？",
        "与{}相反的词是？",
    ],
    ("synonym", True): [
        "{}的近义词是什么？",
        "{}的近义词",
        "写出{}的近义词",
        "“{}”的近义词是哪个？",
        "和{}意思相近的词是什么？",
        "与{}意思一样的词是？",
    ],
    ("opposite", False): [
        "What is the opposite of {}?",
        "Give the opposite of {}.",
        "The opposite of {} is?",
        "Opposite of {}",
        "Tell me the opposite of {}",
        "What word is the opposite of {}?",
        "Name the opposite of {}.",
    ],
    ("synonym", False): [
        "What is a synonym of {}?",
        "Give a synonym of {}.",
        "A synonym of {} is?",
        "Synonym of {}",
        "What word means the same as {}?",
        "Name another word for {}.",
    ],
}


def translations() -> list[tuple[str, str]]:
    """(Chinese, English) words, each word of either language only once."""
    seen: set[str] = set()
    pairs = []
    for _, zh, en in table("words.tsv"):
        if zh not in seen and en not in seen:
            pairs.append((zh, en))
            seen |= {zh, en}
    return pairs


def relations() -> list[tuple[str, bool, str, str]]:
    """(relation, Chinese?, word, its one answer); opposites hold in both directions."""
    found: dict[tuple[str, bool, str], str] = {}
    for chinese, name in ((True, "pairs_zh.tsv"), (False, "pairs_en.tsv")):
        for relation, left, right in table(name):
            found.setdefault((relation, chinese, left), right)
            found.setdefault((relation, chinese, right), left)
    return [(*key, answer) for key, answer in found.items()]


def examples(rng: random.Random) -> Iterator[Example]:
    """Translation as often as the two relations together."""
    pairs, related = translations(), relations()
    while True:
        if rng.random() < 0.55:
            zh, en = rng.choice(pairs)
            if rng.random() < 0.5:
                yield ask("translation", rng.choice(TO_ENGLISH).format(zh), en)
            else:
                yield ask("translation", rng.choice(TO_CHINESE).format(en), zh)
            continue
        relation, chinese, word, answer = rng.choice(related)
        question = rng.choice(FRAMES[relation, chinese]).format(word)
        if not chinese and rng.random() < 0.2:
            question = capital(question.lower())
        yield ask(relation, question, answer)
