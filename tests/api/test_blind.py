"""The blind comparison's page and its ways to the server: opened by a link, by nothing else."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.evaluation.blind.conftest import box_of, write_evaluation

from tunewright.config.judging import BlindConfig
from tunewright.core.api_keys import issue_key
from tunewright.core.store import Store
from tunewright.evaluation.blind.create import create_session
from tunewright.evaluation.blind.session import BlindSession, read_items

from .conftest import Server, start_server

HOSTILE = "</script><script>window.hacked=1</script>"


@pytest.fixture
def session(store: Store) -> BlindSession:
    """Twelve questions with hostile answers."""
    evaluation = write_evaluation(store, 16, HOSTILE)
    return create_session(BlindConfig(evaluation=evaluation.id), store)


@pytest.fixture
def running(store: Store, session: BlindSession) -> Iterator[Server]:
    """A server of that home which asks for keys: experts have none."""
    issue_key(store, "somebody")
    server = start_server(store.home)
    try:
        yield server
    finally:
        server.stop()


def cast(server: Server, token: str, voter: str, question: str, choice: Any) -> httpx.Response:
    body = {"voter": voter, "question": question, "choice": choice, "comment": "好"}
    return httpx.put(f"{server.url}/blind/{token}/votes", json=body)


def test_a_link_opens_its_session_and_nothing_else(
    running: Server, session: BlindSession, store: Store
) -> None:
    page = httpx.get(f"{running.url}/blind/{session.token}")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    for name, kind in (("blind.js", "text/javascript"), ("blind.css", "text/css")):
        found = httpx.get(f"{running.url}/blind/assets/{name}")
        assert found.headers["content-type"].startswith(kind)
    url = f"{running.url}/blind/{session.token}/session"
    seen = httpx.get(url, params={"voter": "王老师"}).json()
    assert set(seen) == {"questions", "votes"}
    assert all(set(one) == {"id", "turns", "reference", "a", "b"} for one in seen["questions"])
    for secret in (session.seed, session.models[1], session.evaluation):
        assert secret not in page.text + str(seen)
    wrong = session.token[:-1] + ("A" if session.token[-1] != "A" else "B")
    for path in (wrong, f"{wrong}/session?voter=x", "assets/other.js", "assets/..%2freport.css"):
        assert httpx.get(f"{running.url}/blind/{path}").status_code == 404, path
    assert cast(running, wrong, "x", seen["questions"][0]["id"], "a").status_code == 404
    assert httpx.get(f"{running.url}/v1/models").status_code == 401
    # What the log says of it holds no link.
    assert session.token not in running.stderr.read_text()
    assert "/blind/{token}" in running.stderr.read_text()


def test_what_is_no_vote_is_refused(running: Server, session: BlindSession, store: Store) -> None:
    first = read_items(store, session)[0].id
    for voter, question, choice in (
        ("", first, "a"), ("x" * 65, first, "a"), ("Wang", "nowhere", "a"), ("Wang", first, "c"),
        ("Wang", first, 1), ("a\u202eb", first, "a"),
    ):  # fmt: skip
        refused = cast(running, session.token, voter, question, choice)
        assert refused.status_code == 400, (voter, question, choice)
        assert refused.json()["error"]["type"] == "invalid_request_error"
    url = f"{running.url}/blind/{session.token}/votes"
    plain = httpx.put(url, content="{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    assert box_of(store, session).read() == {}


def test_experts_at_once_and_a_kill_lose_nothing(
    running: Server, session: BlindSession, store: Store
) -> None:
    ids = [item.id for item in read_items(store, session)]
    names = [f"expert {n}" for n in range(4)]

    def vote(name: str) -> None:
        for question in ids:
            assert cast(running, session.token, name, question, "a").json() == {"saved": True}

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(vote, names))
    assert cast(running, session.token, names[0], ids[0], None).status_code == 200
    running.stop(signal.SIGKILL)
    again = start_server(store.home)
    try:
        url = f"{again.url}/blind/{session.token}/session"
        seen = [httpx.get(url, params={"voter": name}).json()["votes"] for name in names]
    finally:
        again.stop()
    assert [len(one) for one in seen] == [len(ids) - 1, *[len(ids)] * 3]
    assert seen[1][ids[0]] == {"choice": "a", "comment": "好"}


def test_votes_during_a_kill_are_saved_when_they_were_said_to_be(
    running: Server, session: BlindSession, store: Store
) -> None:
    ids = [item.id for item in read_items(store, session)]
    saved: list[str] = []

    def vote() -> None:
        for n in range(1000):
            try:
                done = cast(running, session.token, f"v{n}", ids[n % len(ids)], "b")
            except httpx.TransportError:
                return
            if done.status_code == 200:
                saved.append(f"v{n}")
            if len(saved) == 25:
                running.process.send_signal(signal.SIGKILL)

    vote()
    assert len(saved) >= 25
    assert set(saved) <= set(box_of(store, session).read())
