"""A judge on loopback: replies by rule, and the faults that real endpoints have."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = tuple[int, dict[str, Any]]
Rule = Callable[[dict[str, Any]], Reply]


def says(text: str) -> Reply:
    """A completion."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}}]
    usage = {"prompt_tokens": 40, "completion_tokens": 8}
    return 200, {"choices": choices, "usage": usage}


def refuses(status: int, message: str, param: str | None = None) -> Reply:
    """An error as OpenAI words it."""
    return status, {"error": {"message": message, "code": None, "param": param}}


class Judge(ThreadingHTTPServer):
    """Answers by ``rule``, or by the next of ``faults``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rule: Rule = lambda body: says('{"reasoning": "", "score": 0.5}')
        self.faults: deque[Reply] = deque()
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def reply(self, path: str, body: dict[str, Any]) -> Reply:
        """What a request gets."""
        with self.lock:
            self.requests.append(body)
            if self.faults:
                return self.faults.popleft()
        if path.endswith("/embeddings"):
            vectors = [[float(text.count(c)) for c in "abc"] for text in body["input"]]
            rows = [{"index": n, "embedding": v} for n, v in enumerate(vectors)]
            return 200, {"data": rows[::-1]}
        return self.rule(body)


class _Handler(BaseHTTPRequestHandler):
    server: Judge
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, value = self.server.reply(self.path, body)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at ``requests``."""


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A running judge."""
    server = Judge()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
