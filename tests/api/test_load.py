"""Many clients at once: nothing lost or crossed, overload said plainly, hang-ups, a stop amid all.

Each test has a size for every run and a larger one among the slow tests.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunewright.core.api_keys import issue_key
from tunewright.core.deployments import Signed, switch
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.core.usage import read_usage
from tunewright.deployment.deploy import Order, deploy

from .conftest import HELLO, PATIENCE, Server, eventually, start_server

LONG: dict[str, Any] = {"model": "slow", "messages": HELLO, "max_tokens": 30_000, "stream": True}
TRIALS = pytest.mark.parametrize("large", [False, pytest.param(True, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def roomy(
    slow_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A server with room for many, and a key for it."""
    home = tmp_path_factory.mktemp("roomy")
    store = Store(home, Settings(home=home, offline=True))
    key = issue_key(store, "many").secret
    store.close()
    server = start_server(home, bases=[str(slow_base)], timeout=PATIENCE)
    try:
        yield server, key
    finally:
        server.stop()


def together(
    server: Server,
    count: int,
    ask: Callable[[httpx.AsyncClient, int], Awaitable[Any]],
    key: str = "",
) -> list[Any]:
    """What ``count`` clients got, each over a connection of its own, all at the same time."""

    async def run() -> list[Any]:
        async def one(number: int) -> Any:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            async with httpx.AsyncClient(
                base_url=f"{server.url}/v1", headers=headers, timeout=PATIENCE
            ) as client:
                return await ask(client, number)

        return await asyncio.gather(*(one(number) for number in range(count)))

    return asyncio.run(run())


def held_to(nonce: str) -> dict[str, Any]:
    """A question that can be answered with this text only."""
    schema = {"type": "object", "properties": {"nonce": {"const": nonce}}, "required": ["nonce"],
              "additionalProperties": False}  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "nonce", "schema": schema}}
    return {"model": "slow", "messages": HELLO, "response_format": form, "max_tokens": 60}


async def whole(client: httpx.AsyncClient, nonce: str) -> str:
    """The nonce that comes back."""
    reply = await client.post("/chat/completions", json=held_to(nonce))
    assert reply.status_code == 200, reply.text
    return str(json.loads(reply.json()["choices"][0]["message"]["content"])["nonce"])


async def streamed(client: httpx.AsyncClient, nonce: str) -> str:
    """The nonce that comes back, piece by piece."""
    text = ""
    body = {**held_to(nonce), "stream": True}
    async with client.stream("POST", "/chat/completions", json=body) as reply:
        assert reply.status_code == 200
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
    return str(json.loads(text)["nonce"])


async def echoed(client: httpx.AsyncClient, nonce: str) -> str:
    """The nonce that comes back before a completion."""
    body = {"model": "slow", "prompt": nonce, "echo": True, "max_tokens": 2}
    reply = await client.post("/completions", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["text"])[: len(nonce)]


@TRIALS
@pytest.mark.timeout(3600)
def test_of_many_clients_none_is_lost_doubled_or_crossed(
    roomy: tuple[Server, str], large: bool
) -> None:
    server, key = roomy
    clients, rounds = (60, 100) if large else (50, 1)
    home = server.stderr.parent
    before = asked(home)

    async def ask(client: httpx.AsyncClient, number: int) -> int:
        right = 0
        for turn in range(rounds):
            for way in (whole, streamed, echoed):
                nonce = f"n{number}-{turn}-{way.__name__}"
                right += await way(client, nonce) == nonce
        return right

    assert together(server, clients, ask, key) == [3 * rounds] * clients
    expected = before + 3 * rounds * clients
    assert eventually(lambda: asked(home) == expected), (asked(home), expected)
    time.sleep(1)  # nobody is counted twice later
    assert asked(home) == expected


def asked(home: Path) -> int:
    """Requests in the books."""
    store = Store(home, Settings(home=home, offline=True))
    try:
        rows: Any = read_usage(store, "model", 7200)
        return sum(row["requests"] for row in rows)
    finally:
        store.close()


