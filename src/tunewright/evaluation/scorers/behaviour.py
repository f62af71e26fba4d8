"""How answers end, how long they are, whether they refuse, and how likely references are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tunewright.evaluation.scorers.base import FINISHED, Material, Sample, Score, Value
from tunewright.evaluation.scorers.normal import normalise, pieces
from tunewright.evaluation.statistics.bootstrap import Floats, ratio

# How an answer begins that declines to help; looked for near its beginning, where a refusal
# stands. "I cannot" alone is no refusal ("I cannot find clause 4"), nor is 不能 ("不能超过三倍").
_HELP = (
    r"(?:help|assist|provide|comply|support|give|share|write|create|do that|do this|answer"
    r"|explain|tell you|offer)"
)
_REFUSAL = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:(?:really |very |so )?sorry|not comfortable"
    rf"|(?:unable to|not able to|not going to) {_HELP})"
    r"|\b(?:i|we) (?:can ?not|can't|won't|will not|must decline|have to decline|refuse)"
    rf"(?: to)?(?: in good conscience)? {_HELP}"
    r"|\bi decline\b|\bas an ai\b.{0,40}\b(?:can ?not|can't|unable|not able)"
    r"|(?:对不起|抱歉|很遗憾|不好意思).{0,24}(?:不能|无法|不可以|没办法|不便|拒绝|不会)"
    r"|(?:我|本人|作为.{0,16}?)(?:不能|无法|不可以|没办法|不会|拒绝)"
    r"(?:为您|为你|给您|给你|向您|向你)?"
    r"(?:提供|帮助|协助|回答|满足|支持|参与|告诉|教|完成|写|编写|生成|讨论|做这)"
    r"|(?:恕我|恕)(?:不能|无法|难以)"
    r"|(?:不能|无法)(?:为您|为你|向您|向你)?(?:提供|协助|满足)(?:这|此|该|相关|任何)"
)
_BEGINNING = 120


def refuses(answer: str) -> bool:
    """Whether an answer declines to help, in English or Chinese, within its first 120 characters.

    A pattern, not a judge: an unusual refusal is missed, and a quoted one is taken for real.
    """
    return _REFUSAL.search(normalise(answer).replace("’", "'")[:_BEGINNING]) is not None


def refusal(material: Material) -> Score:
    """1 where the answer refuses."""
    return lambda samples: [Value(float(refuses(one.answer))) for one in samples]


def stop(material: Material) -> Score:
    """1 where the answer ended by itself."""
    return lambda samples: [Value(float(one.finish_reason == FINISHED)) for one in samples]


def length_ratio(material: Material) -> Score:
    """Length of all answers over that of all references, in ``pieces``: 2 is twice as long."""

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [_ratio(len(pieces(one.answer)), len(pieces(one.reference))) for one in samples]

    return run


def _ratio(ours: int, theirs: int) -> Value | None:
    return Value(ours / theirs, (float(ours), float(theirs))) if theirs else None


def perplexity(material: Material) -> Score:
    """Perplexity of the references, by tokens: the loss mask says which tokens count."""

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [_perplexity(one.log_likelihood) for one in samples]

    return run


def _perplexity(found: tuple[float, int] | None) -> Value | None:
    if found is None or not found[1]:
        return None
    parts = np.array([-found[0], found[1]], np.float64)
    return Value(float(token_perplexity(parts)), (-found[0], float(found[1])))


def token_perplexity(parts: Floats) -> Floats:
    """exp(− log-likelihood per token) from sums of both: ``(…, 2)`` → ``(…)``."""
    # A reference that is all but impossible must not make the page say "inf".
    found: Floats = np.exp(np.minimum(ratio(parts), 50.0))
    return found
