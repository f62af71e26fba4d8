"""``serve``: one HTTP server until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from tunewright.api.app import create_app
from tunewright.api.connections import MOST_HEAD_BYTES, Connection
from tunewright.config.serving import ServeConfig
from tunewright.core.api_keys import issue_first
from tunewright.core.errors import ConfigError, ServingError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.logs import logging_to_stderr
from tunewright.core.store import Store

# For what is written after the last answer: its end, the books, what engines are told.
_LAST_WORDS_SECONDS = 5
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


def serve(config: ServeConfig, store: Store, listen: Listener = ignore) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish what is running, stop the engines, return.

    Keys are asked for where strangers can connect; a first one is made where there is none.

    Sends one event, ``serving`` with ``{url, first_key}``, once requests are taken; the second is
    None unless a key was made, and then the only copy of its secret.

    Raises:
        ConfigError: when strangers could connect and no API key is to be asked of them.
        ServingError: when the address cannot be listened on.
    """
    listener = open_listener(config)
    with listener, logging_to_stderr(config.log_format):
        if not _is_loopback(listener.getsockname()[0]):
            config = config.model_copy(update={"require_keys": True})
        app = create_app(store, config)
        url = _url(config.host, listener.getsockname()[1])
        app.state.url = _own_url(listener)
        server = _Server(
            # Its own log goes to stdout, where only results belong.
            uvicorn.Config(
                app,
                http=Connection,
                h11_max_incomplete_event_size=MOST_HEAD_BYTES,
                log_config=None,
                access_log=False,
                server_header=False,
                # Longer than clients keep idle connections, so that they close them first.
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(config.drain) + _LAST_WORDS_SECONDS,
            ),
            drain=config.drain,
            end=app.state.books.under_way.end,
            ready=lambda: listen(
                Event(kind="serving", data={"url": url, "first_key": _first_key(config, store)})
            ),
        )
        with _calm_signals():
            server.run(sockets=[listener])


def _first_key(config: ServeConfig, store: Store) -> str | None:
    """The secret of a key made now, which is to be shown at once; None where none is wanting."""
    if not config.require_keys or config.api_key_file is not None:
        return None
    first = issue_first(store)
    return first.secret if first else None


class _Server(uvicorn.Server):
    """Says when it listens; when told to stop it waits a while for answers under way.

    Args:
        config: of uvicorn.
        ready: called once it listens.
        drain: seconds to wait.
        end: called then, to end the answers that are left.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        drain: float,
        end: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._drain = drain
        self._end = end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        waiting = asyncio.get_running_loop().call_later(self._drain, self._end)
        await super().shutdown(sockets)
        waiting.cancel()


def open_listener(config: ServeConfig) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigError: for an address that others can reach while no keys are to be asked for.
        ServingError: when the address is taken or not ours.
    """
    family, address = _address(config)
    if config.open and not _is_loopback(address[0]):
        raise ConfigError(
            f"host {config.host!r} can be reached by other machines; open is for this one only",
            "Leave out open: a first key is made. Or keep host 127.0.0.1.",
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServingError(
            f"cannot listen on {config.host} port {config.port}: {_explain(error)}",
            "Choose another port, or 0 for any free one.",
        ) from None
    return listener


def _address(config: ServeConfig) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ServingError(f"host {config.host!r} is no address: {error}") from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use by another program"
    if error.errno == errno.EACCES:
        return "ports below 1024 need special rights"
    return str(error.strerror or error)


def _own_url(listener: socket.socket) -> str:
    """Where this machine itself reaches the server."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return _url(host, port)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _calm_signals() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more; by then it has been obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {stop: signal.signal(stop, lambda *_: None) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
