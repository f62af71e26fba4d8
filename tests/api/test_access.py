"""Who is let in where: every route, every kind of key, and tricks with hosts and paths."""

import asyncio
import itertools
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from tunewright.api.access import authenticate
from tunewright.api.app import create_app
from tunewright.api.scopes import LINK_PATHS, OPEN_PATHS, opens, scope_of
from tunewright.config.serving import ServeConfig
from tunewright.core.api_keys import issue_key, revoke_key
from tunewright.core.records import Model
from tunewright.core.scopes import SCOPES
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .conftest import PATIENCE, Server, eventually, start_program, start_server

ANY = "0.0.0.0"  # noqa: S104 - what a test is about
SHAPE = {"message", "type", "param", "code"}


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Every route of the application, also those of included routers."""

    def walk(routes: Iterable[Any]) -> Iterator[APIRoute]:
        for route in routes:
            if isinstance(route, APIRoute):
                yield route
            else:
                yield from walk(route.original_router.routes)

    return list(walk(app.routes))


@pytest.fixture
def app(store: Store) -> FastAPI:
    return create_app(store, ServeConfig())


def test_every_route_has_a_scope_or_is_a_probe(app: FastAPI) -> None:
    routes = routes_of(app)
    assert len(routes) > 6
    for route in routes:
        for method in route.methods:
            if route.path in OPEN_PATHS or route.path.startswith(LINK_PATHS):
                assert scope_of(method, route.path) is None
            else:
                assert scope_of(method, route.path) in SCOPES, f"{method} {route.path}"


def test_no_body_is_read_before_the_key(app: FastAPI) -> None:
    """FastAPI reads what it parses itself before it asks any dependency."""
    assert [route.path for route in routes_of(app) if route.body_field is not None] == []


def test_what_the_table_does_not_know_is_closed() -> None:
    for method, path in (
        ("GET", "/v1/new"),
        ("GET", "/v1/modelsandmore"),
        ("POST", "/v1/models"),
        ("GET", "/"),
        ("POST", "/metrics"),
    ):
        assert scope_of(method, path) is None
        assert not opens(SCOPES, None)
    assert opens({"admin"}, "files")
    assert opens({"files"}, "files")
    assert not opens({"files", "inference"}, "admin")


def test_a_route_without_a_scope_refuses_even_admins(store: Store) -> None:
    app = create_app(store, ServeConfig())
    app.add_api_route("/v1/new", lambda: {}, dependencies=[Depends(authenticate)])
    assert ask_in_process(app, "GET", "/v1/new").status_code == 403


def ask_in_process(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    """One request without a socket."""

    async def ask() -> httpx.Response:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, **options)

    return asyncio.run(ask())


# A server with keys of every kind ---------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a client may send, by its kind; ``home`` is where the keys are."""
    home = tmp_path_factory.mktemp("keyed")
    store = Store(home, Settings(home=home, offline=True))
    made = {
        "admin": issue_key(store, "boss", scopes=("admin",)).secret,
        "files": issue_key(store, "files only", scopes=("files",)).secret,
        "sales": issue_key(store, "sales", project="sales").secret,
        "revoked": issue_key(store, "left", scopes=("admin",)).secret,
        "expired": issue_key(store, "old", scopes=("admin",), seconds=1).secret,
    }
    revoke_key(store, "left")
    for name, project in (("ft:nano:all", None), ("ft:nano:sales", "sales"), ("ft:nano:hr", "hr")):
        store.add(
            Model(
                id=Store.new_id(Model), name=name, base="nano", base_digest="0", renderer_hash="0",
                run="run_0123456789ab", step=1, project=project,
            )
        )  # fmt: skip
    time.sleep(1.1)
    store.close()
    return {**made, "home": str(home)}


@pytest.fixture(scope="module")
def keyed(secrets: dict[str, str]) -> Iterator[Server]:
    server = start_server(Path(secrets["home"]))
    try:
        yield server
    finally:
        server.stop()


