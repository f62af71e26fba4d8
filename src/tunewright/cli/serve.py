"""``serve``: the OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

import click

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.serving import ServeConfig
from tunewright.core.events import Event


@click.command(
    epilog="Examples: tunewright serve --port 8000; tunewright serve --host 0.0.0.0"
    " --limits-requests-per-minute 600. See docs/keys-and-limits.md."
)
@config_options(ServeConfig, skip=("upstreams",))
@common_options
def serve(common: Common, values: dict[str, Any]) -> None:
    """Serve every model of the store at /v1 in OpenAI's protocol, until Ctrl-C.

    This machine alone is served without API keys, until one is made with `tunewright keys create`.
    Where other machines can connect a key is always needed; a first one is made and printed once.
    """
    from tunewright.api.serve import serve as run_server
    from tunewright.core.logs import note

    config = ServeConfig.build(values)
    terminal = Terminal()

    def listen(event: Event) -> None:
        if event.kind == "serving":
            first = event.data["first_key"]
            if config.log_format == "json":
                note("serving", {"url": event.data["url"], "made_first_key": bool(first)})
            else:
                terminal.say(f"Serving at {event.data['url']}/v1  (Ctrl-C stops)")
                if first:
                    terminal.say("A first API key was made; it is shown only now, on stdout.")
            if first and not common.as_json:
                click.echo(first)
            common.finish({k: value for k, value in event.data.items() if value is not None})
        else:
            terminal(event)

    run_server(config, common.store(), listen)
