"""The served page in a real browser: two experts at once, and a server that dies in between."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.evaluation.blind.conftest import box_of, write_evaluation

from tunewright.cli.blind import blind
from tunewright.config.judging import BlindConfig
from tunewright.core.store import Store
from tunewright.evaluation.blind.create import create_session
from tunewright.evaluation.blind.session import BlindSession, read_items

from .conftest import Server, start_server
from .test_blind import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def session(store: Store) -> BlindSession:
    """Twelve questions with hostile answers."""
    evaluation = write_evaluation(store, 16, HOSTILE)
    return create_session(BlindConfig(evaluation=evaluation.id), store)


@pytest.fixture
def running(store: Store, session: BlindSession) -> Iterator[Server]:
    """A server of that home."""
    server = start_server(store.home)
    try:
        yield server
    finally:
        server.stop()


def opened(browser: Browser, server: Server, session: BlindSession, problems: list[str]) -> Page:
    page = browser.new_context(locale="en-US").new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(f"{server.url}/blind/{session.token}")
    return page


def begin(page: Page, name: str) -> None:
    page.fill("#name", name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#vote-a, #end")


def saved(page: Page) -> None:
    page.locator("#status", has_text=re.compile("^Saved$")).wait_for()


def test_two_experts_vote_by_keyboard(
    browser: Browser, running: Server, session: BlindSession, store: Store
) -> None:
    items = read_items(store, session)
    problems: list[str] = []
    wang, li = (opened(browser, running, session, problems) for _ in range(2))
    begin(wang, "Wang")
    # The policy lets the page's own style through.
    assert wang.evaluate("getComputedStyle(document.querySelector('.pair')).display") == "grid"
    begin(li, "李")
    for item in items:
        wang.keyboard.press("a" if item.flipped else "b")
        li.keyboard.press("g" if item is items[0] else "a" if item.flipped else "b")
    for page in (wang, li):
        page.wait_for_selector("#end")
        saved(page)
        assert page.evaluate("window.hacked") is None
        page.context.close()
    assert problems == []
    told = CliRunner().invoke(blind, ["results", "latest", "--home", str(store.home), "--json"])
    facts = json.loads(told.stdout)
    assert facts["conclusion"] == "better"
    assert facts["overall"]["wins"] == 12
    assert facts["experts"]["李"]["ties"] == 1
    assert facts["agreement"][0]["share"] == pytest.approx(11 / 12)


def test_a_server_that_is_killed_between_votes_loses_none(
    browser: Browser, running: Server, session: BlindSession, store: Store
) -> None:
    problems: list[str] = []
    page = opened(browser, running, session, problems)
    begin(page, "Wang")
    page.keyboard.press("a")
    page.keyboard.press("b")
    saved(page)
    port = running.port
    running.stop(signal.SIGKILL)
    # Votes on, while nobody listens.
    page.keyboard.press("g")
    page.keyboard.press("x")
    page.wait_for_selector("#status.bad")
    assert "votes are not saved yet" in page.inner_text("#status")
    assert len(box_of(store, session).read()["Wang"]) == 2
    again = start_server(store.home, port=port)
    try:
        saved(page)
        page.reload()
        begin(page, "Wang")
        assert "4 of 12" in page.content()
    finally:
        page.context.close()
        again.stop()
    kept = box_of(store, session).read()["Wang"]
    ids = [item.id for item in read_items(store, session)]
    assert [kept[one].choice for one in ids[:4]] == ["a", "b", "good", "bad"]
    refused = [one for one in problems if "ERR_CONNECTION_REFUSED" in one]
    assert problems == refused
