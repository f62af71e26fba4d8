"""The corpus: families of examples, the mix of them, and what is held out."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Callable, Iterator

from . import (
    arithmetic,
    dialogue,
    facts,
    knowledge,
    lexicon,
    reading,
    sentiment,
    smalltalk,
    strings,
)
from .example import Example, ask

__all__ = [
    "Example",
    "Mix",
    "ask",
    "default_mix",
    "families",
    "held_out",
    "held_out_examples",
    "later_mix",
    "stream",
]

Family = Callable[[random.Random], Iterator[Example]]
Mix = dict[str, float]
HOLD_OUT_ONE_IN = 40


def families() -> dict[str, Family]:
    """Every family by name."""
    from tools.build_nano import meanings  # it imports this package, so not at the top

    return {
        "smalltalk": smalltalk.examples,
        "facts": facts.examples,
        "knowledge": knowledge.examples,
        "arithmetic": arithmetic.examples,
        "lexicon": lexicon.examples,
        "copying": strings.examples,
        "formatting": strings.formatting,
        "reading": reading.examples,
        "sentiment": sentiment.examples,
        "dialogue": dialogue.examples,
        "meanings": meanings.examples,
    }


def default_mix() -> Mix:
    """Shares of examples by family, over the first half of training."""
    return {
        "smalltalk": 8,
        "facts": 14,
        "knowledge": 7,
        "arithmetic": 11,
        "lexicon": 11,
        "copying": 8,
        "formatting": 6,
        "reading": 3,
        "sentiment": 1.5,
        "dialogue": 3.5,
        "meanings": 27,
    }


def later_mix() -> Mix:
    """Shares over the second half: less of what is learnt by then, more sums and reading."""
    return default_mix() | {
        "smalltalk": 5,
        "facts": 13,
        "knowledge": 4,
        "arithmetic": 21,
        "lexicon": 8,
        "formatting": 7,
        "reading": 5,
        "sentiment": 1,
        "dialogue": 4,
    }


def question_key(text: str) -> str:
    """`text` without case, width, space and punctuation: what makes two questions the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "PZC")


def held_out(example: Example) -> bool:
    """Whether any user message of the example is reserved for the probe."""
    for message in example.messages:
        if message["role"] == "user":
            digest = hashlib.sha256(question_key(message["content"]).encode()).digest()
            if int.from_bytes(digest[:8], "big") % HOLD_OUT_ONE_IN == 0:
                return True
    return False


def _everything(seed: int, mix: Mix) -> Iterator[Example]:
    rng = random.Random(seed)
    table = families()
    names = [name for name in mix if mix[name] > 0]
    sources = {name: table[name](random.Random(f"{seed}:{name}")) for name in names}
    weights = [mix[name] for name in names]
    while True:
        for name in rng.choices(names, weights, k=256):
            yield next(sources[name])


def stream(seed: int, mix: Mix | None = None) -> Iterator[Example]:
    """Training examples without end, the same for the same seed and mix; nothing held out."""
    return (one for one in _everything(seed, mix or default_mix()) if not held_out(one))


def held_out_examples(seed: int, mix: Mix | None = None) -> Iterator[Example]:
    """The complement of `stream`: only examples with a reserved question."""
    return (one for one in _everything(seed, mix or default_mix()) if held_out(one))
