"""The offline page in a real browser: voted through by keyboard, saved, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from tests.evaluation.blind.conftest import TUNED, MakeSession

from tunewright.cli.blind import blind
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, offline_file, read_items

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
KEYS = {"tuned": "ab", "base": "ba"}


def opened(browser: Browser, path: Path, problems: list[str], **context: Any) -> Page:
    """A page in a profile of its own, which notes everything that goes wrong."""
    page = browser.new_context(**context).new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: _local(request.url, problems))
    page.goto(path.as_uri())
    return page


def _local(url: str, problems: list[str]) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        problems.append(url)


def begin(page: Page, name: str) -> None:
    page.fill("#name", name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#vote-a, #end")


def test_voted_through_by_keyboard_saved_and_imported(
    browser: Browser, store: Store, make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session(questions=8, hostile=HOSTILE)
    items = read_items(store, session)
    problems: list[str] = []
    page = opened(browser, offline_file(store, session), problems, locale="en-US")
    begin(page, "王老师")
    # The first three for the tuned model wherever it stands, one of them after second thoughts.
    for item in items[:3]:
        page.keyboard.press("a" if item.flipped else "b")
    page.keyboard.press("u")  # takes the third back
    page.keyboard.press("u")  # and the second
    for item in items[1:3]:
        page.keyboard.press("2" if not item.flipped else "1")
    page.keyboard.press("c")
    page.keyboard.type("both are gab, x b a")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("x")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#vote-bad", "aria-pressed") == "true"
    page.keyboard.press("r")
    assert page.locator(".reference").inner_text().endswith(items[4].reference or "?")
    # Closed in the middle, it goes on where it was.
    page.reload()
    begin(page, "王老师")
    assert "5 / 8" in page.content() or "5 of 8" in page.content()
    assert f"says {items[5].row}" in page.locator("#answer-a").inner_text()
    for item in items[5:]:
        page.keyboard.press("b" if item.flipped else "a")
    page.wait_for_selector("#end")
    with page.expect_download() as caught:
        page.click("#end button.main")
    saved = tmp_path / caught.value.suggested_filename
    caught.value.save_as(saved)
    assert page.evaluate("window.hacked") is None
    page.context.close()
    assert problems == []
    assert saved.name == f"votes-{session.id}-王老师.json"

    command = ["import", session.id, str(saved), "--home", str(store.home), "--json"]
    first, second = (CliRunner().invoke(blind, command) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert json.loads(first.stdout)["new"] == {"王老师": 8}
    assert json.loads(second.stdout) == {
        "session": session.id, "new": {"王老师": 0}, "votes": {"王老师": 8},
    }  # fmt: skip
    told = CliRunner().invoke(blind, ["results", session.id, "--home", str(store.home), "--json"])
    facts = json.loads(told.stdout)
    assert facts["model"] == TUNED
    overall = facts["overall"]
    assert (overall["wins"], overall["ties"], overall["losses"]) == (3, 2, 3)
    assert (overall["both_good"], overall["both_bad"]) == (1, 1)
    votes = json.loads((Path(facts["report"]).parent / "results.json").read_text("utf-8"))["votes"]
    assert votes[3]["votes"]["王老师"]["comment"] == "both are gab, x b a"


def test_two_people_share_a_browser_and_a_language_is_chosen(
    browser: Browser, store: Store, make_session: MakeSession
) -> None:
    session = make_session(questions=3)
    problems: list[str] = []
    page = opened(browser, offline_file(store, session), problems)
    page.click("header button")
    assert page.inner_text("#start") == "开始"
    begin(page, "Wang")
    assert page.inner_text("#vote-good").endswith("都好")
    page.keyboard.press("a")
    page.reload()
    assert page.inner_text("#start") == "以“Wang”继续"
    begin(page, "Li")
    assert "0 / 3" in page.content()
    # Another tab of the same browser knows nothing of the vote here, and overwrites nothing.
    other = page.context.new_page()
    other.goto(page.url)
    begin(other, "Li")
    page.keyboard.press("g")
    other.keyboard.press("ArrowRight")
    other.keyboard.press("x")
    other.reload()
    begin(other, "Li")
    assert "2 / 3" in other.content()
    page.context.close()
    assert problems == []


def test_a_single_click_is_enough_for_those_without_a_keyboard(
    browser: Browser, store: Store, make_session: MakeSession
) -> None:
    session = make_session(questions=2)
    problems: list[str] = []
    narrow = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    page = opened(browser, offline_file(store, session), problems, **narrow)
    begin(page, "Wang")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#vote-a")
    page.click("#vote-b")
    assert page.locator("#end").is_visible()
    page.context.close()
    assert problems == []
    assert store.list(BlindSession) == [session]
