"""A dataset in a store, and a model behind a real endpoint on loopback."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tunewright.core.dataset_io import write_rows
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset
from tunewright.core.store import Store

QUESTIONS = 24
CONCURRENCY = 4


class Upstream(ThreadingHTTPServer):
    """Answers every question with its own words; ``most`` answers, then silence."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.most = 10_000
        self.waiting = 0
        self.silent = threading.Event()
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may be killed."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Upstream

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            # Alike are texts of the same length.
            rows = [{"index": n, "embedding": [len(t), 1.0]} for n, t in enumerate(body["input"])]
            self._reply(200, {"data": rows})
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
        self._reply(status, {"error": {"message": "no"}} if status == 400 else reply)

    def _reply(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A running server; stopped when the test ends."""
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


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
