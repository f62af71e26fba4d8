"""What a run shows: within 80 columns, in a terminal and in a log, with foreign text inert."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from tunewright.cli.display import Terminal
from tunewright.cli.live import TrainingView, inert, sample_lines
from tunewright.core.events import Event
from tunewright.training.diagnosis import Diagnosis


def step(number: int, steps: int = 100_000) -> Event:
    """Numbers as wide as they come."""
    data = {
        "step": number,
        "steps": steps,
        "epoch": 123.45,
        "loss": 12.345678,
        "smoothed_loss": 12.345678,
        "grad_norm": 1234.5678,
        "learning_rate": 1.234e-5,
        "tokens": 10**9,
        "tokens_per_second": 123456.7,
        "eta_seconds": 359_999,
        "memory_bytes": 123_456_789_012,
    }
    return Event(kind="step", data=data)


def validation(number: int, loss: float) -> Event:
    metrics = {"token_accuracy": 0.98765}
    return Event(kind="validation", data={"step": number, "loss": loss, "metrics": metrics})


def shown(events: list[Event], **options: Any) -> str:
    """What a log file gets."""
    text = io.StringIO()
    console = Console(file=text, width=80, highlight=False, soft_wrap=True)
    with Terminal(console, **options) as terminal:
        for event in events:
            terminal(event)
    return text.getvalue()


def test_every_line_fits_into_80_columns() -> None:
    view = TrainingView()
    for event in (step(99_998), validation(50_000, 12.3456), validation(99_998, 13.4567)):
        view.feed(event)
    lines = [*view.live(), *view.logged(), f"  {view.validation()}"]
    assert max(map(cell_len, lines)) <= 80, max(lines, key=cell_len)
    whole = "\n".join(lines)
    for part in (
        "loss 12.3457 (smoothed 12.3457)",
        "grad_norm 1234.57",
        "lr 1.2e-05",
        "epoch 123.45",
        "123,457 tok/s",
        "123 GB",
        "ETA 99h59m" if "99h59m" in whole else "ETA 100h00m",
        "validation 13.4567 at step 99998, best 12.3456 at 50000, token accuracy 98.8 %",
    ):
        assert part in whole


def test_a_log_gets_the_first_and_the_last_step() -> None:
    text = shown([step(1, 3), step(2, 3), step(3, 3)])
    assert [line.split("  ")[1] for line in text.splitlines()[::2]] == ["step 1/3", "step 3/3"]


def test_the_terminal_redraws_its_lines_below_the_bar() -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, highlight=False, soft_wrap=True)
    with Terminal(console) as terminal:
        terminal(step(1))
        terminal(validation(1, 2.0))
        terminal(step(2))
        terminal._progress.refresh()
    drawn = text.getvalue()
    assert "grad_norm" in drawn
    assert "2/100000" in drawn


@pytest.mark.parametrize(("language", "word"), [("en", "spike-free"), ("zh", "梯度")])
def test_a_diagnosis_is_wrapped_with_its_remedy(language: str, word: str) -> None:
    values = {"before": 0.8, "now": 90.0, "limit": 1.0, "half": 5e-4}
    event = Diagnosis("exploding", 123, 90.0, values).event()
    lines = shown([event], language=language).splitlines()
    assert lines[0].startswith("  ! step 123: ")
    assert max(map(cell_len, lines)) <= 80
    assert len(lines) >= 3
    assert ("梯度" in lines[0]) == (language == "zh")
    assert word == "梯度" or "gradients" in lines[0]


def test_answers_of_a_model_cannot_touch_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;title\x07 a\u202eb\nc\r" + "很" * 100
    data = {"question": evil, "reference": "", "answer": evil, "finished": False}
    for line in sample_lines({**data, "step": 1, "number": 0}):
        assert line.isprintable()
        assert cell_len(line) <= 80
    assert inert("试用期", 4) == "试…"
    text = shown([Event(kind="sample", data={**data, "step": 1, "number": 0})])
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_rewards_stand_where_they_say_more_than_the_loss() -> None:
    metrics = {"reward": 0.75, "no_spread": 0.1}
    drawn = step(3, 9)
    drawn = drawn.model_copy(update={"data": {**drawn.data, "metrics": metrics}})
    judged = Event(kind="validation", data={"step": 3, "loss": -0.5, "metrics": {"reward": 0.5}})
    view = TrainingView()
    view.feed(drawn)
    view.feed(judged)
    assert "reward 0.7500" in view.live()[0]
    assert "loss" not in "".join(view.live())
    assert view.validation() == "validation reward 0.5000 at step 3"
    data = {"question": "q", "reference": "", "answer": "a", "finished": True, "reward": 0.25}
    assert sample_lines(data)[1].strip() == "→ [0.25] a"


def test_waiting_stopping_and_requests_are_said() -> None:
    waiting = {
        "reason": "cannot write x: the disk is full",
        "folder": "x",
        "needed_bytes": 5_000_000,
        "free_bytes": 1000,
        "waited_seconds": 60.0,
        "minutes": 10.0,
    }
    text = shown(
        [
            Event(kind="waiting", data=waiting),
            Event(kind="asked", data={"action": "save", "step": 7}),
            Event(kind="stopped_early", data={"step": 9, "best_step": 4, "validations": 5}),
            Event(kind="a kind of a newer version", data={}),
        ]
    )
    assert "1 kB free; it needs 5 MB" in text
    assert "within 9m00s" in text
    assert "step 7: saved as asked" in text
    assert "step 9: no better for 5 validations (patience); stopped, step 4 is the best" in text
