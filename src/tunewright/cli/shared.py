"""Options that every command shares; they may stand before the command as well as after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

_OPTIONS = (
    click.option("--home", type=click.Path(path_type=Path), help="Home folder (~/.tunewright)."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
    click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of reports."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
)


def shared_options(command: Command) -> Command:
    """Add --home, --json, --lang and --debug."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def laid_over(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given after the command over what was given before it."""
    before: Mapping[str, Any] = click.get_current_context().find_root().obj or {}
    return {name: value or before.get(name, value) for name, value in given.items()}
