"""Connections: large heads, clients that are slow to send or to read, and too many at once."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tunewright.api.connections import MOST_HEAD_BYTES, Connection, most_connections

from .conftest import PATIENCE, Server, start_server
from .test_faults import LONG, busy

LARGE = 64 * 1024 * 1024


class Impatient(Connection):
    """For tests that do not wait for minutes."""

    head_seconds = 0.3
    read_seconds = 2.0


class Ended(threading.Event):
    """Whether the application's answer has ended, as the application sees it."""


@pytest.fixture
def port() -> Iterator[tuple[int, Ended]]:
    """A server in this process whose answers are larger than any buffer."""
    ended = Ended()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(LARGE // 65536):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.set()

    config = uvicorn.Config(
        app, http=Impatient, h11_max_incomplete_event_size=MOST_HEAD_BYTES, lifespan="off",
        log_config=None, access_log=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1], ended
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_a_head_that_does_not_come_is_not_waited_for(port: tuple[int, Ended]) -> None:
    for sent in (b"", b"GET / HTTP/1.1\r\nHo"):
        with connect(port[0]) as connection:
            connection.sendall(sent)
            assert connection.recv(1000) == b""


def test_a_slow_head_is_given_no_more_time_for_every_byte(port: tuple[int, Ended]) -> None:
    with connect(port[0]) as connection:
        end = time.monotonic() + PATIENCE
        with pytest.raises(OSError):
            while time.monotonic() < end:
                connection.sendall(b"GET ")
                time.sleep(0.1)


def test_a_client_that_does_not_read_is_let_go(port: tuple[int, Ended]) -> None:
    with connect(port[0]) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert port[1].wait(PATIENCE)
        received = 0
        try:
            while part := connection.recv(1 << 20):
                received += len(part)
        except ConnectionResetError:
            received += 0
        assert received < LARGE


def test_a_client_that_reads_slowly_gets_it_all(port: tuple[int, Ended]) -> None:
    with connect(port[0]) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, started = 0, time.monotonic()
        while part := connection.recv(1 << 20):
            received += len(part)
            if time.monotonic() - started < 1:
                time.sleep(0.05)
        assert received > LARGE


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", b"NONSENSE\r\n\r\n",
             b"GET / HTTP/1.1\r\n\x00: 1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_head_is_refused_in_openais_shape(port: tuple[int, Ended], head: bytes) -> None:
    with connect(port[0]) as connection:
        connection.sendall(head[: 2 * MOST_HEAD_BYTES])
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 400")
    error = json.loads(reply.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}


def test_connections_leave_descriptors_for_others() -> None:
    assert 16 <= most_connections() <= 4096


@pytest.fixture
def narrow(slow_base: Any, tmp_path: Any) -> Iterator[Server]:
    server = start_server(tmp_path / "home", bases=[str(slow_base)], at_once=1, timeout=PATIENCE)
    try:
        yield server
    finally:
        server.stop()


def test_a_server_with_full_hands_says_so_and_still_answers_probes(narrow: Server) -> None:
    assert LONG["model"] == narrow.base
    with busy(narrow):
        full = narrow.chat(max_tokens=1)
        assert full.status_code == 429
        assert full.json()["error"]["code"] == "server_busy"
        assert full.headers["retry-after"] == "1"
        for path in ("/health", "/ready"):
            assert httpx.get(narrow.url + path).status_code == 200
