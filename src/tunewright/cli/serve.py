"""``serve``: the OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

import click

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.serving import ServeConfig
from tunewright.core.events import Event


@click.command(epilog="Example: tunewright serve --port 8000")
@config_options(ServeConfig)
@common_options
def serve(common: Common, values: dict[str, Any]) -> None:
    """Serve every model of the store at /v1 in OpenAI's protocol, until Ctrl-C."""
    from tunewright.api.serve import serve as run_server

    config = ServeConfig.build(values)
    terminal = Terminal()

    def listen(event: Event) -> None:
        if event.kind == "serving":
            terminal.say(f"Serving at {event.data['url']}/v1  (Ctrl-C stops)")
            common.finish({"url": event.data["url"]})
        else:
            terminal(event)

    run_server(config, common.store(), listen)
