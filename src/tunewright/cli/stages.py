"""``train`` and ``evaluate``."""

from __future__ import annotations

import sys
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunewright import jobs
from tunewright.cli.benchmark import benchmark_tables
from tunewright.cli.display import Terminal, seconds, size
from tunewright.cli.legacy import modern
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.judging import BlindConfig
from tunewright.config.training import REWARDED, TrainConfig
from tunewright.core.errors import ConfigError, InputError, Interrupted
from tunewright.core.records import Evaluation, Model, Record, Run
from tunewright.core.store import Store

_MOST_LABELS = 10  # that a confusion matrix shows on a terminal


@click.command(epilog="Example: tunewright train --dataset latest --base nano --set lora.rank=8")
@config_options(TrainConfig)
@click.option("--resume", metavar="RUN", help="Go on with this run; its own settings apply.")
@common_options
def train(common: Common, resume: str | None, values: dict[str, Any]) -> None:
    """Fine-tune a base, or go on with a tuned model, on a dataset.

    Checkpoints survive a kill at any moment; Ctrl-C saves one and says how to continue. Recipes of
    ChatGLM3's own script (lora.yaml and the like) run too; what each option became is said.
    """
    store = common.store()
    with Terminal(language=common.settings().language) as terminal:
        if resume is not None:
            if values:
                raise ConfigError(
                    f"--resume takes no other training options (given: {', '.join(values)})",
                    "A run goes on with the settings it was started with.",
                )
            record = jobs.resume(resume, store, terminal)
        else:
            values = modern(values, store, terminal)
            values.setdefault("dataset", "latest")
            record = jobs.run(TrainConfig.build(values), store, terminal)
    if not isinstance(record, Model):
        raise TypeError("train returned no model")
    run = store.get(Run, record.run)
    _print_run(record, run, terminal.console)
    common.finish({"run": run.id, "model": record.name, **run.summary})


def _print_run(model: Model, run: Run, console: Console) -> None:
    done = run.summary
    console.print(f"Model {model.name} (best checkpoint: step {model.step})", markup=False)
    console.print(
        f"  {done['steps']} steps, {done['trained_tokens']:,} tokens at "
        f"{done['tokens_per_second']:.0f} tok/s, first step after "
        f"{seconds(done['first_step_seconds'])}, peak memory {size(done['peak_memory_bytes'])}"
    )
    console.print(f"  {_result(run)}")
    if model.method == "reward":
        console.print("  It gives answers a number; reinforcement learning can use it as a grader.")
        return
    console.print(
        f"Next: tunewright evaluate --models {run.start or run.base} --models {model.name}",
        markup=False,
    )
    console.print(f"      tunewright chat {model.name}", markup=False)


def _result(run: Run) -> str:
    """The losses that a run ended with, or the reward of one that learns from rewards."""
    trained, valid = run.summary["train_loss"], run.summary.get("valid_loss")
    if valid is not None and run.config["method"] in REWARDED:
        return f"best validation reward {-valid:.4f}"
    return f"loss: training {trained:.4f}" + ("" if valid is None else f", validation {valid:.4f}")


@click.command(epilog="Example: tunewright evaluate --models nano --models latest")
@config_options(EvaluateConfig)
@click.option(
    "--blind",
    "votes_on",
    type=click.IntRange(1, 2000),
    metavar="N",
    help="Also make a session in which people vote on N of the questions (tunewright blind).",
)
@common_options
def evaluate(common: Common, votes_on: int | None, values: dict[str, Any]) -> None:
    """Ask models the same locked test questions and say which is better.

    Without --models the newest tuned model is compared with its base. Models are bases, tuned
    models, checkpoints (RUN@STEP) and models behind an endpoint (openai:MODEL@URL), each also with
    examples from the training rows (nano+5shot). With --checkpoints RUN the run's best checkpoint
    is chosen instead. Answers are kept: a stopped evaluation goes on with the same command. The
    exit code is 1 when a gate says no.
    """
    store = common.store()
    values = _with_defaults(values, store)
    with Terminal() as terminal:
        record = _evaluated(EvaluateConfig.build(values), store, terminal)
    if not isinstance(record, Evaluation):
        raise TypeError("evaluate returned no evaluation")
    report = str(store.folder(Evaluation, record.id) / record.report)
    print_scores(record, terminal.console)
    terminal.console.print(f"Report: {report}", markup=False)
    blind = {} if votes_on is None else {"blind": _blind(record, votes_on, store, terminal)}
    common.finish(
        {**blind, "evaluation": record.id, "scores": record.scores, "deltas": record.deltas,
         "intervals": record.intervals, "general": record.general, "classes": record.classes,
         "benchmarks": record.benchmarks, "gates": record.gates,
         "verdict": record.verdict, "report": report}
    )  # fmt: skip
    if record.verdict == "fail":
        sys.exit(1)


