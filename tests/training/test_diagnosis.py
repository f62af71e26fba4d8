"""Each diagnosis fires on its curve, once, and none on the curves of healthy runs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from tunewright.core.events import Event
from tunewright.training.diagnosis import CHECKS, Diagnoser, Diagnosis, Subject

CURVES = sorted((Path(__file__).parent / "curves").glob("*.json"))
Shape = Callable[[int], float]


def steps(
    count: int,
    loss: Shape,
    *,
    norm: Shape = lambda step: 1.0,
    speed: Shape = lambda step: 1000.0,
    noise: float = 0.1,
    per_epoch: int = 1000,
    first: int = 1,
) -> list[Event]:
    """``step`` events with 1-based steps; ``noise`` is the loss's relative scatter."""
    draw = random.Random(first)
    return [
        Event(
            kind="step",
            data={
                "step": step,
                "loss": max(0.0, loss(step) * (1 + noise * draw.gauss(0, 1))),
                "grad_norm": norm(step),
                "learning_rate": 1e-3,
                "epoch": step / per_epoch,
                "tokens_per_second": speed(step),
            },
        )
        for step in range(first, first + count)
    ]


def validations(*points: tuple[int, float]) -> list[Event]:
    return [Event(kind="validation", data={"step": s, "loss": loss}) for s, loss in points]


def in_order(*groups: Iterable[Event]) -> list[Event]:
    """By step, a step before its validation."""
    events = [event for group in groups for event in group]
    return sorted(events, key=lambda event: (event.data["step"], event.kind == "validation"))


def diagnose(events: Iterable[Event], method: str = "sft", rows: int = 50) -> list[Diagnosis]:
    diagnoser = Diagnoser(Subject(method, rows))
    return [found for event in events for found in diagnoser.feed(event)]


def falling(step: int) -> float:
    """The healthy course: from 4 to about 1, fast at first."""
    return 1.0 + 3.0 * math.exp(-step / 60)


def graded(count: int, level: Shape) -> list[Event]:
    """Steps of a run that learns from rewards, with these shares of groups of equal worth."""
    return [
        event.model_copy(
            update={
                "data": event.data
                | {"metrics": {"no_spread": level(event.data["step"]), "reward": 0.4}}
            }
        )
        for event in steps(count, lambda step: 0.01)
    ]


SICK: dict[str, list[Event]] = {
    "spike": steps(120, lambda s: 5.0 if s >= 100 else falling(s)),
    "divergence": steps(400, lambda s: falling(s) if s < 150 else 1.2 + 0.012 * (s - 150)),
    "memorising": in_order(
        steps(300, lambda s: 4 * math.exp(-s / 30), per_epoch=20),
        validations((100, 1.9), (200, 1.9)),
    ),
    "overfitting": in_order(
        steps(300, lambda s: 4 * math.exp(-s / 120), per_epoch=40),
        validations((50, 2.0), (100, 1.6), (150, 1.5), (200, 1.58), (250, 1.7), (300, 1.8)),
    ),
    "vanishing": steps(100, falling, norm=lambda s: 1.0 if s < 40 else 1e-7),
    "exploding": steps(150, falling, norm=lambda s: 0.8 if s < 60 else 0.8 * 1.1 ** (s - 60)),
    "throughput": steps(200, falling, speed=lambda s: 5000.0 if s < 120 else 900.0),
    "flat": steps(200, lambda s: 2.5, noise=0.05),
    "level": graded(60, lambda s: 0.25 if s < 30 else 0.75),
}
METHODS = {"level": "grpo"}
"""Methods of those that are not sft's."""


def test_every_diagnosis_has_its_curve() -> None:
    assert SICK.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", SICK)
