"""Attacks that have worked on other servers of models, tried on this one."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.api.app import create_app
from tunewright.api.scopes import OPEN_PATHS
from tunewright.config.serving import ServeConfig
from tunewright.core.api_keys import issue_key
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .conftest import HELLO, PATIENCE, Server, eventually, start_server
from .test_access import routes_of
from .test_fine_tuning import examples

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def victim(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys, whose engine runs."""
    home = tmp_path_factory.mktemp("victim")
    server = start_server(home, bases=[str(slow_base)], timeout=PATIENCE, jobs={"pause": 0})
    try:
        assert server.chat(max_tokens=1).status_code == 200
        yield server
    finally:
        server.stop()


def state(server: Server) -> list[str]:
    """Everything in the database but books, and every file."""
    home = server.stderr.parent
    connection = sqlite3.connect(f"file:{home / 'tunewright.db'}?mode=ro", uri=True)
    rows = [line for line in connection.iterdump() if "usage" not in line and "minutes" not in line]
    connection.close()
    known = ("stderr", "tunewright.db")
    return rows + sorted(
        f"{path} {path.stat().st_size}"
        for path in home.rglob("*")
        if path.is_file() and not path.name.startswith(known)
    )


# Commands ---------------------------------------------------------------------------------------


def test_no_text_of_a_client_is_ever_run(victim: Server, tmp_path: Path) -> None:
    """Names, suffixes, prompts: none reaches a shell, an option or a path of a worker."""
    canary = tmp_path / "canary"
    texts = [
        f"$(touch {canary})", f"`touch {canary}`", f";touch {canary}", f"|touch {canary}",
        f"a\ntouch {canary}\n", f"--set=x;touch {canary}", f"' && touch {canary} '",
    ]  # fmt: skip
    with httpx.Client(base_url=f"{victim.url}/v1", timeout=PATIENCE) as client:
        for text in texts:
            body = {"model": "slow", "max_tokens": 1, "user": text[:60], "stop": [text[:60]],
                    "messages": [{"role": "system", "content": text}, HELLO[0]]}  # fmt: skip
            assert client.post("/chat/completions", json=body).status_code == 200
            assert client.get("/models/x", params={"q": text}).status_code == 404
        files = {"file": (texts[2].replace("/", "_"), examples(40))}
        made = client.post("/files", files=files, data={"purpose": "fine-tune"}).json()
        job = {"model": "slow", "training_file": made["id"], "metadata": {"note": texts[0][:512]}}
        for text in texts:
            assert client.post("/fine_tuning/jobs", json={**job, "suffix": text}).status_code == 400
        job["tunewright"] = {"max_steps": 2, "batch_tokens": 64, "lora": {"rank": 2}}
        done = client.post("/fine_tuning/jobs", json=job).json()
        path = f"/fine_tuning/jobs/{done['id']}"
        assert eventually(lambda: client.get(path).json()["status"] in ("succeeded", "failed"))
        assert client.get(path).json()["status"] == "succeeded"
    assert not canary.exists()


# Ports ------------------------------------------------------------------------------------------


def test_nothing_listens_but_the_api_and_engines_on_this_machine(victim: Server) -> None:
    places = {pid: listening(pid) for pid in (victim.process.pid, *victim.engines())}
    assert places[victim.process.pid] == [("127.0.0.1", victim.port)]
    others = [
        place for pid, found in places.items() if pid != victim.process.pid for place in found
    ]
    assert others
    assert {address for address, _ in others} == {"127.0.0.1"}


def listening(pid: int) -> list[tuple[str, int]]:
    """Addresses and ports on which a process takes connections."""
    inodes = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", str(one.readlink()))
        inodes |= {found[1]} if found else set()
    places = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                octets = bytes.fromhex(address)[::-1]
                places.append((".".join(map(str, octets)), int(port, 16)))
    return places


# Ids, paths, queries ----------------------------------------------------------------------------

IDS = (
    "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cx", "C%3a%5cx",
    "file-..%2f..%2fx", "file-%00", "a" * 5000, "'%20OR%20'1'='1", "%3Cimg%20onerror%3D1%3E",
)  # fmt: skip


@pytest.mark.parametrize("each", [2, pytest.param(len(IDS), marks=pytest.mark.slow)])
def test_ids_lead_nowhere(victim: Server, each: int) -> None:
    before = state(victim)
    home = victim.stderr.parent
    store = Store(home, Settings(home=home, offline=True))
    routes = routes_of(create_app(store, ServeConfig()))
    store.close()
    ids, tried = cycle(IDS), 0
    with httpx.Client(base_url=victim.url, timeout=PATIENCE) as client:
        for route in routes:
            if "{" not in route.path or route.path in OPEN_PATHS:
                continue
            for method in sorted(route.methods):
                for one in islice(ids, each):
                    path = re.sub("{[^}]*}", one.replace("\\", r"\\"), route.path)
                    body = {"json": {}} if method == "POST" else {}
                    reply = client.request(method, path, **body)
                    listed = reply.status_code == 200 and reply.json()["data"] == []
                    assert 400 <= reply.status_code < 500 or listed, (method, path, reply.text)
                    assert "root:" not in reply.text
                    tried += 1
    assert tried > 20 * each
    assert state(victim) == before


