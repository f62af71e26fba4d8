"""``generate``: questions from documents, texts from attributes, paraphrases of questions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.generation import (
    GenerateConfig,
    ParaphrasesConfig,
    QuestionsConfig,
    TextsConfig,
)
from tunewright.core.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from tunewright.data.generate.stage import Account, Job
    from tunewright.data.generate.words import Says

_yes = click.option("--yes", is_flag=True, help="Go ahead once the cost is shown, without asking.")
_dry_run = click.option(
    "--dry-run", is_flag=True, help="Show the cost and one whole prompt; send nothing."
)


@click.group(
    epilog="Each takes --json for scripts; `tunewright generate questions --help` lists its "
    "options, and so on."
)
def generate() -> None:
    """Make rows with a model behind any OpenAI-compatible endpoint.

    The cost is shown first. Answers are journaled beside the output as they come, so a stopped
    run goes on with the same command and pays for nothing twice. The key comes from the variable
    TUNEWRIGHT_ENDPOINT_KEY or from --key-file.
    """


@generate.command(
    epilog="Example: tunewright generate questions handbook.md --endpoint http://127.0.0.1:8000/v1 "
    "--model nano"
)
@click.argument("files", nargs=-1)
@config_options(QuestionsConfig, skip=("files",))
@_yes
@_dry_run
@common_options
def questions(
    common: Common, files: tuple[str, ...], yes: bool, dry_run: bool, values: dict[str, Any]
) -> None:
    """Questions and answers from documents, each quoting its source.

    FILES are Markdown and text files or folders of them. A quote that does not stand in its
    passage takes its row with it.
    """
    values = {**values, **({"files": files} if files else {})}
    _generate(common, QuestionsConfig.build(values), yes, dry_run)


@generate.command(
    epilog="Example: tunewright generate texts --attribute topic=rent,work --attribute "
    "style=formal,casual --template 'Write a {style} letter about {topic}.' "
    "--endpoint https://api.example.com/v1 --model gpt"
)
@click.argument("table", required=False)
@config_options(TextsConfig, skip=("table",))
@_yes
@_dry_run
@common_options
def texts(
    common: Common, table: str | None, yes: bool, dry_run: bool, values: dict[str, Any]
) -> None:
    """Texts from attributes: rows of TABLE, combinations of --attribute, or both crossed."""
    values = {**values, **({"table": table} if table else {})}
    _generate(common, TextsConfig.build(values), yes, dry_run)


@generate.command(
    epilog="Example: tunewright generate paraphrases latest --split test --n 5 "
    "--endpoint http://127.0.0.1:8000/v1 --model nano"
)
@click.argument("source", required=False)
@config_options(ParaphrasesConfig, skip=("source",))
@_yes
@_dry_run
@common_options
def paraphrases(
    common: Common, source: str | None, yes: bool, dry_run: bool, values: dict[str, Any]
) -> None:
    """Questions of SOURCE (a dataset or a data file) in other words, as a test set.

    The answers stay. A paraphrase that repeats an existing question is left out.
    """
    values = {**values, **({"source": source} if source else {})}
    _generate(common, ParaphrasesConfig.build(values), yes, dry_run)


def _generate(common: Common, config: GenerateConfig, yes: bool, dry_run: bool) -> None:
    from tunewright.data.generate.stage import generate as run
    from tunewright.data.generate.stage import plan
    from tunewright.data.generate.words import Says

    store = common.store()
    says = Says(common.settings().language)
    job = plan(config, store)
    terminal = Terminal()
    _say(terminal, says.plan(*_facts(job)))
    if dry_run:
        _say(terminal, says.prompt(job.first_prompt))
        common.finish({"output": None, "estimate": job.estimate.json_dict()})
        return
    if job.estimate.calls and not yes:
        _confirm(says)
    with terminal:
        account = run(job, store, terminal)
    _say(terminal, says.account(account))
    common.finish(_result(account))
    _end(account)


def _facts(job: Job) -> tuple[Any, ...]:
    host = job.address.url.netloc.decode()
    return job.estimate, job.config.model, host, str(job.output), dict(job.work.skipped)


def _say(terminal: Terminal, lines: Iterable[str]) -> None:
    for line in lines:
        terminal.say(line)


def _confirm(says: Says) -> None:
    """Money is spent only after a yes; where nobody can be asked, --yes must say it."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "this would send requests that may cost money, and nobody is there to be asked",
            "Add --yes to go ahead, or --dry-run to see the cost only.",
        )
    if not click.confirm(says.text("confirm"), default=True, err=True):
        raise click.Abort


def _result(account: Account) -> dict[str, Any]:
    return {
        "output": str(account.output) if account.output else None,
        "rejects": str(account.rejects) if account.rejects else None,
        "complete": account.how == "done" and account.error is None,
        "asked": account.asked,
        "answered": account.replies,
        "accepted": account.accepted,
        "rejected": dict(account.rejected),
        "calls": account.calls,
        "prompt_tokens": account.prompt_tokens,
        "completion_tokens": account.completion_tokens,
        "cost": account.cost,
        "seconds": account.seconds,
    }


def _end(account: Account) -> None:
    """The exit code: 0 when everything was asked and something accepted."""
    if account.how == "interrupted":
        raise Interrupted(
            "stopped before everything was asked",
            "Run the same command again to go on; nothing is paid for twice.",
        )
    if account.error is not None:
        raise account.error
    if account.how != "done" or not account.accepted:
        sys.exit(1)
