"""Exports over HTTP: asked for, made by a process of their own, looked at, deleted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.export import conftest as exporting

from tunewright.api.export_objects import ExportDeleted, ExportObject
from tunewright.api.scopes import scope_of
from tunewright.core.api_keys import issue_key
from tunewright.core.queue import Queue
from tunewright.core.records import Export, Model
from tunewright.core.store import Store

from .conftest import Server, children_running, eventually, start_server

tested = exporting.tested
make_tuned = exporting.make_tuned
QUICK = {"to": "adapter", "parity": {"prompts": 2, "max_new_tokens": 8, "device": "cpu"}}


@pytest.fixture
def tuned(make_tuned: exporting.MakeTuned) -> Model:
    """A tuned model in the store."""
    return make_tuned()


@pytest.fixture
def server(store: Store, tuned: Model) -> Iterator[Server]:
    """A server of the store's models."""
    running = start_server(store.home, jobs={"lease": 1, "pause": 0})
    yield running
    running.stop()


def ask(server: Server, model: str, secret: str = "", **settings: Any) -> httpx.Response:
    body = {"model": model, "settings": {**QUICK, **settings}}
    return httpx.post(f"{server.url}/v1/exports", json=body, headers=bearer(secret), timeout=60)


def show(server: Server, path: str, secret: str = "") -> httpx.Response:
    return httpx.get(f"{server.url}/v1/exports{path}", headers=bearer(secret), timeout=60)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def test_an_export_is_made_and_seen_by_its_project_alone(
    store: Store, tuned: Model, server: Server
) -> None:
    secrets = {
        project: issue_key(store, project, project=project).secret for project in ("law", "sales")
    }
    made = ask(server, tuned.name, secrets["law"])
    assert made.status_code == 201, made.text
    found = made.json()
    ExportObject.model_validate(found)
    assert found["status"] in ("queued", "running")
    assert not {"model", "output", "overwrite"} & set(found["settings"])
    path = f"/{found['id']}"
    assert eventually(
        lambda: show(server, path, secrets["law"]).json()["status"] in ("succeeded", "failed")
    )
    found = show(server, path, secrets["law"]).json()
    ExportObject.model_validate(found)
    assert (found["status"], found["error"]) == ("succeeded", None)
    assert found["parity"]["passed"]
    assert found["manifest"]["base"] == Path(tuned.base).name
    assert str(store.home) not in str(found)
    record = store.get(Export, found["id"])
    assert (Path(record.path) / "adapter_model.safetensors").is_file()
    assert (record.project, record.finished) == ("law", store.get(Export, record.id).finished)
    assert [one["id"] for one in show(server, "", secrets["law"]).json()["data"]] == [record.id]
    assert show(server, "", secrets["sales"]).json()["data"] == []
    assert show(server, path, secrets["sales"]).status_code == 404
    url = f"{server.url}/v1/exports{path}"
    assert httpx.delete(url, headers=bearer(secrets["sales"])).status_code == 404
    gone = httpx.delete(url, headers=bearer(secrets["law"])).json()
    assert ExportDeleted.model_validate(gone).id == record.id
    assert not Path(record.path).exists()
    assert show(server, path, secrets["law"]).status_code == 404


def test_what_cannot_be_made_is_refused_or_says_why(
    store: Store, tuned: Model, server: Server
) -> None:
    for model, settings, said in (
        (tuned.name, {"to": "floppy"}, "to"),
        (tuned.name, {"output": "/etc/cron.d"}, "output is not for clients"),
        (tuned.name, {"parity": {"dataset": "ds_nothing"}}, "no dataset"),
        ("nobody", {}, "no model 'nobody'"),
    ):
        refused = ask(server, model, **settings)
        assert refused.status_code in (400, 404), refused.text
        assert said in refused.json()["error"]["message"]
    assert store.list(Export) == []
    # Only what makes it finds out that ChatGLM3's layout is not this base's.
    found = ask(server, tuned.name, to="chatglm3").json()
    assert eventually(lambda: show(server, f"/{found['id']}").json()["status"] == "failed")
    assert "ChatGLM3" in show(server, f"/{found['id']}").json()["error"]["message"]


def making(server: Server) -> list[int]:
    """Processes of a server that export."""
    return children_running(server.process.pid, b"exporting_process")


@pytest.mark.slow
def test_one_that_is_deleted_is_broken_off_and_one_that_is_killed_is_made_again(
    store: Store, tuned: Model, server: Server
) -> None:
    first = ask(server, tuned.name, parity={"check": False}).json()["id"]
    assert eventually(lambda: bool(making(server)))
    assert httpx.delete(f"{server.url}/v1/exports/{first}").status_code == 200
    assert eventually(lambda: not making(server))
    assert Queue(store).list() == []
    second = ask(server, tuned.name, parity={"check": False}).json()["id"]
    assert eventually(lambda: bool(making(server)))
    (process,) = making(server)
    server.stop(signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{process}").exists())
    again = start_server(store.home, jobs={"lease": 1, "pause": 0})
    try:
        assert eventually(lambda: Queue(store).get(second).state == "succeeded")
        assert show(again, f"/{second}").json()["status"] == "succeeded"
    finally:
        again.stop()
    assert Queue(store).get(second).attempts == 2
    assert [one.id for one in store.list(Export)] == [second]


def test_routes_want_the_scope_of_fine_tuning() -> None:
    assert {scope_of(method, "/v1/exports") for method in ("GET", "POST")} == {"fine_tuning"}
    assert scope_of("DELETE", "/v1/exports/{export_id}") == "fine_tuning"
