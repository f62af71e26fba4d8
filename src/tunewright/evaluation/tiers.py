"""How far a test question is from what was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Final, Literal

from tunewright.core.messages import Row
from tunewright.evaluation.answers import Question
from tunewright.evaluation.scorers.normal import normalise, pieces

Tier = Literal["paraphrase", "question", "topic"]
TIERS: Final[tuple[Tier, ...]] = ("paraphrase", "question", "topic")
"""Another wording of something trained on, a question that is new, one of a new topic."""

SLICES: Final = MappingProxyType(
    {
        "paraphrase": frozenset(
            {"paraphrase", "paraphrased", "reworded", "synonyms", "换说法", "改写", "同义词替换"}
        ),
        "question": frozenset({"question", "unseen", "unseen_question", "new", "新问题"}),
        "topic": frozenset({"topic", "unseen_topic", "new_topic", "新主题"}),
    }
)
"""Names of slices that say it themselves."""
_TELLING = 6
"""Characters or words from which an answer tells which question it belongs to."""


def tiers(
    questions: Sequence[Question],
    train: Sequence[Row],
    labels: Collection[str],
    by_topic: bool = False,
) -> list[Tier]:
    """The tier of every question.

    What its slice is called decides. Elsewhere a question whose answer, if it is long enough to be
    nobody else's, is the answer to a training row asks for the same thing in another wording;
    every other question is new, and of a new topic where slices are topics and no training row
    is of that one. Classes are answers to many rows, so with labels none is another wording.

    Args:
        questions: the test questions.
        train: the training rows.
        labels: the classes, if rows have some.
        by_topic: whether slices are topics, some of which were held back whole.
    """
    answers = (
        set()
        if labels
        else {
            normalise(row.conversation.answer or "")
            for row in train
            if len(pieces(row.conversation.answer or "")) >= _TELLING
        }
    )
    met = {row.slice for row in train if row.origin == "own"}
    return [
        _named(question)
        or _by_answer(question, answers)
        or ("topic" if by_topic and question.slice and question.slice not in met else "question")
        for question in questions
    ]


def _named(question: Question) -> Tier | None:
    name = normalise(question.slice or "").replace(" ", "_")
    return next((tier for tier in TIERS if name in SLICES[tier]), None)


def _by_answer(question: Question, answers: Collection[str]) -> Tier | None:
    return "paraphrase" if normalise(question.reference) in answers else None