def every_route(secrets: dict[str, str]) -> list[tuple[str, str]]:
    """``(method, path)`` of everything but the probes, with an id where a path wants one."""
    store = Store(Path(secrets["home"]))
    found = []
    for route in routes_of(create_app(store, ServeConfig())):
        path = re.sub("{[^}]*}", "file-0123456789ab", route.path)
        if path not in OPEN_PATHS and not path.startswith(LINK_PATHS):
            found += [(method, path) for method in sorted(route.methods)]
    store.close()
    return found


def answer_to_head(server: Server, head: bytes) -> bytes:
    """What a server says to a request whose body never comes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(head)
        return connection.recv(65536)


@pytest.mark.parametrize("each", [2, pytest.param(11, marks=pytest.mark.slow)])
def test_every_route_refuses_every_wrong_key(
    keyed: Server, secrets: dict[str, str], each: int
) -> None:
    """``each`` of the wrong keys at every route, in turns; among the slow tests all of them."""
    wrong = {
        "none": {},
        "empty": {"Authorization": ""},
        "other scheme": {"Authorization": f"Basic {secrets['admin']}"},
        "bare": {"Authorization": secrets["admin"]},
        "wrong": {"Authorization": "Bearer sk-tw-" + "A" * 43},
        "shortened": {"Authorization": f"Bearer {secrets['admin'][:-1]}"},
        "longer": {"Authorization": f"Bearer {secrets['admin']}x"},
        "injection": {"Authorization": "Bearer x' OR (SELECT 1)--"},
        "binary": {"Authorization": b"Bearer \xff\xfe"},
        "revoked": {"Authorization": f"Bearer {secrets['revoked']}"},
        "expired": {"Authorization": f"Bearer {secrets['expired']}"},
    }
    with httpx.Client(base_url=keyed.url, timeout=PATIENCE) as client:
        turn = itertools.cycle(wrong.items())
        for method, path in every_route(secrets):
            for kind, headers in itertools.islice(turn, each):
                # A body that would be refused: the key is looked at first.
                reply = client.request(method, path, headers=headers, content=b'{"broken')
                assert reply.status_code == 401, (method, path, kind)
                error = reply.json()["error"]
                assert set(error) == SHAPE
                assert error["code"] == "invalid_api_key"
                assert not any(secret in reply.text for secret in secrets.values())
        for state in ("revoked", "expired"):
            assert f"is {state}" in client.get("/v1/models", headers=wrong[state]).text


def test_a_key_opens_what_its_scopes_say(keyed: Server, secrets: dict[str, str]) -> None:
    with httpx.Client(base_url=keyed.url, timeout=PATIENCE) as client:
        for method, path in every_route(secrets):
            for who, scopes in (("files", {"files"}), ("admin", {"admin"})):
                headers = {"Authorization": f"Bearer {secrets[who]}"}
                reply = client.request(method, path, headers=headers)
                allowed = opens(scopes, scope_of(method, path))
                assert (reply.status_code == 403) == (not allowed), (method, path, who)
                assert reply.status_code != 401
                if not allowed:
                    assert reply.json()["error"]["code"] == "missing_scope"


def test_other_hosts_and_odd_paths_open_nothing(keyed: Server) -> None:
    hosts = ["x", "x/health?", "/ready?", "127.0.0.1/health#", "health", "x@y", "[::1]", "%2f"]
    paths = [
        b"/v1/models", b"/v1/models?/health", b"/v1/models#/health", b"/health/../v1/models",
        b"/health/..;/v1/models", b"//v1/models", b"/v1//models", b"/v1/models/", b"/V1/models",
        b"/v1/%6dodels", b"/health%2f..%2fv1%2fmodels", b"http://x/health?/v1/models",
        b"@health/v1/models", b"/v1/models;x=/health", b"/v1/models%00/health", b"/metrics?",
        b"/openapi.json?x=/ready", b"/tunewright/v1/usage#/health",
    ]  # fmt: skip
    for host in hosts:
        for path in paths:
            request = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
            reply = keyed.raw(request % (path, host.encode()))
            status = int(reply.split()[1])
            assert status in (400, 401, 404), (host, path, reply[:200])
            assert b"tunewright_" not in reply
            assert b'"object"' not in reply


def test_a_body_without_a_key_changes_nothing(keyed: Server, secrets: dict[str, str]) -> None:
    """Not read, not parsed, not written down; and the answer comes before the body has ended."""
    home = Path(secrets["home"])

    def files() -> dict[str, int]:
        return {str(p): p.stat().st_size for p in home.rglob("*")
                if p.is_file() and p.name != "stderr.txt"}  # fmt: skip

    # The books of the requests before are written within a second.
    time.sleep(2)
    before = files()
    for method, path in every_route(secrets):
        if method in ("POST", "PUT", "DELETE"):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            for length in ("Content-Length: 1000000000", "Transfer-Encoding: chunked"):
                reply = answer_to_head(keyed, f"{head}{length}\r\n\r\n".encode())
                assert reply.startswith(b"HTTP/1.1 401"), (method, path)
    assert files() == before
    assert keyed.engines() == []


def test_a_project_sees_its_models_and_those_of_the_command_line(
    keyed: Server, secrets: dict[str, str]
) -> None:
    with openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=secrets["sales"]) as client:
        names = [model.id for model in client.models.list()]
        assert "ft:nano:all" in names
        assert "ft:nano:sales" in names
        assert "ft:nano:hr" not in names
        assert client.models.retrieve("ft:nano:sales").id == "ft:nano:sales"
        with pytest.raises(openai.NotFoundError) as foreign:
            client.models.retrieve("ft:nano:hr")
        with pytest.raises(openai.NotFoundError) as missing:
            client.models.retrieve("ft:nano:xx")
        assert foreign.value.message.replace("hr", "xx") == missing.value.message
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(
                model="ft:nano:hr", messages=[{"role": "user", "content": "hello"}]
            )


def test_probes_are_open_and_tell_nothing(keyed: Server) -> None:
    assert httpx.get(f"{keyed.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{keyed.url}/ready").json() == {"status": "ready"}
    assert httpx.get(f"{keyed.url}/ready", headers={"Authorization": "x"}).status_code == 200


# From open to closed -----------------------------------------------------------------------------


def test_a_first_key_closes_an_open_server_and_its_end_does_not_open_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = start_server(home)
    store = Store(home, Settings(home=home, offline=True))
    try:
        url = f"{server.url}/v1/models"
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            foreign = httpx.request(method, url, headers={"Origin": "https://evil.example"})
            assert foreign.status_code == 403
        _, secret = issue_key(store, "crm")
        assert eventually(lambda: httpx.get(url).status_code == 401, seconds=5)
        good = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(url, headers=good).status_code == 200
        assert httpx.get(url, headers={**good, "Host": "tunewright.example"}).status_code == 200
        revoke_key(store, "crm")
        assert eventually(lambda: httpx.get(url, headers=good).status_code == 401, seconds=5)
        assert httpx.get(url).status_code == 401
    finally:
        server.stop()
    server = start_server(home, open=True)
    try:
        assert httpx.get(f"{server.url}/v1/models").status_code == 200
    finally:
        server.stop()
        store.close()


def test_strangers_get_a_first_key_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    keys = []
    for _ in range(2):
        process, said = start_program(home, tmp_path / "log", host=ANY)
        try:
            url = said["serving"]["url"].replace(ANY, "127.0.0.1")
            keys.append(said["serving"]["first_key"])
            assert httpx.get(f"{url}/v1/models").status_code == 401
            good = {"Authorization": f"Bearer {keys[0]}"}
            assert httpx.get(f"{url}/v1/models", headers=good).status_code == 200
        finally:
            process.terminate()
            process.wait(PATIENCE)
        assert keys[0] not in (tmp_path / "log").read_text()
    assert keys[0].startswith("sk-tw-")
    assert keys[1] is None


@pytest.mark.parametrize(
    ("config", "message"),
    [({"host": ANY, "open": True}, "open is for this one only"),
     ({"open": True, "require_keys": True}, "leave out require_keys")],
)  # fmt: skip
def test_open_and_closed_at_once_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    process, said = start_program(tmp_path / "home", tmp_path / "log", **config)
    assert process.wait(timeout=PATIENCE) == 2
    assert message in json.dumps(said)
    assert not (tmp_path / "home" / "tunewright.db").exists()
