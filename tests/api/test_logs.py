"""Logs: one line for each request, in three forms, and no secret in any of them."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.core.api_keys import issue_key
from tunewright.core.errors import StorageError
from tunewright.core.logs import logging_to_stderr, masked, note
from tunewright.core.settings import Settings
from tunewright.core.store import Store

from .conftest import PATIENCE, start_server

CANARY = "canary-7f3a91-of-a-prompt"
WRONG = "sk-tw-WrongWrongWrongWrongWrongWrongWrongWrong123"


def test_no_secret_is_in_logs_errors_or_metrics(slow_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    key, secret = issue_key(store, "crm", project="sales", scopes=("admin",))
    store.close()
    server = start_server(
        home, bases=[str(slow_base)], timeout=PATIENCE, log_format="json", queue=1
    )
    messages = [{"role": "user", "content": CANARY}]
    answers = []
    try:
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=PATIENCE
        ) as client:

            def ask(**values: Any) -> httpx.Response:
                body = {"model": "slow", "messages": messages, "max_tokens": 4, **values}
                answers.append(client.post("/v1/chat/completions", json=body))
                return answers[-1]

            named = ask().headers["x-request-id"]
            ask(stream=True)
            for wrong in ({"temperature": 9}, {"model": secret}, {"model": WRONG}, {"n": CANARY},
                          {"messages": [{"role": "user", "content": CANARY * 9999}]}):  # fmt: skip
                assert ask(**wrong).status_code >= 400
            for path in (f"/v1/models/{secret}", f"/{secret}", f"/v1/models?key={secret}",
                         f"/tunewright/v1/usage?by={secret}", f"/tunewright/v1/usage?since={WRONG}",
                         "/metrics"):  # fmt: skip
                answers.append(client.get(path))
            answers.append(client.get("/v1/models", headers={"Authorization": f"Bearer {WRONG}"}))
            answers.append(client.get("/v1/models", headers={"Authorization": WRONG}))
    finally:
        assert server.stop() == 0
    log = server.stderr.read_text()
    for where in (log, *(str(reply.headers) + reply.text for reply in answers)):
        assert secret[6:] not in where
        assert WRONG[6:] not in where
    assert CANARY not in log
    told = [json.loads(line) for line in log.splitlines()]
    lines = [line for line in told if line["event"] == "request"]
    assert len(lines) == len(answers)
    # Engines write to the same place, in the same form.
    assert {line["event"] for line in told} == {"request", "engine_ready"}
    first = next(line for line in lines if line["id"] == named)
    assert {name: first[name] for name in ("event", "key", "project", "method", "route", "model",
                                           "status", "completion_tokens")} == {
        "event": "request", "key": key.id, "project": "sales", "method": "POST",
        "route": "/v1/chat/completions", "model": "slow", "status": 200, "completion_tokens": 4,
    }  # fmt: skip
    assert first["seconds"] > 0
    assert "first_token_seconds" in lines[1]
    assert {line.get("code") for line in lines} >= {"model_not_found", "invalid_api_key"}


@pytest.mark.parametrize("form", ["text", "off"])
def test_other_forms_and_prompts_only_when_asked_for(tmp_path: Path, form: str) -> None:
    server = start_server(tmp_path / "home", log_format=form, log_prompts=form == "text")
    body = {"model": "none", "messages": [{"role": "user", "content": CANARY}]}
    try:
        assert httpx.post(f"{server.url}/v1/chat/completions", json=body).status_code == 404
    finally:
        server.stop()
    log = server.stderr.read_text()
    assert (CANARY in log) == (form == "text")
    assert ("404 POST /v1/chat/completions" in log) == (form == "text")
    assert "model_not_found" in log or form == "off"


def test_what_a_librarys_error_says_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("tunewright.test")

    def fail(error: Exception) -> dict[str, str]:
        with logging_to_stderr("json"):
            try:
                raise error
            except Exception:
                log.exception("unexpected")
        said: dict[str, str] = json.loads(capsys.readouterr().err)
        return said

    foreign = fail(ValueError(f"input was {CANARY}"))
    assert CANARY not in json.dumps(foreign)
    assert "ValueError" in foreign["message"]
    assert "test_logs.py" in foreign["message"]
    assert foreign["event"] == "error"
    assert "disk is full" in fail(StorageError("the disk is full"))["message"]


def test_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("text"):
        facts = {"status": 200, "model": "a\nb 200", "key": None, "odd": "Bearer abcd.efgh"}
        note("request", facts)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert '"a\\nb 200"' in shown
    assert "key=" not in shown
    assert "abcd" not in shown


def test_what_looks_like_a_key_is_blacked_out() -> None:
    assert masked("sk-tw-abcdefgh_-12 and sk-proj-12345678x") == "*** and ***"
    assert masked("Authorization: Bearer abc.defgh=") == "Authorization: ***"
    assert masked("risk-averseness") == "risk-averseness"