def test_it_fires_on_its_curve_and_nothing_else_does(name: str) -> None:
    found = diagnose(SICK[name], METHODS.get(name, "sft"))
    assert {diagnosis.name for diagnosis in found} == {name}
    first = found[0]
    # Told again only when it has doubled.
    for one, other in pairwise(found):
        assert other.measure >= 2 * one.measure
    data = first.event().data
    for language, letters in (("en", "a"), ("zh", "，")):
        assert data["text"][language]
        assert letters in data["text"][language] + data["remedy"][language]
        assert "{" not in data["text"][language] + data["remedy"][language]
    json.dumps(data, allow_nan=False)


def test_it_names_the_best_step_when_it_overfits() -> None:
    (first, *_) = diagnose(SICK["overfitting"])
    assert first.values["best_step"] == 150
    assert first.step == 250
    assert "step 150" in first.event().data["remedy"]["en"]
    assert "150" in first.event().data["remedy"]["zh"]


def test_early_enough_to_be_of_use() -> None:
    at = {name: diagnose(events, METHODS.get(name, "sft"))[0].step for name, events in SICK.items()}
    assert at["spike"] == 102
    assert at["flat"] <= 100
    assert at["divergence"] < 300
    assert at["throughput"] < 160
    assert at["vanishing"] < 60


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_recorded_healthy_runs_are_left_in_peace(path: Path) -> None:
    curve = json.loads(path.read_text())
    count = len(curve["losses"])
    events = in_order(
        steps(
            count,
            lambda s: curve["losses"][s - 1],
            norm=lambda s: curve["grad_norms"][s - 1],
            noise=0,
            per_epoch=round(count / curve["epochs"]),
        ),
        validations(*((step, loss) for step, loss in curve["validations"])),
    )
    assert diagnose(events) == []


@pytest.mark.parametrize("seed", range(5))
def test_healthy_courses_with_noise_and_hard_batches_are_left_in_peace(seed: int) -> None:
    draw = random.Random(seed)
    hard = {draw.randrange(1, 600) for _ in range(12)}
    events = in_order(
        steps(
            600,
            lambda s: falling(s) * (2.5 if s in hard else 1.0),
            norm=lambda s: draw.uniform(0.3, 3) * (8 if s in hard else 1),
            speed=lambda s: draw.uniform(700, 1300),
            noise=0.25,
            first=1,
        ),
        validations(*((s, falling(s) + 0.3 + draw.uniform(0, 0.01)) for s in range(50, 601, 50))),
    )
    assert diagnose(events) == []


def test_easy_text_is_not_called_memorised() -> None:
    learnt = steps(300, lambda s: 4 * math.exp(-s / 30), per_epoch=20)
    assert diagnose(in_order(learnt, validations((100, 0.9), (200, 0.06), (300, 0.05)))) == []


def test_methods_whose_loss_means_something_else_are_judged_by_what_applies() -> None:
    low = steps(300, lambda s: 0.69 * math.exp(-s / 40), per_epoch=20)
    assert diagnose(low, method="dpo") == []
    assert {found.name for found in diagnose(SICK["flat"], method="grpo")} == set()
    assert {found.name for found in diagnose(SICK["exploding"], method="grpo")} == {"exploding"}


def test_a_resumed_run_neither_repeats_nor_forgets() -> None:
    events = SICK["overfitting"]
    whole = Diagnoser(Subject("sft", 50))
    expected = [(event.data["step"], d.name) for event in events for d in whole.feed(event)]
    told = []
    for cut in (260, 280):
        again = Diagnoser(Subject("sft", 50))
        for event in events:
            found = again.feed(event)
            if event.data["step"] > cut:
                told += [(event.data["step"], d.name) for d in found]
        assert told == [one for one in expected if one[0] > cut]
        told.clear()


def test_memory_stays_bounded() -> None:
    diagnoser = Diagnoser(Subject("sft", 50))
    for number in range(40):
        for event in steps(100, lambda s: 1.0, first=1 + 100 * number):
            diagnoser.feed(event)
        for event in validations((100 * number, 1.0 + number / 1000)):
            diagnoser.feed(event)
    held = vars(diagnoser._curves)
    assert max(len(value) for value in held.values() if hasattr(value, "__len__")) <= 200
