"""A judge on loopback: replies by rule, and the faults that real endpoints have."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.loopback import JsonHandler, JsonServer, running

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


class Judge(JsonServer):
    """Answers by ``rule``, or by the next of ``faults``."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.rule: Rule = lambda body: says('{"reasoning": "", "score": 0.5}')
        self.faults: deque[Reply] = deque()
        self.requests: list[dict[str, Any]] = []

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


class _Handler(JsonHandler):
    server: Judge

    def post(self, data: bytes) -> None:
        self.answer(*self.server.reply(self.path, json.loads(data)))


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A running judge."""
    with running(Judge()) as server:
        yield server
