"""Marks the parts of an answer that its reference does not have."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import groupby

from markupsafe import Markup, escape

from tunewright.evaluation.scorers.normal import normalise
from tunewright.evaluation.scorers.overlap import exact

_TOKEN = re.compile(r"\s+|[^\W\d_a-zA-Z]|[a-zA-Z]+|\d+|.", re.DOTALL)
_MOST_CELLS = 250_000  # tokens of the answer times those of the reference; matching is quadratic


def marked(answer: str, reference: str) -> Markup:
    """The answer as HTML, escaped, with ``<mark>`` around what differs from the reference.

    A right answer has no marks, nor has one too long to be matched quickly.
    """
    found, wanted = _TOKEN.findall(answer), _TOKEN.findall(reference)
    if exact(answer, reference) or len(found) * len(wanted) > _MOST_CELLS:
        return escape(answer)
    matcher = SequenceMatcher(
        a=[_key(token) for token in wanted], b=[_key(token) for token in found], autojunk=False
    )
    same = [False] * len(found)
    for match in matcher.get_matching_blocks():
        # One shared character amid other text is chance, and marks around it are hard to read.
        if match.size > 1 or match.b == 0 or match.b + match.size == len(found):
            same[match.b : match.b + match.size] = [True] * match.size
    runs = groupby(range(len(found)), key=same.__getitem__)
    return Markup("").join(
        escape(text) if plain or text.isspace() else Markup("<mark>{}</mark>").format(text)
        for plain, indices in runs
        for text in ["".join(found[index] for index in indices)]
    )


def _key(token: str) -> str:
    return normalise(token) or token
