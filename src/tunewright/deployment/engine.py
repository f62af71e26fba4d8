"""The engine process: one base model, generating for the gateway that started it.

Its parent writes a token to its stdin, keeps that pipe open, and reads one line of JSON from its
stdout: ``{port, base_digest, renderer_hash}`` or ``{error}``. When the pipe closes, it leaves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path

import uvicorn

from tunewright import __version__
from tunewright.core.errors import TunewrightError
from tunewright.core.logs import logging_to_stderr, note
from tunewright.core.parents import leave_with_parent, read_secret
from tunewright.core.settings import read_settings, set_process_defaults
from tunewright.core.store import Store
from tunewright.deployment.engine_app import engine_app
from tunewright.model.references import resolve_foundation
from tunewright.model.rendering import Renderer


def main() -> int:
    """Run until the parent is gone."""
    set_process_defaults()
    arguments = _arguments()
    token = read_secret()
    # Libraries that print must not write into the line that the parent reads.
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    leave_with_parent()
    if not token:
        return 2
    begun = time.monotonic()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with parent, logging_to_stderr(arguments.log_format), listening as listener:
        try:
            foundation = resolve_foundation(_store(Path(arguments.home)), arguments.base)
            base = foundation.base
            renderer = Renderer(base.folder)
            # Seconds of imports: only for a base that can be served.
            from tunewright.deployment.local_base import LocalBase

            served = LocalBase.load(foundation, renderer, arguments.device, arguments.kv_tokens)
            served.leave_a_core()
        except TunewrightError as error:
            print(json.dumps({"error": str(error)}), file=parent, flush=True)
            return error.exit_code
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ready = {
            "port": listener.getsockname()[1],
            "base_digest": base.digest,
            "renderer_hash": renderer.hash,
        }
        print(json.dumps(ready), file=parent, flush=True)
        seconds = round(time.monotonic() - begun, 1)
        note("engine_ready", {"base": base.name, "seconds": seconds, **served.memory()})
        config = uvicorn.Config(
            engine_app(served, token, _fingerprint(base.digest, renderer.hash)),
            log_config=None,
            access_log=False,
            server_header=False,
            # The gateway decides when a connection ends: else one could close as it is reused.
            timeout_keep_alive=3600,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="base, or id of a model with own weights")
    parser.add_argument("--home", required=True, help="home folder")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--kv-tokens", type=int, help="size of the key-value cache")
    parser.add_argument("--log-format", default="text", help="text, json or off")
    return parser.parse_args()


def _fingerprint(*parts: str) -> str:
    """Of all that decides an answer: weights, rendering, and this program."""
    return f"fp_{hashlib.sha256(':'.join((__version__, *parts)).encode()).hexdigest()[:12]}"


def _store(home: Path) -> Store:
    return Store(home, read_settings(home))


if __name__ == "__main__":
    sys.exit(main())