@pytest.mark.parametrize("each", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_queries_are_values_never_statements(victim: Server, each: int) -> None:
    before = state(victim)
    texts = ("' OR 1=1--", "'; DROP TABLE records;--", "\x00", "%", "1 UNION SELECT secret")
    lists = ("/v1/files", "/v1/fine_tuning/jobs", "/v1/models", "/v1/chat/completions",
             "/v1/batches", "/tunewright/v1/usage")  # fmt: skip
    attacks = cycle(texts)
    names = ("after", "limit", "order", "purpose", "model", "metadata[k]", "by", "since")
    with httpx.Client(base_url=victim.url, timeout=PATIENCE) as client:
        for path in lists:
            for name in names:
                for text in islice(attacks, each):
                    reply = client.get(path, params={name: text})
                    assert reply.status_code < 500, (path, name, text, reply.text)
        for text in texts[:3]:
            bearer = {"Authorization": f"Bearer {text}x".replace("\x00", "")}
            assert client.get("/v1/models", headers=bearer).status_code in (200, 401)
    assert state(victim) == before


def test_a_key_that_is_a_statement_opens_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    secret = issue_key(store, "one").secret
    store.close()
    server = start_server(home)
    try:
        for wrong in ("' OR '1'='1", "x' OR (SELECT hash FROM api_keys LIMIT 1) LIKE '%",
                      secret[:-1], secret + "x", secret.upper(), "%", "null"):  # fmt: skip
            for path in ("/v1/models", "/v1/files", "/metrics"):
                headers = {"Authorization": f"Bearer {wrong}"}
                reply = httpx.get(server.url + path, headers=headers)
                assert reply.status_code == 401, wrong
        assert "SELECT" not in server.stderr.read_text()
    finally:
        server.stop()


# Bodies and heads -------------------------------------------------------------------------------


def post(head: str, body: bytes) -> bytes:
    """A raw request to the chat route, after which the connection is to be closed."""
    begin = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{begin}{head}\r\nConnection: close\r\n\r\n".encode() + body


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADS = (
    "Content-Length: 5\r\nContent-Length: 60",
    "Content-Length : 5",
    "Content-Length: +5",
    "Content-Length: 5\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding:\x0bchunked",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\nX: y",
    "X: a\x00b\r\nContent-Length: 5",
)


@pytest.mark.parametrize("head", HEADS)
def test_no_second_request_hides_in_a_body(victim: Server, head: str) -> None:
    """One answer at most, and not the hidden request's."""
    reply = victim.raw(post(head, b"0\r\n\r\n" + SMUGGLED), seconds=30)
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in reply
    assert reply.split()[1] in (b"400", b"501"), reply[:200]


def test_compressed_bodies_are_not_unpacked(victim: Server) -> None:
    packed = gzip.compress(json.dumps({"model": "slow", "messages": HELLO}).encode() + b" " * 10**8)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    reply = httpx.post(victim.url + CHAT, content=packed, headers=headers, timeout=PATIENCE)
    assert reply.status_code in (400, 415)


def test_forms_of_very_many_parts_are_refused_early(victim: Server) -> None:
    before = state(victim)
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    evil = "multipart/form-data; !=" + '"\\' * 20_000
    for kind, body in (("multipart/form-data; boundary=b", part * 300_000), (evil, part)):
        reply = httpx.post(
            f"{victim.url}/v1/files", content=body, headers={"Content-Type": kind}, timeout=PATIENCE
        )
        assert reply.status_code in (400, 413, 415)
    assert state(victim) == before
    assert victim.chat(max_tokens=1).status_code == 200


# Data -------------------------------------------------------------------------------------------


def test_data_that_names_classes_stays_data(victim: Server) -> None:
    """Reserved keys of other frameworks, templates and secrets' names: all of it is text."""
    texts: list[Any] = [
        json.dumps({"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}),
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% for a in range(10**9) %}x{% endfor %}",
        "{0.__class__.__mro__} %(x)s ${HOME}",
        "!!python/object/apply:os.system ['id']",
    ]
    with httpx.Client(base_url=victim.url, timeout=PATIENCE) as client:
        for text in texts:
            body = {"model": "slow", "prompt": text, "echo": True, "max_tokens": 1}
            told = client.post("/v1/completions", json=body).json()
            assert told["choices"][0]["text"].startswith(text)
            messages = {"messages": [{"role": "user", "content": text}], "model": "slow"}
            whole = client.post("/tokenize", json=messages).json()
            alone = client.post("/tokenize", json={"model": "slow", "prompt": text}).json()
            assert whole["count"] > alone["count"]


def test_answers_are_never_a_page(victim: Server) -> None:
    """What a client sent comes back as JSON, which no browser takes for a page."""
    markup = "<img src=x onerror=alert(1)>"
    with httpx.Client(base_url=victim.url, timeout=PATIENCE) as client:
        for reply in (
            client.get(f"/{markup}"),
            client.get(f"/v1/models/{markup}"),
            client.post(CHAT, json={"model": markup, "messages": HELLO}),
            client.post(CHAT, json={"model": "slow", "messages": HELLO, markup: 1}),
            client.get("/v1/files", params={"order": markup}),
        ):
            assert reply.headers["content-type"] == "application/json"
            assert reply.headers["x-content-type-options"] == "nosniff"
        page = client.post("/v1/files", files={"file": ("a.html", f"<script>{markup}".encode())},
                           data={"purpose": "user_data"}).json()  # fmt: skip
        body = client.get(f"/v1/files/{page['id']}/content")
        assert "html" not in body.headers["content-type"]
        assert body.headers["x-content-type-options"] == "nosniff"
        client.delete(f"/v1/files/{page['id']}")
