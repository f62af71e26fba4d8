"""What is billed: as much as was produced, to whom it was given, and not lost with the server."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.cli.main import main
from tunewright.core.api_keys import issue_key, last_uses
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.core.usage import read_usage

from .conftest import HELLO, PATIENCE, Server, eventually, start_server


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Store, str]]:
    """A store, and the secret of a key for clients in it."""
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    yield store, issue_key(store, "crm").secret
    store.close()


def start(store: Store, base: Path) -> Server:
    return start_server(store.home, bases=[str(base)], timeout=PATIENCE)


def of_model(store: Store) -> dict[str, Any]:
    rows = read_usage(store, "model", 3600)
    return {row["model"]: row for row in rows}


def _holds_text(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    return any(choice["delta"].get("content") for choice in json.loads(line[6:])["choices"])


def test_all_that_was_produced_is_billed(
    slow_base: Path, kept: tuple[Store, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store, secret = kept
    server = start(store, slow_base)
    client = openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=secret, max_retries=0, timeout=PATIENCE
    )
    ask = client.chat.completions.create
    prompt, completion = 0, 0
    try:
        for options in ({}, {"stream": True, "stream_options": {"include_usage": True}}):
            reply: Any = ask(model="slow", messages=HELLO, max_tokens=9, **options)
            usage = list(reply)[-1].usage if options else reply.usage
            prompt, completion = (
                prompt + usage.prompt_tokens,
                completion + usage.completion_tokens,
            )
        # Nobody asked for the counts: they are billed, and not shown.
        shown = list(ask(model="slow", messages=HELLO, max_tokens=9, stream=True))
        assert all(chunk.choices and chunk.usage is None for chunk in shown)
        prompt, completion = prompt + usage.prompt_tokens, completion + usage.completion_tokens
        with pytest.raises(openai.NotFoundError):
            ask(model="slwo", messages=HELLO)
        with pytest.raises(openai.PermissionDeniedError):
            client.get("/../tunewright/v1/usage", cast_to=object)
    finally:
        client.close()
        assert server.stop(signal.SIGTERM) == 0
    rows = of_model(store)
    numbers = ("requests", "prompt_tokens", "completion_tokens", "errors")
    assert tuple(rows["slow"][name] for name in numbers) == (3, prompt, completion, 0)
    assert tuple(rows["unknown"][name] for name in numbers) == (1, 0, 0, 1)
    assert len(last_uses(store)) == 1
    with pytest.raises(SystemExit):
        main(["usage", "--home", str(store.home), "--since", "1h", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["by"], len(said["usage"])) == ("key", 1)
    assert said["usage"][0]["completion_tokens"] == completion


def test_a_stream_is_billed_while_it_runs_and_survives_a_kill(
    slow_base: Path, kept: tuple[Store, str]
) -> None:
    store, secret = kept
    server = start(store, slow_base)
    long = {"model": "slow", "messages": HELLO, "max_tokens": 30_000, "stream": True}
    url, headers = f"{server.url}/v1/chat/completions", {"Authorization": f"Bearer {secret}"}
    try:
        with httpx.stream("POST", url, json=long, headers=headers, timeout=PATIENCE) as reply:
            lines = reply.iter_lines()
            seen = 0
            while seen < 30:
                seen += _holds_text(next(lines))
            billed = lambda: of_model(store).get("slow", {}).get("completion_tokens", 0)  # noqa: E731
            assert eventually(lambda: billed() >= 30)
            server.stop(signal.SIGKILL)
        assert of_model(store)["slow"]["prompt_tokens"] > 0
    finally:
        server.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_hang_up_is_billed_for_what_was_produced(
    slow_base: Path, kept: tuple[Store, str]
) -> None:
    store, secret = kept
    admin = issue_key(store, "boss", scopes=("admin",)).secret
    server = start(store, slow_base)
    long = {"model": "slow", "messages": HELLO, "max_tokens": 30_000, "stream": True}
    url, headers = f"{server.url}/v1/chat/completions", {"Authorization": f"Bearer {secret}"}
    usage = f"{server.url}/tunewright/v1/usage"
    boss = {"Authorization": f"Bearer {admin}"}
    try:
        with httpx.stream("POST", url, json=long, headers=headers, timeout=PATIENCE) as reply:
            lines = reply.iter_lines()
            seen = 0
            while seen < 20:
                seen += _holds_text(next(lines))

        def row() -> dict[str, Any]:
            reply = httpx.get(usage, params={"by": "model", "since": "2h"}, headers=boss)
            return next(row for row in reply.json()["data"] if row["model"] == "slow")

        assert eventually(lambda: row()["requests"] == 1)
        ended = row()
        assert 20 <= ended["completion_tokens"] < 30_000
        assert ended["errors"] == 0
        for wrong in ({"by": "day"}, {"since": "yesterday"}):
            refused = httpx.get(usage, params=wrong, headers=boss)
            assert refused.status_code == 400
    finally:
        assert server.stop() == 0
