"""What a family yields, and the few helpers that all families share."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
CJK = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Example:
    """One conversation: `messages` are {"role", "content"} dicts, the last from the assistant."""

    kind: str
    messages: list[dict[str, str]]

    @property
    def question(self) -> str:
        """All that stands before the last answer, as one text."""
        return "\n".join(m["content"] for m in self.messages[:-1])

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[-1]["content"]

    @property
    def language(self) -> str:
        """`zh` if the question holds a Chinese character, else `en`."""
        return "zh" if CJK.search(self.question) else "en"


def ask(kind: str, question: str, answer: str, system: str = "") -> Example:
    """A conversation of one question and one answer, after a system message if given."""
    head = [{"role": "system", "content": system}] if system else []
    return Example(
        kind,
        [
            *head,
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
    )


def table(name: str) -> list[list[str]]:
    """Rows of data/`name`, split at tabs."""
    text = (DATA / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line]


def capital(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def dress(rng: random.Random, text: str, chinese: bool) -> str:
    """`text` as different people type it: with or without polite words and final marks."""
    if chinese:
        text = rng.choice(["", "", "", "", "请问", "你好，", "请问一下，", "想问一下，"]) + text
        bare = text.rstrip("？?。")
        return bare + rng.choice(["？", "？", "", "?", "呢？", "。"])
    lead = rng.choice(["", "", "", "", "please tell me: ", "hello, ", "I want to know: "])
    bare = lead + text.rstrip("?.")
    bare = capital(bare) if rng.random() < 0.75 else bare
    return bare + rng.choice(["?", "?", "?", "", " ?", "."])
