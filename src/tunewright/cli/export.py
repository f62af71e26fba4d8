"""``export`` and ``parity``: models as files for other programs, and served, proven equal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from tunewright.cli.display import Terminal
from tunewright.cli.live import inert
from tunewright.cli.options import Common, common_options, config_options
from tunewright.cli.units import size
from tunewright.config.export import ExportConfig, ServedConfig
from tunewright.core.errors import Interrupted

if TYPE_CHECKING:
    from tunewright.export.formats import Exported


@click.command(epilog="Example: tunewright export latest --to merged --output legal-expert")
@click.argument("model", default="latest")
@config_options(ExportConfig, skip=("model",))
@common_options
def export(common: Common, model: str, values: dict[str, Any]) -> None:
    """Write MODEL as files for other programs, and prove that they answer as it does.

    The export is read back and asked locked test prompts of the model's dataset; logits, tokens,
    endings and scores are compared with those of the tuned model. One that differs by more than
    rounding keeps '.failed' in its name, and the exit code is 1. An interrupted export leaves
    nothing half-made.
    """
    from tunewright.export.export import export as make

    config = ExportConfig.build({**values, "model": model})
    with Terminal() as terminal:
        try:
            made = make(config, common.store(), terminal)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; nothing half-made is left", "Run the same command again."
            ) from None
        _print(made, terminal.console)
    common.finish(
        {
            "export": made.record,
            "artifact": str(made.folder),
            "format": made.format,
            "bytes": made.bytes,
            "parity": made.parity,
            "run": made.plan.runs,
        }
    )
    if not made.passed:
        sys.exit(1)


def _print(made: Exported, console: Console) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False)

    say(f"{made.folder} ({size(made.bytes)}; {made.record})")
    if made.parity is None:
        say("  not compared with the tuned model (--no-parity-check)")
    else:
        for line in _parity_lines(made.parity):
            say(f"  {line}")
    for note in made.plan.notes:
        say(f"  {note}")
    if made.passed and made.plan.runs:
        say("Run it, in that folder:")
        for command in made.plan.runs.values():
            say(f"  {command}")


def _parity_lines(parity: dict[str, Any]) -> list[str]:
    tokens, answers = parity["tokens"], parity["answers"]
    lines = [
        f"{'parity' if parity['passed'] else 'PARITY FAILED'} on {parity['prompts']}:",
        f"  logits within {parity['logits']['largest_difference']:.2e}, divergence"
        f" {parity['logits']['mean_divergence']:.2e} nats",
        f"  {tokens['agreement']:.2%} of {tokens['compared']} tokens agree,"
        f" {answers['identical']} of {answers['asked']} answers identical,"
        f" {answers['same_ending']} end the same way",
    ]
    for metric, found in parity["scores"].items():
        low, high = found["interval"]
        lines.append(
            f"  {metric} {found['tuned']:.3f} → {found['export']:.3f}, difference"
            f" {found['delta']:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    lines += [f"  {failure}" for failure in parity["failures"]]
    if where := parity.get("first_difference"):
        lines.append(
            f"  first at prompt {where['prompt']} ({where['question']!r}), token {where['token']}:"
            f" {where['expected']!r} became {where['found']!r}; {where['layer']} is off by"
            f" {where['relative_error']:.1e}"
        )
    return lines


@click.command(epilog="Example: tunewright parity latest --endpoint http://127.0.0.1:8000/v1")
@click.argument("model", default="latest")
@config_options(ServedConfig, skip=("model",))
@common_options
def parity(common: Common, model: str, values: dict[str, Any]) -> None:
    """Compare MODEL with an endpoint that serves it: vLLM, Ollama, llama-server, or our own.

    Both are asked locked test prompts of the model's dataset, greedily. The prompts' token ids, or
    their numbers where an endpoint tells no more, must be equal, and texts and endings but for
    rounding. The exit code is 1 when they are not.
    """
    from tunewright.export.served import compare_served

    config = ServedConfig.build({**values, "model": model})
    with Terminal() as terminal:
        report = compare_served(config, common.store(), terminal)
        answers = report["answers"]
        verdict = "parity" if report["passed"] else "PARITY FAILED"
        for line in (
            f"{verdict} of {report['model']} and {report['endpoint']} on {report['prompts']}:",
            f"  the model: {report['reference']}",
            f"  {_prompts_line(answers)}, {answers['identical']} of {answers['asked']} answers"
            f" identical ({answers['within_rounding']} more but for rounding),"
            f" {answers['same_ending']} end the same way",
            *(f"  {failure}" for failure in report["failures"]),
            *_difference(report.get("first_difference")),
        ):
            terminal.say(line)
    common.finish(report)
    if not report["passed"]:
        sys.exit(1)


def _difference(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    where = f" at token {found['token']}" if "token" in found else ""
    where = " in its own tokens" if found.get("where") == "prompt" else where
    return [
        f"  first at prompt {found['prompt']}{where}: {inert(found['expected'], 80)!r} became"
        f" {inert(found['found'], 80)!r}"
    ]


def _prompts_line(answers: dict[str, Any]) -> str:
    if answers["prompt_ids_told"]:
        return f"{answers['same_prompt_ids']} of {answers['prompt_ids_told']} prompts are the same"
    told = answers["prompt_tokens_told"]
    return f"{answers['same_prompt_tokens']} of {told} prompts have as many tokens"
