"""Limits: exact in every minute, exact under concurrency, and not forgotten by a restart."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from tunewright.api.limits import Allowance, Limits, Window, estimate_tokens
from tunewright.config.serving import LimitsConfig
from tunewright.core.api_keys import issue_key
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError

from .conftest import HELLO, PATIENCE, eventually, start_server


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def allowance(clock: Clock, **limits: int) -> Allowance:
    made = Allowance(clock)
    made.set(LimitsConfig.build(limits))
    return made


def let_in(key: Allowance) -> bool:
    try:
        key.enter()
    except RequestError as error:
        refused = error
    else:
        key.leave()
        return True
    assert refused.status == 429
    assert refused.retry_after is not None
    assert 1 <= refused.retry_after <= 120
    return False


def minutes_of(times: list[float]) -> list[int]:
    """How many of the times lie in the minute that ends with each."""
    return [sum(1 for other in times if at - 60 < other <= at) for at in times]


@pytest.mark.parametrize("demand", [0, 10, 25, 40, 200])
def test_the_background_takes_what_others_leave_of_half(clock: Clock, demand: int) -> None:
    """Demand per minute of those who wait, of a limit of 40; the background always wants more."""
    key = allowance(clock, requests_per_minute=40)
    theirs: list[float] = []
    ours: list[float] = []
    refused: list[float] = []
    while clock.now < 1900:
        if len(theirs) + len(refused) < (clock.now - 1000) / 60 * demand:
            (theirs if let_in(key) else refused).append(clock.now)
        while key.wait_behind(1) == 0:
            key.take_behind(1)
            ours.append(clock.now)
        clock.now += 0.05
    assert max(minutes_of(theirs + ours)) <= 40
    assert demand > 20 or not refused, "half of the limit is theirs at any time"
    assert demand > 25 or not any(at > 1300 for at in refused), "what they keep asking for, too"
    share = sum(at > 1300 for at in ours) / 10
    if demand < 20:
        assert share == pytest.approx(20 - demand, abs=1.5)
        assert max(minutes_of(ours)) <= 20
    else:
        assert 0.8 <= share <= 1.2, "one a minute, however much others take"


def test_the_background_waits_for_tokens_and_learns_of_what_can_never_be(clock: Clock) -> None:
    key = allowance(clock, tokens_per_minute=100)
    assert key.wait_behind(80) == 0, "a large one goes alone"
    slot = key.take_behind(80)
    assert 60 <= key.wait_behind(10) <= 60.2
    key.correct(slot, 80, 20)
    assert key.wait_behind(30) == 0
    assert key.wait_behind(31) > 0
    with pytest.raises(RequestError) as caught:
        key.wait_behind(101)
    assert (caught.value.status, caught.value.should_retry) == (429, False)
    assert key.running == 0


def test_in_no_minute_more_is_let_in_than_the_limit_and_hardly_less(clock: Clock) -> None:
    key = allowance(clock, requests_per_minute=20)
    times, draw = [], random.Random(0)
    while clock.now < 1240:
        if let_in(key):
            times.append(clock.now)
        clock.now += draw.random() * 0.5
    assert max(sum(start <= t < start + 60 for t in times) for start in times) == 20
    # Four minutes of asking all the time; a slot is given back at most a tenth of a second late.
    assert 79 <= len(times) <= 80


def test_the_wait_that_is_told_is_long_enough_and_not_too_long(clock: Clock) -> None:
    key = allowance(clock, requests_per_minute=2)
    assert let_in(key)
    clock.now += 40
    assert let_in(key)
    with pytest.raises(RequestError) as refused:
        key.enter()
    assert refused.value.retry_after == 21
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
    clock.now += 19
    assert not let_in(key)
    clock.now += 2
    assert let_in(key)


def test_tokens_are_set_aside_and_corrected(clock: Clock) -> None:
    key = allowance(clock, tokens_per_minute=100)
    slot = key.reserve(60)
    with pytest.raises(RequestError) as refused:
        key.reserve(50)
    assert (refused.value.type, refused.value.should_retry) == ("tokens", None)
    key.correct(slot, 60, 20)
    assert key.headers()["x-ratelimit-remaining-tokens"] == "80"
    slot = key.reserve(10)
    key.correct(slot, 10, 200)  # a longer answer than anyone thought
    assert key.headers()["x-ratelimit-remaining-tokens"] == "0"
    with pytest.raises(RequestError):
        key.reserve(1)
    clock.now += 61
    assert key.headers()["x-ratelimit-remaining-tokens"] == "100"
    assert key.headers()["x-ratelimit-reset-tokens"] == "0s"


def test_a_refund_that_comes_too_late_is_none(clock: Clock) -> None:
    window = Window(100)
    slot = window.take(50, clock.now)
    clock.now += 61
    assert window.remaining(clock.now) == 100
    window.give_back(50, slot)
    assert window.remaining(clock.now) == 100
    assert window.used == 0


def test_what_can_never_fit_is_not_to_be_tried_again(clock: Clock) -> None:
    with pytest.raises(RequestError) as refused:
        allowance(clock, tokens_per_minute=100).reserve(101)
    assert (refused.value.should_retry, refused.value.retry_after) == (False, None)


def test_requests_at_a_time(clock: Clock) -> None:
    key = allowance(clock, concurrency=2)
    key.enter()
    key.enter()
    with pytest.raises(RequestError, match="2 at a time"):
        key.enter()
    key.leave()
    key.enter()
    assert key.headers() == {}


def test_a_restart_hands_out_no_fresh_minute() -> None:
    clock, wall = Clock(), Clock()
    default = LimitsConfig(requests_per_minute=10)
    before = Limits(default, clock=clock, wall=wall)
    for _ in range(7):
        before.of("a", {}).enter()
    before.of("b", {"tokens_per_minute": 50}).reserve(30)
    clock.now = 3.0  # another machine clock, as after a reboot
    wall.now += 20
    minutes = before.minutes(before.changes())
    assert set(minutes) == {"a", "b"}
    after = Limits(default, minutes, clock=clock, wall=wall)
    key = after.of("a", {})
    assert key.headers()["x-ratelimit-remaining-requests"] == "3"
    assert (
        after.of("b", {"tokens_per_minute": 50}).headers()["x-ratelimit-remaining-tokens"] == "20"
    )
    clock.now += 62
    assert key.headers()["x-ratelimit-remaining-requests"] == "10"


def test_estimates_are_near_for_english_and_chinese() -> None:
    assert estimate_tokens(b"") == 1
    assert estimate_tokens(b"the deposit is returned " * 100) == 600
    assert estimate_tokens("试用期最长多久".encode()) == 7


def test_a_busy_key_over_http_and_across_a_restart(tmp_path: Path) -> None:
    """Real requests from many threads: exactly the limit is let in, then and after a restart."""
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    secrets = [issue_key(store, f"k{n}", limits={"requests_per_minute": 15}).secret for n in (0, 1)]
    store.close()

    def ask_often(url: str, secret: str, times: int) -> list[httpx.Response]:
        with httpx.Client(headers={"Authorization": f"Bearer {secret}"}) as client:

            def ask(_: int) -> httpx.Response:
                return client.get(f"{url}/v1/models/nano", timeout=PATIENCE)

            with ThreadPoolExecutor(8) as threads:
                return list(threads.map(ask, range(times)))

    server = start_server(home)
    try:
        first = ask_often(server.url, secrets[0], 10)
        assert {reply.status_code for reply in first} == {200}
    finally:
        assert server.stop() == 0
    server = start_server(home)
    try:
        for secret, allowed in zip(secrets, (5, 15), strict=True):
            replies = ask_often(server.url, secret, 30)
            assert sum(reply.status_code == 200 for reply in replies) == allowed
            refused = [reply for reply in replies if reply.status_code == 429]
            assert len(refused) == 30 - allowed
            for reply in refused:
                assert 1 <= int(reply.headers["retry-after"]) <= 62
                assert reply.headers["x-ratelimit-limit-requests"] == "15"
                assert reply.headers["x-ratelimit-remaining-requests"] == "0"
                assert reply.headers["x-ratelimit-reset-requests"].endswith("s")
                error = reply.json()["error"]
                assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    finally:
        server.stop()


def test_tokens_and_places_of_a_key_over_the_sdk(slow_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    limits = {"tokens_per_minute": 3000, "concurrency": 1}
    secret = issue_key(store, "crm", limits=limits).secret
    store.close()
    server = start_server(home, bases=[str(slow_base)], timeout=PATIENCE)
    client = openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=secret, max_retries=0, timeout=PATIENCE
    )
    try:
        ask = client.chat.completions.with_raw_response.create
        raw = ask(model="slow", messages=HELLO, max_tokens=5)
        used = raw.parse().usage
        assert used is not None
        assert raw.headers["x-ratelimit-limit-tokens"] == "3000"
        after = client.models.with_raw_response.list()
        assert after.headers["x-ratelimit-remaining-tokens"] == str(3000 - used.total_tokens)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(model="slow", messages=[{"role": "user", "content": "law " * 4000}])
        assert caught.value.type == "tokens"
        assert caught.value.response.headers["x-should-retry"] == "false"
        with client.chat.completions.with_streaming_response.create(
            model="slow", messages=HELLO, max_tokens=30_000, stream=True
        ) as stream:
            assert stream.headers["x-ratelimit-limit-tokens"] == "3000"
            lines = stream.iter_lines()
            next(lines)
            with pytest.raises(openai.RateLimitError) as caught:
                ask(model="slow", messages=HELLO)
            assert caught.value.response.headers["retry-after"] == "1"
        assert eventually_lets_in(client)
    finally:
        client.close()
        server.stop()


def eventually_lets_in(client: openai.OpenAI) -> bool:
    """Whether a place is free again once its client has hung up."""

    def free() -> bool:
        try:
            client.models.list()
        except openai.RateLimitError:
            return False
        return True

    return eventually(free)
