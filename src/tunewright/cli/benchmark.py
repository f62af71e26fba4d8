"""``benchmark``: models on MMLU, C-Eval and CMMLU, from folders of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.benchmarks import BenchmarkConfig
from tunewright.core.errors import Interrupted
from tunewright.core.records import Model

_HOW = {
    "likelihood": "likeliest letter",
    "answer": "letter in the answer",
    "lm-eval": "as lm-eval asks",
}


@click.command(epilog="Example: tunewright benchmark nano latest --benchmark cmmlu=CMMLU")
@click.argument("models", nargs=-1, required=True)
@config_options(BenchmarkConfig, skip=("models",))
@common_options
def benchmark(common: Common, models: tuple[str, ...], values: dict[str, Any]) -> None:
    """Ask MODELS public benchmarks; the others are compared with the first one.

    MODELS are named as for evaluate. Answers are kept: a stopped command goes on where it was.
    """
    from tunewright.evaluation.benchmarks.asked import benchmark as ask
    from tunewright.evaluation.benchmarks.harness import harness
    from tunewright.evaluation.benchmarks.scores import adjusted, scores_json

    store = common.store()
    tuned = [store.find(Model, name) for name in models]
    names = tuple(one.name if one else name for one, name in zip(tuned, models, strict=True))
    config = BenchmarkConfig.build({**values, "models": names})
    with Terminal() as terminal:
        try:
            own = config.benchmarks.folders or not config.tasks
            found = scores_json(ask(config, store, terminal)) if own else {}
            found = adjusted({**found, **harness(config, store)})
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped before everything was asked; the answers so far are kept",
                "Run the same command again to go on.",
            ) from None
    for table in benchmark_tables(found, subjects=True):
        terminal.console.print(table, soft_wrap=False)
    common.finish({"models": list(names), "benchmarks": found})


def benchmark_tables(found: Mapping[str, Any], subjects: bool = False) -> list[Table]:
    """One table per benchmark: all questions, the categories, and the subjects where asked."""
    return [_table(one, subjects) for one in found.values()]


def _table(one: Mapping[str, Any], subjects: bool) -> Table:
    responders: list[Mapping[str, Any]] = [*one["responders"].values()]
    table = Table(title=_title(one), caption=_caption(one))
    for heading in ("", "rows", *one["responders"]):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    _add(table, "all questions", responders)
    means = [f"{100 * found['mean_of_subjects']:.1f} %" for found in responders]
    table.add_row("mean of subjects", "", *means)
    if one["against"]:
        table.add_row("difference (95 %)", "", "", *map(_against, one["against"].values()))
    for kind in ("categories", "subjects") if subjects else ("categories",):
        table.add_section()
        for name in responders[0][kind]:
            _add(table, name, [found[kind][name] for found in responders])
    return table


def _add(table: Table, label: str, tallies: Sequence[Mapping[str, Any]]) -> None:
    table.add_row(label, f"{tallies[0]['questions']:,}", *map(_share, tallies))


def _title(one: Mapping[str, Any]) -> str:
    how = _HOW[one["by"]]
    return f"{one['title']} ({one['split']}, {one['shots']} examples, {how})"


def _caption(one: Mapping[str, Any]) -> str | None:
    notes = []
    if one["shortened"]:
        notes.append(f"{one['shortened']} questions with fewer examples: the context is too short")
    if one["left_out"]:
        notes.append(f"{one['left_out']} left out: longer than the context")
    for name, found in one["responders"].items():
        if found["unread"]:
            notes.append(f"{name}: {found['unread']} answers name no letter")
    return "; ".join(notes) or None


def _share(tally: Mapping[str, Any]) -> str:
    low, high = tally["interval"]
    return f"{100 * tally['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _against(seen: Mapping[str, Any]) -> str:
    low, high = seen["interval"]
    return (
        f"{100 * seen['delta']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] p={seen['p_holm']:.3f}"
    )
