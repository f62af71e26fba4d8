"""``usage``: who asked how much of the server."""

from __future__ import annotations

import click
from rich.console import Console

from tunewright.cli.options import Common, common_options
from tunewright.cli.tables import listing
from tunewright.core.api_keys import keys_of
from tunewright.core.durations import parse_duration
from tunewright.core.usage import read_usage


@click.command()
@click.option(
    "--by", type=click.Choice(["key", "model"]), default="key", help="What to sum by [key]."
)
@click.option("--since", default="7d", help="How far back, in whole hours: 24h, 7d, 4w [7d].")
@common_options
def usage(common: Common, by: str, since: str) -> None:
    """Requests, tokens and errors of `tunewright serve`, by API key or by model."""
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    store = common.store()
    rows = read_usage(store, by, seconds)
    names = {key.id: key.name for key in keys_of(store)}
    table = listing(by, "requests", "prompt tokens", "completion tokens", "errors")
    for row in rows:
        whose = names.get(row[by], row[by]) or ("without a key" if by == "key" else "no model")
        sums = ("requests", "prompt_tokens", "completion_tokens", "errors")
        table.add_row(whose, *(f"{row[name]:,}" for name in sums))
    Console(stderr=True, emoji=False).print(
        table if rows else f"Nothing was asked for in the last {since}."
    )
    common.finish({"by": by, "seconds": seconds, "usage": list(rows)})
