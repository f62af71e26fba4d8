"""Requests made from our own OpenAPI document: no 5xx, and every reply as the document says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.sdk.sdk_suite import seeds

from tunewright.api.deployment_objects import ArmObject, DeploymentDeleted, DeploymentObject
from tunewright.api.objects import Page
from tunewright.core.api_keys import issue_key
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy

from .conftest import PATIENCE, Server, eventually, start_server

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Opens everything."""
    home = tmp_path_factory.getbasetemp() / "documented"
    store = Store(home, Settings(home=home, offline=True))
    seeds.restore(store, seeds.placeholders(store))
    seeds.tell(store)
    # Of servers that are not there, so that nothing is loaded for it.
    canary = {"model": "upstream:gone", "percent": 10}
    deploy(store, Order("clerk", {"model": "upstream:away", "canary": canary}))
    made = issue_key(store, "all", scopes=("admin",)).secret
    store.close()
    return made


@pytest.fixture(scope="module")
def server(secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that asks for keys, holds something of everything, and trains nothing."""
    home = tmp_path_factory.getbasetemp() / "documented"
    running = start_server(home, require_keys=True, jobs={"slots": 0}, timeout=20.0)
    try:
        yield running
    finally:
        running.stop()


def ask_all(server: Server, secret: str, folder: Path, *options: str) -> str:
    """What schemathesis found."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run"),
            *(f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {secret}"),
            *("--checks", "all", "--continue-on-failure", "--no-shrink", *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:] + server.stderr.read_text()[-2000:]
    assert not re.search(r" 5\d\d ", server.stderr.read_text())
    return said


@pytest.mark.timeout(600)
def test_a_few_requests_of_every_kind(server: Server, secret: str, tmp_path: Path) -> None:
    options = ("--generation-deterministic", "-n", "2", "--phases", "fuzzing,stateful")
    said = ask_all(server, secret, tmp_path, *options)
    found = re.search(r"(\d+) generated", said)
    assert found is not None
    assert int(found[1]) > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_requests_of_every_kind(server: Server, secret: str, tmp_path: Path) -> None:
    options = ("-n", "20", "--seed", "1", "--workers", "2", "--max-time", "150")
    ask_all(server, secret, tmp_path, *options)


def test_what_is_there_is_as_documented(server: Server, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    document = httpx.get(f"{server.url}/openapi.json", headers=headers).json()
    assert document["paths"]["/v1/files"]["get"]["security"] == [{"key": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"4XX", "5XX"} <= set(operation["responses"])
            assert "422" not in operation["responses"]


def test_deployments_are_as_documented(server: Server, secret: str) -> None:
    """Every reply about one, by the types that the document is made of."""
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(headers=headers, timeout=PATIENCE) as client:

        def told(method: str, path: str = "", **body: Any) -> dict[str, Any]:
            url = f"{server.url}/v1/deployments{path}"
            reply = client.request(method, url, json=body or None)
            assert reply.status_code == 200, reply.text
            values: dict[str, Any] = reply.json()
            return values

        made = told("POST", name="papers", model="nano", settings={"answer": {"en": "Later."}})
        assert DeploymentObject.model_validate(made).parity["nano"].state == "not_compared"
        off = DeploymentObject.model_validate(told("POST", "/papers/off", reason="ticket 4"))
        assert (off.on, off.off_by, off.reason, off.change) == (False, "person", "ticket 4", "off")
        again = told("POST", "/papers/off")
        assert again == told("GET", "/papers"), "what changes nothing makes no revision"
        # Those before may have deleted everything by its name.
        store = Store(server.stderr.parent)
        canary = {"model": "upstream:gone", "percent": 10}
        deploy(store, Order("desk", {"model": "upstream:away", "canary": canary}))
        store.close()
        assert eventually(lambda: "standing" in told("GET", "/desk"))
        clerk = DeploymentObject.model_validate(told("GET", "/desk"))
        assert clerk.standing is not None
        assert set(clerk.standing.missing) == {"upstream:away", "upstream:gone"}
        assert clerk.standing.canary == ArmObject(requests=0, failed=0)
        promoted = DeploymentObject.model_validate(told("POST", "/desk/promote", reason="good"))
        assert (promoted.change, promoted.reason) == ("promoted", "good")
        DeploymentObject.model_validate(told("POST", "/desk/rollback"))
        DeploymentObject.model_validate(told("DELETE", "/desk/canary"))
        for path in ("", "/desk/revisions"):
            Page[DeploymentObject].model_validate(told("GET", path))
        DeploymentDeleted.model_validate(told("DELETE", "/papers"))


def test_a_wrong_method_is_told_every_right_one(server: Server, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    for path, allowed in (
        ("/v1/files", "GET, POST"),
        ("/v1/files/file_id", "DELETE, GET"),
        ("/v1/models/nano", "DELETE, GET"),
        ("/health", "GET"),
    ):
        reply = httpx.request("PUT", server.url + path, headers=headers)
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
