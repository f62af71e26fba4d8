"""Results made from chosen outcomes, so that gates and reports can be tested without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.messages import conversation
from tunewright.core.records import Dataset
from tunewright.evaluation.answers import Question, Scored
from tunewright.evaluation.results import Asked, Results, gather
from tunewright.evaluation.scorers import score

MakeResults = Callable[..., Results]
REFERENCE = "three months"


def answers_of(rights: Sequence[bool], wrong: str, finish: str) -> list[Scored]:
    """The reference where right, ``wrong`` elsewhere."""
    texts = [REFERENCE if right else wrong for right in rights]
    return [Scored(text, finish, score(text, REFERENCE, finish)) for text in texts]


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
        test = Asked(
            questions(count, slices, group_size),
            {name: answers_of(right, wrong, finish) for name, right in rights.items()},
        )
        probe = None
        if general is not None:
            size = len(next(iter(general.values())))
            probe = Asked(
                questions(size, ("sums", "facts"), 1),
                {name: answers_of(right, wrong, "stop") for name, right in general.items()},
            )
        tuned = list(rights)[-1]
        again = Asked(
            questions(len(seen), (None,), 1),
            {tuned: answers_of(seen, wrong, "stop")} if seen else {},
        )
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
