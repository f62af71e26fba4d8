"""Batches with OpenAI's own client against a real server, killed and stopped meanwhile."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.api.batches import batch_object, cancel
from tunewright.api.caller import Caller
from tunewright.core.api_keys import issue_key
from tunewright.core.asked_records import Batch
from tunewright.core.queue import Queue, Retry
from tunewright.core.results import Results
from tunewright.core.store import Store
from tunewright.core.usage import read_usage
from tunewright.deployment.replies import RequestError
from tunewright.jobs.batches import BATCH

from .conftest import HELLO, PATIENCE, Server, eventually, start_server

CHAT = "/v1/chat/completions"
DOCS = Path(__file__).resolve().parents[2] / "docs"
ENDED = ("completed", "failed", "expired", "cancelled")
LONG = 25_000


def line(name: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": "slow", **({"messages": HELLO, "max_tokens": 4} if url == CHAT else {})}
    return {"custom_id": name, "method": "POST", "url": url, "body": {**asked, **body}}


class Home:
    """A home with keys of two projects, and the server that runs on it now."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self.store = Store(folder)
        issued = {name: issue_key(self.store, name, project=name) for name in ("a", "b")}
        self.secrets = {name: one.secret for name, one in issued.items()}
        self.keys = {name: one.key.id for name, one in issued.items()}
        self.servers: list[Server] = []

    def serve(self, **config: Any) -> openai.OpenAI:
        """A fresh server, and project a's client."""
        jobs = {"slots": 0, "lease": 1, "pause": 0}
        config = {"bases": [str(self.base)], "timeout": PATIENCE, "jobs": jobs, **config}
        self.servers.append(start_server(self.folder, **config))
        return self.client("a")

    def client(self, name: str) -> openai.OpenAI:
        url = f"{self.servers[-1].url}/v1"
        return openai.OpenAI(
            base_url=url, api_key=self.secrets[name], max_retries=0, timeout=PATIENCE
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        return self.servers[-1].stop(how)

    def used(self) -> dict[str, int]:
        """What project a's key used, once the server has written it down."""
        rows = [row for row in read_usage(self.store, "key", 86400) if row["key"] == self.keys["a"]]
        return {name: int(rows[0][name]) for name in ("prompt_tokens", "completion_tokens")}


@contextmanager
def home_at(folder: Path, base: Path) -> Iterator[Home]:
    home = Home(folder, base)
    try:
        yield home
    finally:
        for server in home.servers:
            server.stop(signal.SIGKILL)
        home.store.close()


@pytest.fixture(scope="module")
def shared(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_at(tmp_path_factory.mktemp("batches"), slow_base) as home:
        home.serve()
        yield home


@pytest.fixture
def client(shared: Home) -> Iterator[openai.OpenAI]:
    with shared.client("a") as made:
        yield made


def upload(client: openai.OpenAI, lines: Sequence[Any], purpose: Any = "batch") -> str:
    body = b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n"
                    for one in lines)  # fmt: skip
    return client.files.create(file=("in.jsonl", io.BytesIO(body)), purpose=purpose).id


def create(client: openai.OpenAI, lines: Sequence[Any], url: Any = CHAT, **more: Any) -> str:
    file = upload(client, lines)
    return client.batches.create(
        input_file_id=file, endpoint=url, completion_window="24h", **more
    ).id


def wait(client: openai.OpenAI, batch: str, states: Sequence[str] = ENDED) -> Any:
    found: list[Any] = []

    def there() -> bool:
        found[:] = [client.batches.retrieve(batch)]
        return found[0].status in states

    assert eventually(there), found
    return found[0]


def answered(client: openai.OpenAI, batch: str, least: int) -> bool:
    """Whether so many of a batch's requests are answered in time."""

    def there() -> bool:
        counts = client.batches.retrieve(batch).request_counts
        return counts is not None and counts.completed >= least

    return eventually(there)


def lines_of(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    return [json.loads(one) for one in client.files.content(file).text.splitlines()]


def test_a_batch_is_answered_line_by_line(shared: Home, client: openai.OpenAI) -> None:
    names = [f"问题 {number}" for number in range(12)]
    lines = [line(name, temperature=3 if number == 5 else 0) for number, name in enumerate(names)]
    made = client.batches.create(
        input_file_id=upload(client, lines),
        endpoint=CHAT,
        completion_window="24h",
        metadata={"team": "law"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.status in ("validating", "in_progress")
    assert made.expires_at == made.created_at + 86400
    done = wait(client, made.id)
    assert done.status == "completed", done
    assert (done.model, done.metadata, done.errors) == ("slow", {"team": "law"}, None)
    assert done.request_counts.model_dump() == {"total": 12, "completed": 11, "failed": 1}
    times = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert times == sorted(times)
    output = lines_of(client, done.output_file_id)
    assert [one["custom_id"] for one in output] == names[:5] + names[6:]
    for one in output:
        response = one["response"]
        assert (one["error"], response["status_code"]) == (None, 200)
        assert response["body"]["object"] == "chat.completion"
        assert response["request_id"].startswith("req_")
    (failed,) = lines_of(client, done.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == (names[5], 400)
    assert failed["response"]["body"]["error"]["param"] == "temperature"
    usage = [one["response"]["body"]["usage"] for one in output]
    assert done.usage.input_tokens == sum(one["prompt_tokens"] for one in usage)
    assert done.usage.output_tokens == sum(one["completion_tokens"] for one in usage)
    file = client.files.retrieve(done.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{done.id}_output.jsonl")
    assert file.expires_at == file.created_at + 3600
    alone = client.chat.completions.create(model="slow", messages=HELLO, max_tokens=4)
    said = alone.choices[0].message.content
    assert {o["response"]["body"]["choices"][0]["message"]["content"] for o in output} == {said}
    assert not Results(shared.store).numbers(made.id)
    assert not list((shared.folder / "batches" / made.id).iterdir())


def test_its_answers_can_be_stored_too(client: openai.OpenAI) -> None:
    batch = create(client, [line("a", store=True, metadata={"from": "batch"}), line("b")])
    done = wait(client, batch)
    (kept,) = client.chat.completions.list(metadata={"from": "batch"}).data
    assert kept.id == lines_of(client, done.output_file_id)[0]["response"]["body"]["id"]


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/v1/completions", {"prompt": "once", "max_tokens": 3}, "text_completion"),
        ("/v1/embeddings", {"input": ["once", "twice"]}, "list"),
    ],
)
def test_other_endpoints(client: openai.OpenAI, url: str, body: Any, kind: str) -> None:
    done = wait(client, create(client, [line("a", url, **body), line("b", url, **body)], url))
    output = lines_of(client, done.output_file_id)
    assert [one["response"]["body"]["object"] for one in output] == [kind, kind]
    assert done.error_file_id is None


def test_what_is_wrong_with_a_file_fails_its_batch(client: openai.OpenAI) -> None:
    wrong = [line("a"), b"{\n", line("a"), line("c", url="/v1/embeddings"), line("d", model="x")]
    done = wait(client, create(client, wrong))
    assert done.status == "failed"
    told = [(error.line, error.code) for error in done.errors.data]
    assert told == [
        (2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "url_mismatch"),
        (5, "model_mismatch"),
    ]  # fmt: skip
    assert (done.output_file_id, done.error_file_id) == (None, None)
    assert done.failed_at is not None
    unknown = wait(client, create(client, [line("a", model="slwo")]))
    assert [error.code for error in unknown.errors.data] == ["model_not_found"]
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(done.id)


def test_what_cannot_be_a_batch_is_refused(shared: Home, client: openai.OpenAI) -> None:
    good = {"endpoint": CHAT, "completion_window": "24h"}
    file = upload(client, [line("a")])
    for values, param in (
        ({"input_file_id": "file-none", **good}, "input_file_id"),
        ({"input_file_id": upload(client, [line("a")], "user_data"), **good}, "input_file_id"),
        ({"input_file_id": file, **good, "endpoint": "/v1/moderations"}, "endpoint"),
        ({"input_file_id": file, **good, "completion_window": "1h"}, "completion_window"),
        ({**good}, "input_file_id"),
        (
            {
                "input_file_id": file,
                **good,
                "output_expires_after": {"anchor": "created_at", "seconds": 60},
            },
            "expires_after.seconds",
        ),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/batches", body=values, cast_to=httpx.Response)
        assert caught.value.param == param


def test_a_repeated_post_makes_one_batch(shared: Home, client: openai.OpenAI) -> None:
    body = {"input_file_id": upload(client, [line("a")]), "endpoint": CHAT}
    body["completion_window"] = "24h"
    headers = {"Authorization": f"Bearer {shared.secrets['a']}"}
    url = f"{shared.servers[-1].url}/v1/batches"
    made = [
        httpx.post(url, json=body, headers={**headers, "x-stainless-retry-count": str(n)}).json()
        for n in (0, 1, 2)
    ]
    assert len({one["id"] for one in made}) == 1
    another = httpx.post(url, json=body, headers=headers).json()["id"]
    assert another != made[0]["id"]
    for batch in (made[0]["id"], another):
        wait(client, batch)


def test_a_cancelled_batch_gives_what_it_has(client: openai.OpenAI) -> None:
    lines = [line("quick"), *(line(f"long {n}", max_tokens=LONG) for n in range(10))]
    batch = create(client, lines)
    assert answered(client, batch, 1)
    asked = client.batches.cancel(batch)
    assert asked.status == "cancelling"
    assert client.batches.cancel(batch).status in ("cancelling", "cancelled")
    done = wait(client, batch)
    assert done.status == "cancelled"
    assert done.cancelled_at >= done.cancelling_at
    assert [one["custom_id"] for one in lines_of(client, done.output_file_id)] == ["quick"]
    left = lines_of(client, done.error_file_id)
    assert [one["custom_id"] for one in left] == [f"long {n}" for n in range(10)]
    assert {one["error"]["code"] for one in left} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(create_done(client))


def create_done(client: openai.OpenAI) -> str:
    batch = create(client, [line("a")])
    wait(client, batch)
    return batch


def test_when_its_time_is_up_it_gives_what_it_has(shared: Home, client: openai.OpenAI) -> None:
    batch = create(client, [line("quick"), line("long", max_tokens=LONG)])
    assert answered(client, batch, 1)
    with shared.store.transaction():
        record = shared.store.get(Batch, batch)
        shared.store.update(record.model_copy(update={"expires": time.time()}))
    done = wait(client, batch)
    assert done.status == "expired"
    assert done.expired_at is not None
    assert [one["custom_id"] for one in lines_of(client, done.output_file_id)] == ["quick"]
    (left,) = lines_of(client, done.error_file_id)
    assert (left["response"], left["error"]["code"]) == (None, "batch_expired")


def test_it_outlives_its_input_file(client: openai.OpenAI) -> None:
    lines = [line(str(n)) for n in range(30)]
    file = upload(client, lines)
    batch = client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h").id
    client.files.delete(file)
    done = wait(client, batch)
    assert (done.status, done.request_counts.completed) == ("completed", 30)


def test_another_projects_batches_are_as_though_there_were_none(
    shared: Home, client: openai.OpenAI
) -> None:
    batches = [create(client, [line("a")]) for _ in range(3)]
    assert [one.id for one in client.batches.list(limit=2)][:3] == batches[::-1]
    with shared.client("b") as theirs:
        assert theirs.batches.list().data == []
        for attempt in (theirs.batches.retrieve, theirs.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                attempt(batches[0])
        with pytest.raises(openai.BadRequestError):
            done = wait(client, batches[0])
            theirs.batches.create(
                input_file_id=done.input_file_id, endpoint=CHAT, completion_window="24h"
            )


def test_live_requests_are_answered_meanwhile(client: openai.OpenAI) -> None:
    batch = create(client, [line(str(n), max_tokens=LONG) for n in range(20)])
    wait(client, batch, ("in_progress",))
    for _ in range(3):
        reply = client.chat.completions.create(model="slow", messages=HELLO, max_tokens=4)
        assert reply.choices[0].finish_reason in ("stop", "length")
    assert client.batches.retrieve(batch).status == "in_progress"
    client.batches.cancel(batch)
    assert wait(client, batch).status == "cancelled"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "blows",
    [
        pytest.param((signal.SIGKILL,), id="killed"),
        pytest.param(
            (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL),
            id="killed, stopped, killed",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_servers_lose_no_answer_and_repeat_none(
    slow_base: Path, tmp_path: Path, blows: tuple[signal.Signals, ...]
) -> None:
    names = [str(number) for number in range(60)]
    with home_at(tmp_path / "home", slow_base) as home:
        client = home.serve()
        batch = create(client, [line(name, max_tokens=60) for name in names])
        for least, how in zip((3, 12, 20), blows, strict=False):
            assert answered(client, batch, least)
            assert client.batches.retrieve(batch).status == "in_progress", "too quick to be hit"
            code = home.stop(how)
            assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
            kept = Results(home.store).numbers(batch)
            assert len(kept) >= least
            client = home.serve()
        done = wait(client, batch)
        assert done.status == "completed", done
        assert done.request_counts.model_dump() == {"total": 60, "completed": 60, "failed": 0}
        output = lines_of(client, done.output_file_id)
        assert [one["custom_id"] for one in output] == names
        usage = [one["response"]["body"]["usage"] for one in output]
        totals = {
            name: sum(one[name] for one in usage) for name in ("prompt_tokens", "completion_tokens")
        }
        assert (done.usage.input_tokens, done.usage.output_tokens) == tuple(totals.values())
        assert home.used() == totals


def blocks(page: str) -> list[str]:
    """Code of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_page_runs_as_it_stands(shared: Home, tmp_path: Path) -> None:
    code = blocks("batches.md")
    assert code == blocks("batches.zh-CN.md")
    url = f"{shared.servers[-1].url}/v1"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=tmp_path,
        env={**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": shared.secrets["a"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    for part in ("question-0", "question-2", "chatcmpl-", "What colour is coal?"):
        assert part in done.stdout


def test_a_batch_that_breaks_off_again_and_again_has_failed(store: Store) -> None:
    batch = Batch(
        id=store.new_id(Batch),
        project="a",
        endpoint=CHAT,
        input_file="file-1",
        expires=time.time() + 60,
        in_progress_at=time.time(),
    )
    store.add(batch)
    queue = Queue(store)
    queue.enqueue(batch.id, BATCH, "a")
    assert batch_object(store, batch)["status"] == "in_progress"
    entry = queue.lease(BATCH, 1, "here:1", 60)
    assert entry is not None
    queue.retry(entry.lease, Retry(attempts=1), {"code": "worker_failed", "message": "it broke"})
    told = batch_object(store, batch)
    assert (told["status"], told["failed_at"] is None) == ("failed", False)
    (error,) = told["errors"]["data"]
    assert (error["code"], error["message"], error["line"]) == ("worker_failed", "it broke", None)
    assert set(error) == {"code", "message", "param", "line"}
    with pytest.raises(RequestError) as caught:
        cancel(store, batch.id, Caller("a"))
    assert caught.value.status == 409
