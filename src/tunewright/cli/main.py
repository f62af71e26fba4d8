"""The ``tunewright`` command: a table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any, NoReturn

import click

from tunewright import __version__
from tunewright.cli.shared import shared_options
from tunewright.core.errors import TunewrightError
from tunewright.core.settings import set_process_defaults

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "The whole road on bundled data and a bundled base, offline, in minutes."),
    "prepare": ("prepare", "Any data file → a clean, split dataset with a report."),
    "generate": ("generate", "Rows from documents, attributes or questions, by any model's API."),
    "advise": ("advise", "Fine-tune, retrieve or both; the recipe, and what it takes here."),
    "train": ("stages", "Dataset + base → a tuned model; --resume goes on with a stopped run."),
    "evaluate": ("stages", "Models side by side on a locked test set, with a verdict."),
    "benchmark": ("benchmark", "Models on MMLU, C-Eval and CMMLU, from folders of their files."),
    "blind": ("blind", "People vote on answers without knowing whose they are."),
    "chat": ("chat", "Talk to a base, a tuned model or a deployment; --compare two."),
    "export": ("export", "A tuned model as files for other programs, proven equal."),
    "parity": ("export", "Whether an endpoint that serves a model answers as the model does."),
    "serve": ("serve", "An OpenAI-compatible API for every model of the store."),
    "datasets": ("records", "List, show or delete datasets."),
    "runs": ("runs", "List, show, pause, save, stop or compare training runs."),
    "models": ("records", "List, show or delete tuned models."),
    "evaluations": ("records", "List, show or delete evaluations."),
    "exports": ("records", "List, show or delete exports."),
    "deploy": ("deploy", "A model under a public name, with fallbacks, limits and a canary."),
    "deployments": ("deploy", "List, show, switch, promote, roll back or delete deployments."),
    "keys": ("keys", "Create, list, show, change or revoke API keys of the server."),
    "usage": ("usage", "Who asked the server for how much."),
    "doctor": ("doctor", "What this machine can do and what is missing."),
}
"""Command → (module of this package that defines it, one-line help)."""


class LazyGroup(click.Group):
    """Lists the commands from the table and imports one when it is called.

    So ``tunewright --help`` answers at once and loads neither torch nor the database.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tunewright.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `tunewright demo`. Every command explains itself with --help.",
)
@click.version_option(__version__, prog_name="tunewright")
@shared_options
@click.pass_context
def cli(ctx: click.Context, home: Any, as_json: bool, lang: str | None, debug: bool) -> None:
    """From a spreadsheet to a served model, with evidence."""
    ctx.obj = {"home": home, "as_json": as_json, "language": lang}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed or a gate said no, 2 wrong input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    set_process_defaults()
    try:
        code = cli.main(arguments, prog_name="tunewright", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("Stopped.", err=True)
        code = 130
    except TunewrightError as error:
        if debug:
            traceback.print_exc()
        click.secho(f"Error: {error.message}", fg="red", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        code = error.exit_code
    except Exception as error:
        # The last boundary: without --debug users never see a traceback.
        if debug:
            raise
        click.secho(f"Error: unexpected {type(error).__name__}: {error}", fg="red", err=True)
        click.echo("This is a fault of Tunewright; --debug shows where.", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
