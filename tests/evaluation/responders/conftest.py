"""A dataset in a store, and a model behind a real endpoint on loopback."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.loopback import JsonHandler, JsonServer, running

from tunewright.core.dataset_io import write_rows
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset
from tunewright.core.store import Store

QUESTIONS = 24
CONCURRENCY = 4


class Upstream(JsonServer):
    """Answers every question with its own words; ``most`` answers, then silence."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.most = 10_000
        self.waiting = 0
        self.silent = threading.Event()
        self.released = threading.Event()


class Handler(JsonHandler):
    """One connection."""

    server: Upstream

    def post(self, data: bytes) -> None:
        server = self.server
        body = json.loads(data)
        if self.path.endswith("/embeddings"):
            # Alike are texts of the same length.
            rows = [{"index": n, "embedding": [len(t), 1.0]} for n, t in enumerate(body["input"])]
            self.answer(200, {"data": rows})
            return
        question = body["messages"][-1]["content"]
        with server.lock:
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            wait = sum(server.answered.values()) >= server.most
            server.waiting += wait
            if not wait and question not in server.refused:
                server.answered[question] += 1
        if wait:
            # Each of them kept the answer before; so nothing is under way but these.
            if server.waiting == CONCURRENCY:
                server.silent.set()
            server.released.wait(60)
            return
        status = 400 if question in server.refused else 200
        choice = {"message": {"role": "assistant", "content": f"六个月 {question}"}}
        reply = {"choices": [choice | {"finish_reason": "length" if "7" in question else "stop"}]}
        self.answer(status, {"error": {"message": "no"}} if status == 400 else reply)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A running server; stopped when the test ends."""
    with running(Upstream()) as server:
        yield server
        server.released.set()


def make_row(number: int, kind: str) -> Row:
    """A question that names its split, with the answer that all share."""
    talk = conversation(
        ("system", "Be brief."), ("user", f"{kind} {number}: 试用期?"), ("assistant", "六个月")
    )
    return Row(
        conversation=talk, source=Source(file="q.csv", row=number), group=f"{kind}{number // 2}"
    )


@pytest.fixture
def stored(store: Store, dataset: Dataset) -> Dataset:
    """24 test rows and 12 training rows."""
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "test.jsonl", [make_row(n, "test") for n in range(QUESTIONS)])
        write_rows(folder / "train.jsonl", [make_row(n, "train") for n in range(12)])
    store.add(dataset)
    return dataset
