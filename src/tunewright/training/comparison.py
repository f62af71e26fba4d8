"""Several runs side by side: what they were told, how they went. Loads no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright import __version__
from tunewright.core.curves import Points
from tunewright.core.errors import InputError
from tunewright.core.nested import flat
from tunewright.core.records import Run
from tunewright.core.store import Store
from tunewright.training.charts import overlay
from tunewright.training.history import read_history, run_is_alive
from tunewright.training.options import usual
from tunewright.training.texts import Texts

_TEMPLATE = "compare.html.j2"
_MOST = 8  # as many colours as can be told apart
_SMOOTHING = 0.9


@dataclass(frozen=True)
class Course:
    """One run as a column of the comparison. What was not recorded is None.

    Attributes:
        run: its record.
        state: the record's, or ``interrupted`` when no process is left.
        train: smoothed training loss by step.
        valid: validation loss by step.
        facts: numbers by name, see ``FACTS``.
    """

    run: Run
    state: str
    train: Points
    valid: Points
    facts: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe with dotted names; what an older version did not have is as usual."""
        return {**usual(), **flat(self.run.config)}


FACTS = (
    "steps",
    "train_loss",
    "valid_loss",
    "best_loss",
    "best_step",
    "token_accuracy",
    "tokens",
    "tokens_per_second",
    "memory",
)
"""Names of the facts, in the order in which they are shown."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, in the order in which they were named."""

    courses: tuple[Course, ...]

    @property
    def settings(self) -> dict[str, list[Any]]:
        """The options that differ: name → one value per run."""
        columns = [course.settings for course in self.courses]
        names = sorted({name for column in columns for name in column})
        rows = {name: [column.get(name) for column in columns] for name in names}
        return {name: row for name, row in rows.items() if any(one != row[0] for one in row)}

    @property
    def best(self) -> Course | None:
        """The run of the lowest validation loss, if the losses can be compared at all."""
        if self.caveat is not None:
            return None
        return min(self._validated, key=lambda course: course.facts["best_loss"])

    @property
    def caveat(self) -> str | None:
        """Why no run can be called the best by its loss: a key of ``texts``; or None."""
        if len({course.run.config.get("method") for course in self.courses}) > 1:
            return "compare.methods"
        if len({course.run.dataset for course in self.courses}) > 1:
            return "compare.apart"
        return None if self._validated else "compare.unwatched"

    @property
    def _validated(self) -> list[Course]:
        return [course for course in self.courses if course.facts["best_loss"] is not None]

    def sentence(self, texts: Texts) -> str:
        """Which run is the best, or why nobody can say."""
        best = self.best
        if best is None:
            return texts(self.caveat or "compare.unwatched")
        loss = f"{best.facts['best_loss']:.4f}"
        return texts("compare.best", run=best.run.id, loss=loss, step=best.facts["best_step"])

    def data(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "runs": [
                {
                    "run": course.run.id,
                    "state": course.state,
                    **course.facts,
                    "train_curve": [list(point) for point in course.train],
                    "valid_curve": [list(point) for point in course.valid],
                }
                for course in self.courses
            ],
            "settings": self.settings,
            "best": self.best.run.id if self.best else None,
        }


def compare(store: Store, references: Sequence[str]) -> Comparison:
    """Put runs side by side.

    Raises:
        InputError: an unknown run, fewer than two different ones, or too many.
    """
    runs = list({run.id: run for run in (store.get(Run, name) for name in references)}.values())
    if not 2 <= len(runs) <= _MOST:
        raise InputError(
            f"a comparison takes two to {_MOST} different runs (given: {len(runs)})",
            "tunewright runs list shows them.",
        )
    return Comparison(tuple(_course(run, store.folder(Run, run.id)) for run in runs))


def _course(run: Run, folder: Path) -> Course:
    steps, validations = read_history(folder), read_history(folder, "validation")
    lost = run.state == "running" and not run_is_alive(folder)
    return Course(
        run=run,
        state="interrupted" if lost else run.state,
        train=_smoothed(steps),
        valid=[(one["step"], one["loss"]) for one in validations],
        facts=_facts(run, steps, validations),
    )


def _facts(
    run: Run, steps: Sequence[dict[str, Any]], validations: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    last: dict[str, Any] = steps[-1] if steps else {}
    best = min(validations, key=lambda one: float(one["loss"]), default={})
    train = _smoothed(steps)
    return {
        "steps": last.get("step", 0),
        "planned_steps": last.get("steps"),
        "train_loss": train[-1][1] if train else None,
        "valid_loss": validations[-1]["loss"] if validations else None,
        "best_loss": best.get("loss"),
        "best_step": best.get("step"),
        "token_accuracy": best.get("metrics", {}).get("token_accuracy"),
        "tokens": last.get("tokens", 0),
        "tokens_per_second": run.summary.get("tokens_per_second", last.get("tokens_per_second")),
        "memory": run.summary.get("peak_memory_bytes", last.get("memory_bytes")),
    }


def _smoothed(steps: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """The smoothed losses; made again for runs whose events do not hold them."""
    points: list[tuple[int, float]] = []
    mean = 0.0
    for number, event in enumerate(steps, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * event["loss"]
        smoothed = event.get("smoothed_loss", mean / (1 - _SMOOTHING**number))
        points.append((event["step"], smoothed))
    return points


def shown(name: str, facts: dict[str, Any]) -> str:
    """A fact as people read it; empty when it is not known."""
    value = facts[name]
    if value is None:
        return ""
    if name == "steps":
        planned = facts["planned_steps"]
        return f"{value:,} / {planned:,}" if planned else f"{value:,}"
    return _SHOWN[name].format(value * _UNITS.get(name, 1))


_UNITS = {"token_accuracy": 100, "memory": 1e-9}
_SHOWN = {
    "train_loss": "{:.4f}",
    "valid_loss": "{:.4f}",
    "best_loss": "{:.4f}",
    "best_step": "{:,}",
    "token_accuracy": "{:.1f}%",
    "tokens": "{:,}",
    "tokens_per_second": "{:,.0f}",
    "memory": "{:.2f} GB",
}


def setting(value: Any) -> str:
    """An option's value as people read it."""
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def page(comparison: Comparison, texts: Texts) -> str:
    """One self-contained HTML page. Whatever comes from users is escaped; nothing is fetched."""
    environment = Environment(
        loader=PackageLoader("tunewright.training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    courses = comparison.courses
    charts = [
        (title, overlay(curves, title, texts("compare.step")))
        for title, curves in (
            (texts("compare.curve.validation"), [course.valid for course in courses]),
            (texts("compare.curve.train"), [course.train for course in courses]),
        )
        if any(curves)
    ]
    return environment.get_template(_TEMPLATE).render(
        t=texts,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        version=__version__,
        sentence=comparison.sentence(texts),
        best=comparison.best,
        courses=courses,
        charts=charts,
        facts=[
            (texts(f"fact.{name}"), [shown(name, course.facts) for course in courses])
            for name in FACTS
        ],
        states=[texts(f"state.{course.state}") for course in courses],
        settings={name: list(map(setting, row)) for name, row in comparison.settings.items()},
    )