@TRIALS
@pytest.mark.timeout(3600)
def test_overload_is_refused_with_a_time_and_leaves_no_trace(server: Server, large: bool) -> None:
    """The server has room for four; sixteen ask again and again."""

    async def ask(client: httpx.AsyncClient, _: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        for _ in range(200 if large else 8):
            body = {"model": "slow", "messages": HELLO, "max_tokens": 20}
            reply = await client.post("/chat/completions", json=body)
            seen[reply.status_code] += 1
            if reply.status_code != 200:
                assert reply.json()["error"]["code"] == "queue_full"
                assert 1 <= int(reply.headers["retry-after"]) <= 120
        return seen

    def load() -> Counter[int]:
        return sum(together(server, 16, ask), Counter())

    assert load().keys() == {200, 429}
    before = resident(server.process.pid)
    assert load().keys() == {200, 429}
    assert resident(server.process.pid) < 1.1 * before
    assert server.chat(max_tokens=1).status_code == 200


def resident(pid: int) -> int:
    """Pages of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


@TRIALS
@pytest.mark.timeout(3600)
def test_hang_ups_amid_streams_leave_nothing_behind(roomy: tuple[Server, str], large: bool) -> None:
    server, key = roomy

    async def hang_up(client: httpx.AsyncClient, _: int) -> None:
        async with client.stream("POST", "/chat/completions", json=LONG) as reply:
            assert reply.status_code == 200
            async for line in reply.aiter_lines():
                if line.startswith("data: "):
                    return

    def idle() -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        text = httpx.get(f"{server.url}/ready", headers=headers).text
        return "ready" in text and all(sockets(pid) <= most for pid, most in quiet.items())

    together(server, 4, hang_up, key)
    pids = [server.process.pid, *server.engines()]
    quiet = dict.fromkeys(pids, 64 + 8)
    assert eventually(idle)
    time.sleep(0.5)
    quiet = {pid: sockets(pid) + 2 for pid in pids}
    for _ in range(50 if large else 5):
        together(server, 20, hang_up, key)
    assert eventually(idle), {pid: (sockets(pid), most) for pid, most in quiet.items()}
    assert [server.process.pid, *server.engines()] == pids


def sockets(pid: int) -> int:
    """Open descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_a_stop_amid_fifty_streams_ends_each_plainly(
    slow_base: Path, tmp_path: Path, rounds: int
) -> None:
    for number in range(rounds):
        home, bases = tmp_path / f"home{number}", [str(slow_base)]
        server = start_server(home, bases=bases, timeout=PATIENCE, drain=3)
        try:
            assert server.chat(max_tokens=1).status_code == 200
            children = server.engines()
            assert set(stopped_amid(server, 50)) == {"[DONE]", "server_stopped"}
            assert server.process.wait(timeout=PATIENCE) == 0
            assert eventually(lambda pids=children: not any(map(is_there, pids)), 10)
        finally:
            server.stop(signal.SIGKILL)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def stopped_amid(server: Server, count: int) -> list[str]:
    """How each of the streams ended that were under way when the server was told to stop."""
    begun = 0

    async def ask(client: httpx.AsyncClient, number: int) -> str:
        nonlocal begun
        # Some end in time, and some would go on for ever.
        body = {**LONG, "max_tokens": 40 if number % 5 else 30_000}
        last = ""
        async with client.stream("POST", "/chat/completions", json=body) as reply:
            assert reply.status_code == 200
            async for line in reply.aiter_lines():
                if line.startswith("data: "):
                    begun += not last
                    last = line[6:]
                    if begun == count:
                        begun += 1
                        server.process.send_signal(signal.SIGTERM)
        return last if last == "[DONE]" else str(json.loads(last)["error"]["code"])

    return together(server, count, ask)


@pytest.mark.parametrize("flips", [10, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_a_switch_that_is_flipped_under_load_fails_nobody(
    roomy: tuple[Server, str], slow_base: Path, flips: int
) -> None:
    """Everybody is answered by the model or by the fixed text, and is told by whom."""
    server, key = roomy
    home = server.stderr.parent
    store = Store(home, Settings(home=home, offline=True))
    name = f"flipped{flips}"
    resting = "The assistant is resting."
    deploy(store, Order(name, {"model": str(slow_base), "answer": {"en": resting, "zh": resting}}))
    over = threading.Event()

    def flip() -> None:
        for number in range(flips):
            time.sleep(0.3)
            switch(store, name, bool(number % 2), Signed("cli:test", "to and fro"))
        over.set()

    async def ask(client: httpx.AsyncClient, number: int) -> Counter[str]:
        served: Counter[str] = Counter()
        while not over.is_set():
            body = {"model": name, "messages": HELLO, "max_tokens": 4, "stream": bool(number % 2)}
            reply = await client.post("/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            assert '"error"' not in reply.text
            who = reply.headers["x-tunewright-served-by"]
            assert (resting in "".join(said(reply))) == (who == "fixed-answer")
            served[who] += 1
        return served

    async def served_by(client: httpx.AsyncClient, _: int) -> str:
        body = {"model": name, "messages": HELLO, "max_tokens": 1}
        reply = await client.post("/chat/completions", json=body)
        return reply.headers.get("x-tunewright-served-by", "")

    # Until its engine runs the fixed answer stands in.
    assert eventually(lambda: together(server, 1, served_by, key) == ["slow"])
    flipping = threading.Thread(target=flip)
    flipping.start()
    try:
        counts = sum(together(server, 8, ask, key), Counter())
    finally:
        flipping.join()
        store.close()
    assert counts.keys() == {"slow", "fixed-answer"}


def said(reply: httpx.Response) -> Iterator[str]:
    """The pieces of text of an answer, whole or streamed."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        yield reply.json()["choices"][0]["message"]["content"]
        return
    for line in reply.text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                yield choice["delta"].get("content") or ""
