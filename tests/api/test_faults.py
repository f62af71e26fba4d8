"""When things go wrong: hang-ups, overload, killed engines, bases that cannot start, signals."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import HELLO, PATIENCE, Server, eventually, start_program, start_server

ANY = "0.0.0.0"  # noqa: S104 - what the tests are about
LONG: dict[str, Any] = {"model": "slow", "messages": HELLO, "max_tokens": 30_000, "stream": True}


@contextmanager
def busy(server: Server) -> Iterator[Iterator[str]]:
    """A stream that has begun and would go on for minutes; yields its lines."""
    url = f"{server.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=LONG, timeout=PATIENCE) as reply:
        assert reply.status_code == 200
        lines = reply.iter_lines()
        assert next(lines).startswith("data: ")
        yield lines


def answers(server: Server) -> bool:
    return server.chat(max_tokens=1).status_code == 200


def test_a_full_queue_says_when_to_come_back_and_a_hang_up_makes_room(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(busy(server))
        full = server.chat(max_tokens=1)
        assert full.status_code == 429
        assert full.headers["retry-after"] == "1"
        assert full.json()["error"]["code"] == "queue_full"
    assert eventually(lambda: answers(server))


def test_a_hang_up_before_the_answer_makes_room_too(server: Server) -> None:
    body = json.dumps({**LONG, "stream": False}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    for connection in waiting:
        connection.sendall(head.encode() + body)
    assert eventually(lambda: server.chat(max_tokens=1).status_code == 429)
    for connection in waiting:
        connection.close()
    assert eventually(lambda: answers(server))
    assert eventually(lambda: is_idle(server))


def is_idle(server: Server) -> bool:
    """Whether the engine has stopped working for clients that are gone."""
    (engine,) = server.engines()
    before = ticks(engine)
    time.sleep(0.3)
    return ticks(engine) - before <= 1


def ticks(pid: int) -> int:
    """Processor time of a process, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_killed_engine_is_an_error_for_its_requests_and_starts_again(server: Server) -> None:
    (engine,) = server.engines()
    with busy(server) as lines:
        os.kill(engine, signal.SIGKILL)
        rest = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert rest[-1]["error"]["type"] == "server_error"
    assert rest[-1]["error"]["code"] == "engine_failed"
    assert server.chat(max_tokens=1).status_code == 200
    assert engine not in server.engines()
    assert len(server.engines()) == 1


@pytest.mark.slow
def test_nobody_waits_longer_than_the_timeout_and_no_engine_outlives_its_server(
    slow_base: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "home", bases=[str(slow_base)], timeout=2)
    try:
        first = server.chat(max_tokens=1)
        assert first.status_code in (200, 504)
        assert eventually(lambda: answers(server))
        late = server.chat(max_tokens=30_000)
        assert late.status_code == 504
        assert late.headers["x-should-retry"] == "false"
        assert late.json()["error"]["code"] == "timeout"
        with busy(server) as lines:
            rest = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert rest[-1]["error"]["code"] == "timeout"
        assert eventually(lambda: answers(server))
        engines = server.engines()
        assert len(engines) == 1
        server.stop(signal.SIGKILL)
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in engines))
    finally:
        server.stop(signal.SIGKILL)


def test_a_base_that_cannot_start_is_explained_and_not_tried_in_a_loop(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    server = start_server(tmp_path / "home", bases=[str(broken)])
    server.base = "broken"
    try:
        for _ in range(2):
            reply = server.chat()
            assert reply.status_code == 503
            message = reply.json()["error"]["message"]
            assert "'broken' could not start" in message
            assert str(tmp_path) not in message
            assert 1 <= int(reply.headers["retry-after"]) <= 120
        assert server.engines() == []
        assert "config.json" in server.stderr.read_text()
    finally:
        assert server.stop() == 0


def test_sigterm_lets_running_answers_finish(slow_base: Path, tmp_path: Path) -> None:
    server = start_server(tmp_path / "home", bases=[str(slow_base)], timeout=PATIENCE)
    try:
        assert answers(server)
        engines = server.engines()
        body = {**LONG, "max_tokens": 100}
        url = f"{server.url}/v1/chat/completions"
        with httpx.stream("POST", url, json=body, timeout=PATIENCE) as reply:
            lines = reply.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert server.process.wait(timeout=PATIENCE) == 0
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in engines))
    finally:
        server.stop(signal.SIGKILL)


def test_a_port_in_use_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process, said = start_program(
            tmp_path / "home", tmp_path / "log", port=taken.getsockname()[1]
        )
    assert process.wait(timeout=PATIENCE) == 1
    assert "in use" in said["error"]


def test_with_keys_every_route_but_health_wants_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key-0123456789\n", encoding="utf-8")
    server = start_server(tmp_path / "home", host=ANY, api_key_file=str(keys))
    server.url = server.url.replace(ANY, "127.0.0.1")
    good = {"Authorization": "Bearer first-key-0123456789"}
    routes = [("GET", "/v1/models"), ("GET", "/v1/models/nano"), ("GET", "/openapi.json"),
              ("POST", "/v1/chat/completions")]  # fmt: skip
    try:
        for method, path in routes:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Host": "x/health?"}):
                # A body that would be refused: the key is looked at first.
                reply = httpx.request(method, server.url + path, headers=headers, content=b"{")
                assert reply.status_code == 401, path
                assert reply.json()["error"]["code"] == "invalid_api_key"
            ok = httpx.request(method, server.url + path, headers=good, json={})
            assert ok.status_code == (400 if method == "POST" else 200)
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.raw(b"GET /v1/models HTTP/1.1\r\nHost: /health?\r\nConnection: close\r\n\r\n"
                          ).startswith(b"HTTP/1.1 401")  # fmt: skip
    finally:
        assert server.stop(signal.SIGINT) == 0
    assert "first-key" not in server.stderr.read_text()