def _blind(record: Evaluation, questions: int, store: Store, terminal: Terminal) -> str | None:
    """The id of a session made from the answers; None where there is nothing to vote on."""
    from tunewright.cli.blind import make_session, print_session

    try:
        session = make_session(BlindConfig(evaluation=record.id, questions=questions), store)
    except InputError as error:  # the evaluation itself is done and stays
        terminal.say(f"No blind session: {error.message}")
        return None
    print_session(session, store)
    return session.id


def _evaluated(config: EvaluateConfig, store: Store, terminal: Terminal) -> Record:
    try:
        return jobs.run(config, store, terminal)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped before everything was asked; the answers so far are kept",
            "Run the same command again to go on.",
        ) from None


def _with_defaults(values: dict[str, Any], store: Store) -> dict[str, Any]:
    """The newest tuned model against its base, on the dataset that it was trained from."""
    if values.get("checkpoints"):
        return {"dataset": store.get(Run, values["checkpoints"]).dataset, **values}
    if not values.get("models"):
        newest = store.get(Model, "latest")
        values = {**values, "models": (newest.base, newest.name)}
    names = [store.find(Model, name) for name in values["models"]]
    tuned = [model for model in names if model is not None]
    values = {
        **values,
        "models": tuple(m.name if m else n for m, n in zip(names, values["models"], strict=True)),
    }
    if "dataset" not in values:
        run = store.find(Run, tuned[-1].run) if tuned else None
        values["dataset"] = run.dataset if run else "latest"
    return values


def print_scores(record: Evaluation, console: Console) -> None:
    """The before/after table, the gates and the verdict."""
    from tunewright.evaluation.texts import score_text

    first = record.models[0]
    table = Table(title=f"Evaluation {record.id}")
    for heading in ("metric", "rows", *record.models, "difference (95 %)"):
        justify: Literal["left", "right"] = "left" if heading in ("metric", "rows") else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for metric, slices in record.scores[first].items():
        # Slices of the first metric only: the report has the others.
        for name in slices if metric == next(iter(record.scores[first])) else ["all"]:
            values = [record.scores[model].get(metric, {}).get(name) for model in record.models]
            scores = [score_text(metric, value) for value in values]
            table.add_row(metric, name, *scores, _difference(record, metric, name))
    if record.general:
        shares = [percent(record.general[model]) for model in record.models]
        table.add_row("general probe", "all", *shares, "")
    console.print(table, soft_wrap=False)
    for shown in class_tables(record):
        console.print(shown, soft_wrap=False)
    for shown in benchmark_tables(record.benchmarks):
        console.print(shown, soft_wrap=False)
    for name, gate in record.gates.items():
        mark = {True: "pass", False: "FAIL", None: "open"}[gate["passed"]]
        console.print(f"  {mark}  {name}: {gate['evidence']}", markup=False)
        if gate["passed"] is not True and gate["prescription"]:
            console.print(f"        {gate['prescription']}", markup=False)
    console.print(f"Verdict: {record.verdict}")


def class_tables(record: Evaluation) -> list[Table]:
    """Accuracy and macro-F1 of answers that are classes, and the last model's confusion matrix."""
    if not record.classes:
        return []
    labels, found = record.classes["labels"], record.classes["responders"]
    scores = Table(title=f"{len(labels)} classes")
    for heading in ("", *found):
        scores.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        scores.add_row(title, *(percent(one[name]) for one in found.values()))
    last = record.models[-1]
    if len(labels) > _MOST_LABELS:
        return [scores]
    matrix = Table(title=f"{last}: true class by row, answer by column")
    matrix.add_column("", overflow="fold")
    strays = any(row[-1] for row in found[last]["matrix"])
    for heading in (*labels, *(["no label"] if strays else [])):
        matrix.add_column(Text(heading), justify="right", overflow="fold")
    for label, row in zip(labels, found[last]["matrix"], strict=True):
        counts = row if strays else row[:-1]
        matrix.add_row(Text(label), *(str(count) if count else "·" for count in counts))
    return [scores, matrix]


def _difference(record: Evaluation, metric: str, name: str) -> str:
    from tunewright.evaluation.texts import delta_text

    last = record.models[-1]
    delta = record.deltas.get(last, {}).get(metric, {}).get(name)
    if delta is None:
        return ""
    low, high = record.intervals[last][metric][name]
    return f"{delta_text(metric, delta)} [{delta_text(metric, low)}, {delta_text(metric, high)}]"


def percent(share: float) -> str:
    """``0.912`` → ``91.2 %``."""
    return f"{100 * share:.1f} %"
