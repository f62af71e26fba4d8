"""Results made from chosen outcomes, so that gates and reports can be tested without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.messages import conversation
from tunewright.core.records import Dataset
from tunewright.evaluation.answers import Question, Scored, score_answers
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.results import Results, gather
from tunewright.evaluation.scorers.base import Material, Metric
from tunewright.evaluation.scorers.table import open_metrics

MakeResults = Callable[..., Results]
REFERENCE = "three months"


def metrics() -> Sequence[Metric]:
    """What suits short references."""
    return open_metrics(Material([REFERENCE]))


def answers_of(
    asked: Sequence[Question], rights: Sequence[bool], wrong: str, finish: Any
) -> list[Scored]:
    """The reference where right, ``wrong`` elsewhere."""
    said = [
        Said(question.reference if right else wrong, finish)
        for question, right in zip(asked, rights, strict=True)
    ]
    return score_answers(asked, said, metrics())


def asked_of(
    asked: Sequence[Question], rights: dict[str, Sequence[bool]], wrong: str, finish: str
) -> Asked:
    """Everybody's answers to the same questions."""
    answers = {name: answers_of(asked, right, wrong, finish) for name, right in rights.items()}
    return Asked(asked, answers, metrics())


def questions(count: int, slices: Sequence[str | None], group_size: int) -> list[Question]:
    """Questions with slices in turn and groups of neighbours."""
    return [
        Question(
            str(index),
            conversation(("user", f"question {index}")),
            REFERENCE,
            slices[index % len(slices)],
            f"g{index // group_size}",
        )
        for index in range(count)
    ]


@pytest.fixture
def make_results() -> MakeResults:
    """``make_results(base=[...], tuned=[...])``: who was right on which question."""

    def make(
        general: dict[str, Sequence[bool]] | None = None,
        *,
        wrong: str = "no idea",
        finish: str = "stop",
        slices: Sequence[str | None] = (None,),
        group_size: int = 1,
        seen: Sequence[bool] = (),
        limits: dict[str, float] | None = None,
        **rights: Sequence[bool],
    ) -> Results:
        config = EvaluateConfig(dataset="ds", models=tuple(rights), bootstrap=500, **(limits or {}))
        count = len(next(iter(rights.values())))
        test = asked_of(questions(count, slices, group_size), rights, wrong, finish)
        probe = None
        if general is not None:
            size = len(next(iter(general.values())))
            probe = asked_of(questions(size, ("sums", "facts"), 1), general, wrong, "stop")
        again = Asked((), {}, metrics())
        if seen:
            both = {next(iter(rights)): [False] * len(seen), list(rights)[-1]: seen}
            again = asked_of(questions(len(seen), (None,), 1), both, wrong, "stop")
        return gather(config, test, probe, again)

    return make


@pytest.fixture
def dataset() -> Dataset:
    """A dataset's record without general rows."""
    return Dataset(
        id="ds_000000000001",
        name="trial",
        files=("questions.csv",),
        digest="0" * 64,
        config={},
        rows={"read": 40, "kept": 40, "dropped": {}, "truncated": 0},
        splits={"train": 20, "dev": 2, "test": 18},
        base="nano",
        tokens={},
    )
