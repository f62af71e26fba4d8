"""Files and uploads with OpenAI's own client: kept whole, listed, gone in time, made once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.core.queue import Queue
from tunewright.core.records import File, FineTuningJob, Upload
from tunewright.core.store import Store
from tunewright.jobs.filestore import sweep

from .conftest import PATIENCE, Server, eventually, start_server

BODY = b'{"messages": []}\n' * 100


@pytest.fixture(scope="module")
def files_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs no jobs."""
    running = start_server(tmp_path_factory.mktemp("files"), jobs={"slots": 0})
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def client(files_server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{files_server.url}/v1", api_key="k", max_retries=0) as made:
        yield made


def post(server: Server, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
    files = {"file": ("a.jsonl", BODY)}
    data = {"purpose": "fine-tune", **form}
    url = f"{server.url}/v1/files"
    return httpx.post(url, files=files, data=data, headers=headers or {}, timeout=PATIENCE)


def test_a_file_comes_back_byte_for_byte(files_server: Server, client: openai.OpenAI) -> None:
    body = os.urandom(3_000_001)
    made = client.files.create(
        file=("资料 1.jsonl", io.BytesIO(body)),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (made.filename, made.bytes, made.purpose) == ("资料 1.jsonl", len(body), "fine-tune")
    assert made.id.startswith("file-")
    assert made.expires_at == made.created_at + 3600
    assert client.files.content(made.id).content == body
    assert client.files.wait_for_processing(made.id).status == "processed"
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    assert not (files_server.stderr.parent / "files" / made.id).exists()


def test_lists_turn_pages_even_while_files_are_deleted(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)]
    newest = [file.id for file in client.files.list(purpose="user_data", limit=2)]
    assert newest == made[::-1]
    assert [f.id for f in client.files.list(purpose="user_data", order="asc", limit=3)] == made
    for file in client.files.list(purpose="user_data", limit=2):
        client.files.delete(file.id)
    assert client.files.list(purpose="user_data").data == []


@pytest.mark.parametrize("given", ["../../etc/passwd", "C:\\evil\\passwd", "a\nb/passwd"])
def test_a_name_is_only_a_name(client: openai.OpenAI, given: str) -> None:
    made = client.files.create(file=(given, b"x"), purpose="user_data")
    assert made.filename == "passwd"
    client.files.delete(made.id)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        (
            {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "expires_after.anchor",
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"},
            "expires_after.seconds",
        ),
        ({"colour": "red"}, "colour"),
        ({"purpose": "x" * 5000}, "purpose"),
    ],
)
def test_forms_that_ask_for_what_is_not_known(
    files_server: Server, form: dict[str, str], param: str
) -> None:
    reply = post(files_server, **form)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


def raw(server: Server, head: str, body: bytes) -> bytes:
    lines = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n"
    return server.raw(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Content-Type: application/json", b"{}", b"415"),
        ("Content-Type: multipart/form-data", b"x", b"415"),
        ("Content-Type: multipart/form-data; boundary=b", b"no form at all", b"400"),
        ("Content-Type: multipart/form-data; boundary=b", b"--b\r\n", b"400"),
        (
            "Content-Type: multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n',
            b"400",
        ),
        (
            "Content-Type: multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of i',
            b"400",
        ),
        (
            "Content-Type: multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 50 + b"--b--\r\n",
            b"400",
        ),
        (
            "Content-Type: multipart/form-data; boundary=b",
            b"--b\r\n" + b"X-A: 1\r\n" * 50 + b"\r\n1\r\n--b--\r\n",
            b"400",
        ),
    ],
)
def test_what_is_no_form_is_refused_and_leaves_nothing(
    files_server: Server, head: str, body: bytes, status: bytes
) -> None:
    before = entries(files_server)
    assert raw(files_server, head, body).startswith(b"HTTP/1.1 " + status)
    assert entries(files_server) == before


