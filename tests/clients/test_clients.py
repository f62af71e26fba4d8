"""Clients that people have: each in its own environment, against one live server with a key."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import HELLO, PATIENCE, start_server

from tunewright.core.api_keys import issue_key
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .environments import PINS, IndexOutOfReachError, python_of

HERE = Path(__file__).resolve().parent
CLIENTS = sorted(pins.stem for pins in PINS.glob("*.txt"))


@dataclass(frozen=True)
class Served:
    """Where a server is, its key, and its answer to the clients' question."""

    url: str
    key: str
    answer: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("clients")
    store = Store(home, Settings(home=home, offline=True))
    key = issue_key(store, "clients").secret
    store.close()
    server = start_server(home, timeout=PATIENCE)
    try:
        body = {"model": "nano", "messages": [{**HELLO[0], "content": "你好"}], "temperature": 0}
        reply = httpx.post(
            f"{server.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE,
        )
        answer = reply.json()["choices"][0]["message"]["content"]
        yield Served(f"{server.url}/v1", key, answer)
    finally:
        server.stop()


def test_every_client_has_a_program_and_pins() -> None:
    programs = {path.stem.removeprefix("use_") for path in HERE.glob("use_*.py")}
    assert programs == {client.replace("-", "_") for client in CLIENTS}
    for client in CLIENTS:
        lines = (PINS / f"{client}.txt").read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines), client


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_works_as_it_is(client: str, served: Served, tmp_path: Path) -> None:
    try:
        python = python_of(client)
    except IndexOutOfReachError as error:
        pytest.skip(f"the package index is out of reach, so {client} cannot be installed: {error}")
    program = HERE / f"use_{client.replace('-', '_')}.py"
    tokenizer = str(files("tunewright") / "bases" / "nano")
    done = subprocess.run(
        [str(python), str(program), served.url, served.key, tokenizer],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (said,) = [line for line in done.stdout.splitlines() if line.startswith('{"text"')]
    answers = json.loads(said)
    assert set(answers.values()) == {served.answer}
