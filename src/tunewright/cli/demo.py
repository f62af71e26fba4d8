"""``demo``: the whole road, with a before/after table at its end."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tunewright.cli.display import Terminal, seconds
from tunewright.cli.options import Common, common_options
from tunewright.cli.stages import print_scores
from tunewright.core.records import Evaluation


@click.command()
@common_options
def demo(common: Common) -> None:
    """Turn the bundled legal spreadsheet into a better model and prove it, offline.

    Prepares the data, fine-tunes the bundled base nano with LoRA, compares base and tuned model
    on wordings that stand in no training row, and writes an HTML report.
    """
    from tunewright.demo import run_demo, samples

    store = common.store()
    with Terminal(language=common.settings().language) as terminal:
        result = run_demo(store, terminal)
    console = terminal.console
    _print_samples(samples(store, result.evaluation), console)
    print_scores(result.evaluation, console)
    report = str(store.folder(Evaluation, result.evaluation.id) / result.evaluation.report)
    _print_next_steps(result.model.name, report, result.seconds, console)
    common.finish(
        {"dataset": result.dataset.id, "model": result.model.name,
         "evaluation": result.evaluation.id, "before": result.scores(0),
         "after": result.scores(-1), "general": result.general(), "report": report,
         "seconds": round(result.seconds, 1)}
    )  # fmt: skip


def _print_samples(rows: list[dict[str, str]], console: Console) -> None:
    table = Table(title="The same question, before and after", show_lines=True)
    for heading in ("kind", "question", "before", "after"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["slice"], row["question"], row["before"], row["after"])
    console.print(table, markup=False, soft_wrap=False)


def _print_next_steps(model: str, report: str, took: float, console: Console) -> None:
    lines = (
        f"Done in {seconds(took)}. Report: {report}",
        "",
        "Talk to the model:      tunewright chat " + model,
        "Compare with the base:  tunewright chat " + model + " --compare nano",
        "Serve it (OpenAI API):  tunewright serve",
        "Your own spreadsheet:   tunewright prepare yours.csv   (columns are found by themselves)",
        "With a real base:       tunewright train --base Qwen/Qwen3-0.6B   (or a local folder,",
        "                        or modelscope:Qwen/Qwen3-0.6B)",
    )
    for line in lines:
        console.print(line, markup=False)
