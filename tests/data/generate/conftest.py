"""A recorded endpoint on loopback: canned replies, and the faults that real endpoints have."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.loopback import JsonHandler, JsonServer, running

RECORDED = Path(__file__).parent / "recorded" / "rent.json"
Body = dict[str, Any]
Fault = Callable[["Handler", Body], None]


class Recorded(JsonServer):
    """Answers chat requests from a file; ``faults`` are what the next requests meet instead.

    None among them lets one request through.
    """

    def __init__(self) -> None:
        super().__init__(Handler)
        self.replies: dict[str, list[str]] = json.loads(RECORDED.read_text("utf-8"))["replies"]
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.most = 128
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.paid: Counter[str] = Counter()
        self.gate: threading.Semaphore | None = None
        self.life = 0

    def client_died(self) -> None:
        """Requests that wait at the gate belong to nobody: none of them is answered, or paid."""
        self.life += 1
        assert self.gate is not None
        self.gate.release(1000)

    def texts(self, body: Body) -> list[str]:
        """The canned completions that answer a prompt, as many as asked for."""
        prompt = body["messages"][1]["content"]
        found = next((r for word, r in self.replies.items() if word in prompt), ["no reply"])
        count = min(body.get("n", 1), self.most)
        with self.lock:
            begun = self.paid[prompt]
            self.paid[prompt] += count
        return [found[(begun + place) % len(found)] for place in range(count)]


class Handler(JsonHandler):
    """One connection."""

    server: Recorded

    def setup(self) -> None:
        """A connection is one client's, and dies with it."""
        self.life = self.server.life
        super().setup()

    def post(self, data: bytes) -> None:
        server = self.server
        if server.gate is not None:
            server.gate.acquire()
        if len(data) < int(self.headers["Content-Length"]) or self.life != server.life:
            self.close_connection = True
            return
        body = json.loads(data)
        with server.lock:
            server.requests.append(body)
            server.headers.append(dict(self.headers))
            fault = server.faults.popleft() if server.faults else server.always
        if fault is not None:
            fault(self, body)
        else:
            self.complete(body)

    def complete(self, body: Body) -> None:
        texts = self.server.texts(body)
        choices = [
            {"index": place, "message": {"role": "assistant", "content": text}}
            for place, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 100, "completion_tokens": 10 * len(texts)}
        self.answer(200, {"object": "chat.completion", "choices": choices, "usage": usage})


def refuse(
    status: int, message: str = "no", code: str = "", param: str = "", **headers: str
) -> Fault:
    """An error as OpenAI words it."""
    error = {"error": {"message": message, "code": code or None, "param": param or None}}
    return lambda handler, body: handler.answer(status, error, **headers)


def says(text: str) -> Fault:
    """A completion of one's own."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}}]
    return lambda handler, body: handler.answer(200, {"choices": choices})


def raw(data: bytes) -> Fault:
    """A body that is not what it should be."""
    return lambda handler, body: handler.answer(200, data)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """A running endpoint."""
    with running(Recorded()) as server:
        yield server
        server.always = None
        if server.gate is not None:
            server.gate.release(1000)


RENT = """---
title: 租房手册
---
# 租房手册

## 押金

押金应当在租期结束后七日内退还。
出租人只能扣除有凭证的维修费。

## 试用期

试用期最长不超过六个月，试用期工资不得低于约定工资的百分之八十。

## 备注

略。
"""


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    """A Markdown document with two passages worth asking about."""
    path = tmp_path / "手册.md"
    path.write_text(RENT, encoding="utf-8")
    return path
