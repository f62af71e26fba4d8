"""``runs``: list, show and delete them, control one that trains, put several side by side."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tunewright.cli.live import inert
from tunewright.cli.options import Common, common_options
from tunewright.cli.records import runs
from tunewright.core.curves import Points
from tunewright.core.errors import InputError
from tunewright.core.files import write_text_atomic
from tunewright.core.records import Run
from tunewright.training.charts import Scale, sparkline
from tunewright.training.comparison import FACTS, Comparison, compare, page, setting, shown
from tunewright.training.control import Action, ask, follow
from tunewright.training.texts import Texts

__all__ = ["runs"]

_COLUMNS = 48  # of a sparkline
_PAGE = "compare.html"
_HELP: dict[Action, str] = {
    "pause": "Save a run that trains now and end its process; it can be resumed.",
    "save": "Save a run that trains now; it goes on.",
    "stop": "End a run that trains now; its best checkpoint becomes the model.",
}
_DONE: dict[Action, str] = {
    "pause": "Paused. Go on with it: tunewright train --resume {run}",
    "save": "Saved; it goes on.",
    "stop": "Stopped; its best checkpoint becomes the model.",
}


def _control(action: Action) -> None:
    @runs.command(action, help=_HELP[action])
    @click.argument("reference", metavar="RUN", default="latest")
    @click.option("--wait", default=60.0, show_default=True, type=click.FloatRange(min=0),
                  help="Seconds to wait until it is done; 0 only asks.")  # fmt: skip
    @common_options
    def control(common: Common, reference: str, wait: float) -> None:
        store = common.store()
        run = store.get(Run, reference)
        folder = store.folder(Run, run.id)
        ask(folder, action)
        outcome = follow(folder, wait)
        texts = {
            "done": _DONE[action],
            "ended": "The run ended before it came to that: tunewright runs show {run}",
            "waiting": f"Asked; it will {action} after the step it is in.",
        }
        click.echo(texts[outcome].format(run=run.id), err=True)
        common.finish({"run": run.id, "asked": action, "outcome": outcome})


for _action in _HELP:
    _control(_action)


@runs.command("compare")
@click.argument("references", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              help="HTML page to write (in the first run's folder when not given).")  # fmt: skip
@common_options
def compare_runs(common: Common, references: tuple[str, ...], output: Path | None) -> None:
    """Put runs side by side: settings that differ, losses, speed, curves."""
    store = common.store()
    comparison = compare(store, references)
    texts = Texts(common.settings().language)
    target = output or store.folder(Run, comparison.courses[0].run.id) / _PAGE
    if not target.parent.is_dir():
        raise InputError(f"no such folder: {target.parent}", "Choose another --output.")
    write_text_atomic(target, page(comparison, texts))
    _print(comparison, texts, Console(stderr=True, emoji=False))
    click.echo(f"{target}", err=True)
    common.finish({**comparison.data(), "page": str(target)})


def _print(comparison: Comparison, texts: Texts, console: Console) -> None:
    courses = comparison.courses
    table = Table("", *(course.run.id for course in courses))
    table.add_row(texts("fact.state"), *(texts(f"state.{course.state}") for course in courses))
    for name in FACTS:
        cells = [shown(name, course.facts) for course in courses]
        if any(cells):
            table.add_row(texts(f"fact.{name}"), *cells)
    if comparison.settings:
        table.add_section()
    for name, row in comparison.settings.items():
        table.add_row(name, *(inert(setting(value), 40) for value in row))
    console.print(table, markup=False)
    for title, curves in (
        ("compare.curve.train", [course.train for course in courses]),
        ("compare.curve.validation", [course.valid for course in courses]),
    ):
        _print_curves(texts(title), comparison, curves, console)
    console.print(comparison.sentence(texts), markup=False)


def _print_curves(
    title: str, comparison: Comparison, curves: list[Points], console: Console
) -> None:
    if not any(curves):
        return
    scale = Scale.over(curves)
    last = max(points[-1][0] for points in curves if points)
    console.print(title, markup=False)
    for course, points in zip(comparison.courses, curves, strict=True):
        ends = f"{points[0][1]:.3f} → {points[-1][1]:.3f}" if points else ""
        line = f"  {course.run.id}  {sparkline(points, scale, _COLUMNS, last)} {ends}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