def entries(server: Server) -> list[str]:
    folder = server.stderr.parent / "files"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_that_is_too_large_is_refused(
    files_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = httpx.post(
        f"{files_server.url}/v1/uploads/upload_none/parts", files={"data": b"x"}, timeout=PATIENCE
    )
    assert reply.status_code == 404
    upload = httpx.post(
        f"{files_server.url}/v1/uploads",
        json={"filename": "a", "purpose": "batch", "bytes": 70 << 20, "mime_type": "text/plain"},
    ).json()
    reply = httpx.post(
        f"{files_server.url}/v1/uploads/{upload['id']}/parts",
        files={"data": bytes(65 << 20)},
        timeout=PATIENCE,
    )
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "file_too_large"


def test_large_bodies_pass_through_no_memory(files_server: Server) -> None:
    before = peak(files_server)
    body = bytes(128 << 20)
    reply = httpx.post(
        f"{files_server.url}/v1/files",
        files={"file": ("zeros.bin", body)},
        data={"purpose": "user_data"},
        timeout=PATIENCE,
    )
    assert reply.json()["bytes"] == len(body)
    assert peak(files_server) - before < 32 << 20
    httpx.delete(f"{files_server.url}/v1/files/{reply.json()['id']}")


def peak(server: Server) -> int:
    """Most memory that the server has held so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# Time -------------------------------------------------------------------------------------------


def test_a_file_is_gone_when_its_time_is_up(files_server: Server, client: openai.OpenAI) -> None:
    made = client.files.create(file=("a", b"x"), purpose="batch")
    assert made.expires_at == made.created_at + 30 * 24 * 3600
    store = Store(files_server.stderr.parent)
    file = store.get(File, made.id)
    store.update(file.model_copy(update={"expires": time.time() - 1}))
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    assert client.files.list(purpose="batch").data == []
    orphan = store.home / "files" / "file-0123456789abcdef01234567"
    fresh = store.home / "files" / "file-1123456789abcdef01234567"
    for folder in (orphan, fresh):
        folder.mkdir()
    os.utime(orphan, (1, 1))
    sweep(store)
    assert not store.folder(File, made.id).exists()
    assert store.by_id(File, made.id) is None
    assert not orphan.exists()
    assert fresh.exists()
    fresh.rmdir()


# Repeats ----------------------------------------------------------------------------------------


def again(count: int = 1) -> dict[str, str]:
    return {"x-stainless-retry-count": str(count)}


def test_a_repeated_post_makes_one_object_also_after_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    job = {"model": "nano", "seed": 1}
    server = start_server(home, jobs={"slots": 0})
    try:
        first = post(server).json()["id"]
        second = post(server).json()["id"]
        assert first != second
        assert post(server, again()).json()["id"] == second
        assert post(server, again(), **{"purpose": "batch"}).json()["id"] not in (first, second)
        job["training_file"] = second
        url = f"{server.url}/v1/fine_tuning/jobs"
        made = httpx.post(url, json=job).json()["id"]
        assert httpx.post(url, json=job, headers=again()).json()["id"] == made
        assert httpx.post(url, json={**job, "seed": 2}, headers=again()).json()["id"] != made
    finally:
        server.stop(signal.SIGKILL)
    server = start_server(home, jobs={"slots": 0})
    try:
        url = f"{server.url}/v1/fine_tuning/jobs"
        assert post(server, again(2)).json()["id"] == second
        assert httpx.post(url, json=job, headers=again(2)).json()["id"] == made
        store = Store(home)
        assert len(store.list(FineTuningJob)) == len(Queue(store).list()) == 2
    finally:
        server.stop()


class Losing:
    """A proxy that passes requests on and loses some of the replies.

    Attributes:
        lost: replies that were lost.
    """

    def __init__(self, port: int, lose: int) -> None:
        self.lost = 0
        self._to, self._lose = port, lose
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(connection,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            reply = server.recv(1 << 20)
            if self.lost < self._lose:
                self.lost += 1
                client.shutdown(socket.SHUT_RDWR)
                return
            while reply:
                client.sendall(reply)
                reply = server.recv(1 << 20)

    @staticmethod
    def _forward(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                server.sendall(data)

    def close(self) -> None:
        self._listener.close()


@contextmanager
def losing(server: Server, lose: int) -> Iterator[openai.OpenAI]:
    """A client some of whose replies are lost."""
    proxy = Losing(server.port, lose)
    url = f"http://127.0.0.1:{proxy.port}/v1"
    with openai.OpenAI(base_url=url, api_key="k", max_retries=2) as client:
        yield client
    assert proxy.lost == lose
    proxy.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_the_client_whose_reply_was_lost_gets_the_one_object(
    files_server: Server, rounds: int
) -> None:
    store = Store(files_server.stderr.parent)
    before = len(store.list(File)), len(store.list(FineTuningJob)), len(store.list(Upload))
    for number in range(rounds):
        lose = 1 + number % 2
        with losing(files_server, lose) as client:
            file = client.files.create(file=("a.jsonl", BODY), purpose="fine-tune")
        with losing(files_server, lose) as client:
            job = client.fine_tuning.jobs.create(model="nano", training_file=file.id, seed=5)
        with losing(files_server, lose) as client:
            upload = client.uploads.create(
                filename="a", purpose="batch", bytes=5, mime_type="text/plain"
            )
        newest = [store.list(kind)[0].id for kind in (File, FineTuningJob, Upload)]
        assert [file.id, job.id, upload.id] == newest
    after = len(store.list(File)), len(store.list(FineTuningJob)), len(store.list(Upload))
    assert [b - a for a, b in zip(before, after, strict=True)] == [rounds] * 3


# Uploads ----------------------------------------------------------------------------------------


def test_an_upload_in_parts_becomes_one_file(client: openai.OpenAI) -> None:
    body = os.urandom(100_000)
    upload = client.uploads.create(
        filename="big.jsonl", purpose="fine-tune", bytes=len(body), mime_type="text/jsonl"
    )
    assert (upload.status, upload.file) == ("pending", None)
    parts = [
        client.uploads.parts.create(upload.id, data=piece).id
        for piece in (body[60_000:], body[:60_000])
    ]
    with pytest.raises(openai.BadRequestError, match="MD5"):
        client.uploads.complete(upload.id, part_ids=parts[::-1], md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="100,000 were announced"):
        client.uploads.complete(upload.id, part_ids=parts[:1])
    with pytest.raises(openai.BadRequestError, match="no part"):
        client.uploads.complete(upload.id, part_ids=["part_" + "0" * 24, "../../x"])
    with pytest.raises(openai.BadRequestError, match="more than"):
        client.uploads.parts.create(upload.id, data=b"x")
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    done = client.uploads.complete(upload.id, part_ids=parts[::-1], md5=md5)
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).content == body
    assert client.uploads.complete(upload.id, part_ids=parts).file == done.file
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.cancel(upload.id)


def test_an_upload_can_be_given_up_and_ends_by_itself(
    files_server: Server, client: openai.OpenAI
) -> None:
    store = Store(files_server.stderr.parent)
    announced: Any = {"filename": "a", "purpose": "batch", "bytes": 3, "mime_type": "text/plain"}
    upload = client.uploads.create(**announced)
    client.uploads.parts.create(upload.id, data=b"abc")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert not store.folder(Upload, upload.id).exists()
    late = client.uploads.create(**announced)
    store.update(store.get(Upload, late.id).model_copy(update={"expires": time.time() - 1}))
    with pytest.raises(openai.BadRequestError, match="is expired"):
        client.uploads.parts.create(late.id, data=b"abc")


# Kills ------------------------------------------------------------------------------------------


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_a_kill_during_an_upload_leaves_nothing_to_see(tmp_path: Path, kills: int) -> None:
    home = tmp_path / "home"
    whole = BODY * 2000
    promised: dict[str, bytes] = {}
    for number in range(kills):
        server = start_server(home, jobs={"slots": 0})
        try:
            made = httpx.post(
                f"{server.url}/v1/files",
                files={"file": ("whole", whole)},
                data={"purpose": "user_data"},
            ).json()
            promised[made["id"]] = whole
            half_sent(server, whole, number)
        finally:
            server.stop(signal.SIGKILL)
    server = start_server(home, jobs={"slots": 0})
    try:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
            assert {file.id for file in client.files.list()} == set(promised)
            for file_id, body in promised.items():
                assert client.files.content(file_id).content == body
            client.files.create(file=("a", b"x"), purpose="batch")
    finally:
        server.stop()
    assert not [path for path in (home / "files").iterdir() if path.name.startswith(".tmp-")]


def half_sent(server: Server, body: bytes, number: int) -> None:
    """Send a part of a form; some of it is on the disk when this returns."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\n' + body
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + form[: 1_200_000 + 100_000 * number])
        folder = server.stderr.parent / "files"
        assert eventually(
            lambda: any(
                p.stat().st_size for p in folder.glob(f".tmp-{server.process.pid}-*/content")
            )
        )
        server.process.kill()
        server.process.wait()


def test_errors_are_openais(files_server: Server) -> None:
    reply = httpx.get(f"{files_server.url}/v1/files/file-nothing")
    assert reply.status_code == 404
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    for limit in ("-1", "10001", "many"):
        reply = httpx.get(f"{files_server.url}/v1/files", params={"limit": limit})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "limit")
    body = json.dumps({"part_ids": []}).encode()
    reply = httpx.post(f"{files_server.url}/v1/uploads/upload_x/complete", content=body)
    assert reply.status_code == 415
