"""Where a served answer leaves the one that was expected, and whether rounding explains it."""

from __future__ import annotations

from dataclasses import dataclass

from tunewright.export.observation import Spoken, answer_logits
from tunewright.model.generation import TextModel
from tunewright.model.rendering import Renderer

ROUNDING = {"float32": 1e-3, "bfloat16": 0.25}
"""How much two ways of adding the same numbers up may move a logit, by their precision."""
_MOST_CANDIDATES = 64
_SHOWN = 24
_BROKEN = "�"
"""What a part of a character is decoded to."""


@dataclass(frozen=True)
class Parting:
    """The first token of an answer that another does not go on with.

    Attributes:
        token: its number in the answer, from 0.
        expected: its text; empty for the end of the answer.
        found: what stands there instead.
        gap: how much less likely, as a logit, the other way was; None beyond rounding.
    """

    token: int
    expected: str
    found: str
    gap: float | None


def find_parting(
    model: TextModel, expected: Spoken, found: Spoken, rounding: float
) -> Parting | None:
    """Where two answers to one prompt part; None where they are the same.

    Args:
        model: that gave the expected answer.
        expected: with its tokens.
        found: the other one, of which only the text and the end are known.
        rounding: difference of two logits below which either token is right.
    """
    renderer = model.renderer
    number = next(
        (
            number
            for number in range(len(expected.tokens))
            if not _goes_on(renderer, expected.tokens[: number + 1], found)
        ),
        None,
    )
    if number is None:
        return None
    before, here = expected.tokens[:number], expected.tokens[number]
    common = renderer.decode(before)
    return Parting(
        number,
        "" if here in renderer.eos_ids else renderer.decode([here]),
        found.text.lstrip()[len(common.lstrip().rstrip(_BROKEN)) :][:_SHOWN],
        _gap(model, expected, found, number, rounding),
    )


def _goes_on(renderer: Renderer, tokens: tuple[int, ...], found: Spoken) -> bool:
    """Whether an answer begins, or ends, as these tokens do."""
    text = found.text.lstrip()
    if tokens[-1] in renderer.eos_ids:
        return found.finished and text.rstrip() == renderer.decode(tokens[:-1]).strip()
    return text.startswith(renderer.decode(tokens).lstrip().rstrip(_BROKEN))


def _gap(
    model: TextModel, expected: Spoken, found: Spoken, number: int, rounding: float
) -> float | None:
    """By how much the likeliest token was ahead of one with which the other answer goes on."""
    logits = answer_logits(model, expected)
    # Characters of several tokens show at their last one which of them is another.
    first = number
    while first and model.renderer.decode(expected.tokens[:first]).endswith(_BROKEN):
        first -= 1
    for place in range(first, number + 1):
        before = expected.tokens[:place]
        values, tokens = logits[place].topk(min(_MOST_CANDIDATES, logits.shape[1]))
        for value, token in zip(values.tolist(), tokens.tolist(), strict=True):
            gap: float = values[0].item() - value
            if gap > rounding:
                break
            other = (*before, token)
            if token != expected.tokens[place] and _goes_on(model.renderer, other, found):
                return gap
    return None
