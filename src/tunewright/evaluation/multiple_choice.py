"""Questions with options: which one a model holds likeliest, or which one its answer names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.core.messages import Conversation
from tunewright.evaluation.answers import answered
from tunewright.model.generation import TextModel

_LETTER = re.compile(
    r"(?:答案|选项|选择|应选|故选|正确的是|选|answer|option|choice|correct)"
    r"(?:应该|应当|是|为|is|was|:|：|\s|\(|（|\*)*([A-Z])(?![A-Za-z])",
    re.IGNORECASE,
)
_FIRST = re.compile(r"^\W*([A-Z])(?=$|[^\w\s])")
# "A dog" begins with an article.
_ALONE = re.compile(r"(?<![A-Za-z])(A(?!\s+(?!and\b|or\b)[a-z])|[B-Z])(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a model makes of the options of one question.

    Attributes:
        log_probabilities: of each option as the answer, without what ends it, in nats.
        lengths: of each option in UTF-8 bytes.
    """

    log_probabilities: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def summed(self) -> int:
        """Place of the likeliest option; the first of equals."""
        return _best(self.log_probabilities)

    @property
    def normalised(self) -> int:
        """Place of the option that is likeliest for its length, as lm-eval's ``acc_norm``."""
        both = zip(self.log_probabilities, self.lengths, strict=True)
        return _best([chance / max(1, length) for chance, length in both])


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def rank_options(
    model: TextModel, questions: Sequence[tuple[Conversation, Sequence[str]]]
) -> list[Ranked]:
    """Weigh the options of many questions at once; nothing is generated.

    Args:
        model: whom to ask.
        questions: each with its options, at least one.

    Raises:
        InputError: a question with an option is longer than the base reads.
    """
    rows = [answered(asked.prompt(), one) for asked, options in questions for one in options]
    found = [one.log_probability for one in model.likelihoods(rows, ends=False)]
    ranked: list[Ranked] = []
    for _, options in questions:
        mine, found = found[: len(options)], found[len(options) :]
        lengths = tuple(len(option.encode("utf-8", "replace")) for option in options)
        ranked.append(Ranked(tuple(mine), lengths))
    return ranked


def named_option(answer: str, options: int) -> int | None:
    """Place of the option whose letter an answer names, or None where it names none.

    ``B``, ``(B) because …``, ``The answer is B.`` and ``故选B`` name the second. An answer that
    first weighs several letters is read by the last one that it calls the answer.
    """
    text = unicodedata.normalize("NFKC", answer).strip()
    called = _LETTER.findall(text)
    first = _FIRST.match(text)
    alone = [letter for letter in _ALONE.findall(text) if ord(letter) - ord("A") < options]
    if called:
        letter = called[-1]
    elif first is not None:
        letter = first[1]
    elif len(set(alone)) == 1:
        letter = alone[0]
    else:
        return None
    place = ord(letter.upper()) - ord("A")
    return place if place < options else None
