"""Deployments on a real server: chains, switches, canaries, what is told and what is counted."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.api.scopes import scope_of
from tunewright.core.deployments import Signed, deployments_of, history, switch
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy, set_canary

from .conftest import HELLO, PATIENCE, Server, eventually, start_server
from .strange_server import Strange, strange

ZH: list[Any] = [{"role": "user", "content": "试用期多久？"}]
SORRY = {"answer": {"zh": "助手正在休息。", "en": "The assistant is resting."}}


@dataclass
class World:
    """A server, two others that it knows as ``one`` and ``two``, and its store."""

    server: Server
    one: Strange
    two: Strange
    store: Store
    number: int = 0

    def deploy(self, **settings: Any) -> str:
        """A new deployment of ``one`` under a new name, once it answers for it."""
        self.number += 1
        name = f"d{self.number}"
        body = {"name": name, "model": "upstream:one", "settings": settings}
        made = self.post("", **body)
        assert made.status_code == 200, made.text
        return name

    def post(self, path: str, **body: Any) -> httpx.Response:
        """To our own routes."""
        url = f"{self.server.url}/v1/deployments{path}"
        reply: httpx.Response = httpx.post(url, json=body, timeout=PATIENCE)
        return reply

    def show(self, name: str) -> dict[str, Any]:
        """One deployment."""
        shown: dict[str, Any] = httpx.get(f"{self.server.url}/v1/deployments/{name}").json()
        return shown

    def ask(self, name: str, **values: Any) -> httpx.Response:
        """One request."""
        return self.server.chat(model=name, **values)

    def metrics(self, begin: str) -> dict[str, float]:
        """Samples whose line begins so."""
        lines = httpx.get(f"{self.server.url}/metrics").text.splitlines()
        return {
            line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(begin)
        }


@pytest.fixture(scope="module")
def whole_world(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("deployed")
    with strange("one") as one, strange("two") as two:
        servers = {"one": one.upstream(), "two": two.upstream()}
        server = start_server(home, bases=[str(slow_base)], upstreams=servers, timeout=20)
        store = Store(home)
        for name, chain in (("first", ("one", "two")), ("second", ("two", "one"))):
            model, fallback = (f"upstream:{other}" for other in chain)
            deploy(store, Order(name, {"model": model, "fallback": [fallback]}))
        assert eventually(lambda: server.chat(model="second").status_code == 200)
        try:
            yield World(server, one, two, store)
        finally:
            server.stop()
            store.close()


@pytest.fixture
def world(whole_world: World) -> World:
    """Everybody is well again, and nobody was asked anything."""
    others = (whole_world.one, whole_world.two)
    for other in others:
        other.mode = "good"
    # Whoever kept somebody waiting before is left in peace for a while.
    for number, name in ((0, "first"), (1, "second")):
        assert eventually(
            lambda name=name, who=others[number]: told(whole_world.ask(name))[0] == who.name
        )
    for other in others:
        other.asked.clear()
    return whole_world


def text(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    said: str = reply.json()["choices"][0]["message"]["content"]
    return said


def told(reply: httpx.Response) -> tuple[str | None, str | None, str | None]:
    """Who answered (of a server its name alone), for which deployment, as which fallback."""
    names = ("served-by", "deployment", "fallback")
    served, deployment, fallback = (reply.headers.get(f"x-tunewright-{name}") for name in names)
    return (served or "").rpartition("/")[2], deployment, fallback


def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    assert reply.status_code == 200, reply.text
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def streamed(events: list[dict[str, Any]]) -> str:
    choices = [choice for event in events for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# Chains ---------------------------------------------------------------------------------------


def test_the_model_that_answered_is_told(world: World) -> None:
    name = world.deploy(fallback=["upstream:two"])
    reply = world.ask(name)
    assert text(reply) == "I am one"
    assert reply.json()["model"] == "one"
    assert reply.headers["x-tunewright-served-by"] == "upstream:one/one"
    assert told(reply) == ("one", name, None)
    stream = world.ask(name, stream=True)
    assert told(stream) == ("one", name, None)
    assert streamed(chunks(stream)) == "I am one"
    assert {event["model"] for event in chunks(stream)} == {"one"}
    assert not world.two.asked


@pytest.mark.parametrize("mode", ["500", "429", "hang", "dies early"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_in_the_chain_answers_when_a_model_cannot(
    world: World, mode: Any, stream: bool
) -> None:
    name = world.deploy(fallback=["upstream:two"], first_token_seconds=0.5, answer_seconds=0.5)
    world.one.mode = mode
    reply = world.ask(name, stream=stream)
    assert told(reply) == ("two", name, "1")
    assert (streamed(chunks(reply)) if stream else text(reply)) == "I am two"


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_own_fault_stays_its_own(world: World, stream: bool) -> None:
    name = world.deploy(fallback=["upstream:two"], **SORRY)
    world.one.mode = "400"
    reply = world.ask(name, stream=stream)
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "told to say 400")
    assert not world.two.asked


@pytest.mark.parametrize("mode", ["dies late", "late error"])
def test_an_answer_that_has_begun_is_not_begun_anew(world: World, mode: Any) -> None:
    name = world.deploy(fallback=["upstream:two"], **SORRY)
    world.one.mode = mode
    reply = world.ask(name, stream=True)
    *events, last = chunks(reply)
    assert streamed(events) == "I am "
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert "[DONE]" not in reply.text
    assert not world.two.asked


def test_at_the_end_of_the_chain_is_the_fixed_answer(world: World) -> None:
    name = world.deploy(fallback=["upstream:two"], **SORRY)
    before = world.metrics(f'tunewright_fallbacks_total{{deployment="{name}"')
    world.one.mode = world.two.mode = "500"
    reply = world.ask(name)
    assert (text(reply), told(reply)) == (SORRY["answer"]["en"], ("fixed-answer", name, "2"))
    assert reply.json()["usage"]["total_tokens"] == 0
    stream = world.ask(name, messages=ZH, stream=True, stream_options={"include_usage": True})
    assert streamed(chunks(stream)) == SORRY["answer"]["zh"]
    assert chunks(stream)[-1]["usage"]["completion_tokens"] == 0
    form = {"type": "json_object"}
    refused = world.ask(name, response_format=form, messages=[{"role": "user", "content": "JSON"}])
    assert refused.status_code == 500, "a text would not be the JSON that was asked for"
    after = world.metrics(f'tunewright_fallbacks_total{{deployment="{name}"')
    assert not before
    assert sum(after.values()) == 6


@pytest.mark.parametrize(("mode", "status"), [("500", 500), ("429", 429)])
def test_without_a_fixed_answer_the_last_error_is_told(
    world: World, mode: Any, status: int
) -> None:
    name = world.deploy(fallback=["upstream:two"])
    world.one.mode, world.two.mode = "500", mode
    reply = world.ask(name, stream=mode == "429")
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_what_keeps_clients_waiting_rests_for_a_while(world: World) -> None:
    name = world.deploy(fallback=["upstream:two"], answer_seconds=0.3)
    world.one.mode = "hang"
    for _ in range(3):
        assert told(world.ask(name))[0] == "two"
    assert len(world.one.asked) == 1
    world.one.mode = "good"
    assert eventually(lambda: told(world.ask(name))[0] == "one")


def test_vectors_and_token_ids_are_not_for_other_models(world: World) -> None:
    name = world.deploy(fallback=["upstream:two"], **SORRY)
    world.one.mode = "500"
    assert told(world.ask(name, logit_bias={"5": 1}))[0] == "fixed-answer"
    body = {"model": name, "input": "hello"}
    reply = httpx.post(f"{world.server.url}/v1/embeddings", json=body, timeout=PATIENCE)
    assert reply.status_code == 500
    assert not world.two.asked


def test_a_killed_engine_is_stood_in_for_and_comes_back(world: World) -> None:
    made = world.post("", name="own", model="slow", settings={"fallback": ["upstream:two"]})
    assert made.status_code == 200, made.text
    assert eventually(lambda: told(world.ask("own", max_tokens=1))[0] == "slow")
    (engine,) = world.server.engines()
    os.kill(engine, signal.SIGKILL)
    replies = [world.ask("own", max_tokens=1) for _ in range(5)]
    assert {reply.status_code for reply in replies} == {200}
    assert Counter(told(reply)[0] for reply in replies)["two"] >= 3
    # Nobody has to ask for it: a deployed model's engine is started again by itself.
    asked = len(world.two.asked)
    assert eventually(lambda: world.server.engines() != [engine] and bool(world.server.engines()))
    assert len(world.two.asked) == asked
    assert eventually(lambda: told(world.ask("own", max_tokens=1))[0] == "slow")


def test_an_engine_that_hangs_is_stood_in_for_until_it_goes_on(world: World) -> None:
    name = "hung"
    made = world.post("", name=name, model="slow", settings={"fallback": ["upstream:two"]})
    assert made.status_code == 200, made.text
    assert eventually(lambda: told(world.ask(name, max_tokens=1))[0] == "slow")
    (engine,) = world.server.engines()
    os.kill(engine, signal.SIGSTOP)
    try:
        short = {"first_token_seconds": 0.4, "answer_seconds": 0.4}
        world.post(f"/{name}", settings=short)
        stream = world.ask(name, max_tokens=1, stream=True)
        assert (told(stream), streamed(chunks(stream))) == (("two", name, "1"), "I am two")
        # It rests by now, so that nobody else is kept waiting.
        assert text(world.ask(name, max_tokens=1)) == "I am two"
    finally:
        os.kill(engine, signal.SIGCONT)
    world.post(f"/{name}", settings=dict.fromkeys(short))
    assert eventually(lambda: told(world.ask(name, max_tokens=1))[0] == "slow")
    assert world.server.engines() == [engine]


def test_defaults_hold_for_requests_that_name_none(world: World) -> None:
    name = world.deploy(system="Be short.", temperature=0.4, top_p=0.9, max_tokens=7)
    world.ask(name)
    first = world.one.asked[-1]
    assert first["messages"][0] == {"role": "system", "content": "Be short."}
    assert (first["temperature"], first["top_p"], first["max_tokens"]) == (0.4, 0.9, 7)
    own = [{"role": "system", "content": "In Latin."}, *HELLO]
    world.ask(name, messages=own, temperature=1, max_completion_tokens=3)
    second = world.one.asked[-1]
    assert second["messages"][0]["content"] == "Be short.\n\nIn Latin."
    assert (second["temperature"], second["max_completion_tokens"]) == (1, 3)
    assert "max_tokens" not in second


# Switches -------------------------------------------------------------------------------------


def test_off_is_the_fixed_answer_or_an_error(world: World) -> None:
    name = world.deploy(**SORRY)
    assert world.post(f"/{name}/off", reason="spring cleaning").json()["on"] is False
    reply = world.ask(name, messages=ZH)
    assert (text(reply), told(reply)) == (SORRY["answer"]["zh"], ("fixed-answer", name, None))
    world.post(f"/{name}", settings={"when_off": "error"})
    refused = world.ask(name)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "deployment_off")
    assert refused.headers["x-should-retry"] == "false"
    assert not world.one.asked
    model = httpx.get(f"{world.server.url}/v1/models/{name}").json()
    assert model["deployment"]["on"] is False
    assert world.metrics("tunewright_deployment_on")[
        f'tunewright_deployment_on{{deployment="{name}"}}'
    ] == 0  # fmt: skip
    httpx.post(f"{world.server.url}/v1/deployments/{name}/on")
    assert text(world.ask(name)) == "I am one"
    past = httpx.get(f"{world.server.url}/v1/deployments/{name}/revisions").json()["data"]
    assert [(one["change"], one["reason"]) for one in past] == [
        ("created", None), ("off", "spring cleaning"), ("changed", None), ("on", None),
    ]  # fmt: skip


def test_a_flip_by_another_process_holds_within_two_seconds(world: World) -> None:
    name = world.deploy(when_off="error")
    switch(world.store, name, False, Signed("cli:me", "off"))
    assert eventually(lambda: world.ask(name).status_code == 503, seconds=2)
    switch(world.store, name, True, Signed("cli:me", "on"))
    assert eventually(lambda: world.ask(name).status_code == 200, seconds=2)


def test_two_flips_at_once_leave_one_state_and_a_whole_history(world: World) -> None:
    name = world.deploy(when_off="error")
    codes: list[int] = []

    def flip(way: str) -> None:
        codes.append(world.post(f"/{name}/{way}", reason=way).status_code)

    threads = [threading.Thread(target=flip, args=(way,)) for way in ("off", "on") * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 12
    past = history(world.store, name)
    assert [one.revision for one in past] == list(range(1, len(past) + 1))
    assert all(before.on != after.on for before, after in pairwise(past))
    shown = world.show(name)
    assert (shown["on"], shown["revision"]) == (past[-1].on, past[-1].revision)
    assert world.ask(name).status_code == (200 if past[-1].on else 503)


def test_the_health_rule_hides_a_model_that_is_down_and_shows_it_again(world: World) -> None:
    health = {"error_share": 0.5, "least": 4, "window": 30, "probe_seconds": 0.2, "probes": 2}
    name = world.deploy(health=health, **SORRY)
    for _ in range(8):
        assert text(world.ask(name)) == "I am one"
    world.one.mode = "500"
    for _ in range(9):
        assert text(world.ask(name)) == SORRY["answer"]["en"]
    assert eventually(lambda: not world.show(name)["on"])
    hidden = world.show(name)
    assert (hidden["by"], hidden["off_by"]) == ("health rule", "health")
    assert "got no answer" in hidden["reason"]
    asked = len(world.one.asked)
    world.ask(name)
    assert [one for one in world.one.asked[asked:] if one["messages"] == HELLO] == []
    world.one.mode = "good"
    assert eventually(lambda: bool(world.show(name)["on"]))
    assert text(world.ask(name)) == "I am one"
    assert [one.change for one in history(world.store, name)] == ["created", "off", "on"]


def test_what_a_person_switched_off_stays_off(world: World) -> None:
    health = {"error_share": 0.5, "least": 1, "probe_seconds": 0.1, "probes": 1}
    name = world.deploy(health=health, when_off="error")
    world.one.mode = "500"
    world.ask(name)
    assert eventually(lambda: not world.show(name)["on"])
    assert world.post(f"/{name}/off", reason="for good").json()["off_by"] == "person"
    world.one.mode = "good"
    other = world.deploy(health=health)
    world.one.mode = "500"
    world.ask(other)
    assert eventually(lambda: not world.show(other)["on"])
    world.one.mode = "good"
    assert eventually(lambda: bool(world.show(other)["on"]))
    assert world.show(name)["on"] is False


# Canaries -------------------------------------------------------------------------------------


def bounds(draws: int, share: float, tail: float = 1e-6) -> tuple[int, int]:
    """Beyond which on either side a binomial count lies with a chance of at most ``tail``."""

    def chance(counts: range) -> float:
        return sum(comb(draws, k) * share**k * (1 - share) ** (draws - k) for k in counts)

    low = next(k for k in range(draws) if chance(range(k + 1)) > tail)
    return low, next(k for k in range(draws, 0, -1) if chance(range(k, draws + 1)) > tail)


def test_a_canary_gets_its_share_and_keeps_its_people(world: World) -> None:
    name = world.deploy()
    world.post(f"/{name}/canary", model="upstream:two", percent=30)
    with httpx.Client(timeout=PATIENCE) as client:

        def who(**values: Any) -> str:
            body = {"model": name, "messages": HELLO, **values}
            reply = client.post(f"{world.server.url}/v1/chat/completions", json=body)
            assert told(reply)[2] is None
            return str(told(reply)[0])

        users = [who(user=f"u{number}") for number in range(60)]
        assert [who(user=f"u{number}") for number in range(0, 60, 6)] == users[::6]
        drawn = Counter(who() for _ in range(60))
    low, high = bounds(60, 0.3)
    assert low <= Counter(users)["two"] <= high
    assert low <= drawn["two"] <= high
    assert world.show(name)["standing"]["canary"]["failed"] == 0


def test_a_canary_that_fails_more_often_is_taken_back(world: World) -> None:
    name = world.deploy(canary={"model": "upstream:two", "percent": 50, "least": 8})
    world.two.mode = "500"
    for number in range(40):
        reply = world.ask(name, user=f"u{number}")
        assert text(reply) == "I am one", "the model stands in for its canary"
    assert eventually(lambda: world.show(name)["settings"]["canary"]["model"] is None)
    last = world.show(name)
    assert (last["by"], last["change"]) == ("canary rule", "canary taken back")
    assert "exact p" in last["reason"]


def test_promotion_and_rollback(world: World) -> None:
    name = world.deploy(top_p=0.5)
    assert world.post(f"/{name}/promote").status_code == 400
    world.post(f"/{name}/canary", model="upstream:two", percent=5)
    promoted = world.post(f"/{name}/promote", reason="better").json()
    assert promoted["settings"]["model"] == "upstream:two"
    assert promoted["settings"]["canary"]["model"] is None
    assert text(world.ask(name)) == "I am two"
    back = world.post(f"/{name}/rollback", revision=1).json()
    assert (back["settings"]["model"], back["revision"]) == ("upstream:one", 4)
    assert text(world.ask(name)) == "I am one"
    forth = httpx.post(f"{world.server.url}/v1/deployments/{name}/rollback").json()
    assert forth["settings"]["model"] == "upstream:two"
    assert world.post(f"/{name}/rollback", revision=99).status_code == 404


# Everything else ------------------------------------------------------------------------------


def test_limits_are_for_all_clients_together(world: World) -> None:
    name = world.deploy(limits={"requests_per_minute": 2})
    codes = [world.ask(name).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    refused = world.ask(name)
    assert f"deployment '{name}'" in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert int(refused.headers["retry-after"]) > 0
    world.post(f"/{name}", settings={"limits": {"requests_per_minute": None}})
    assert world.ask(name).status_code == 200


def test_names_are_listed_and_counted(world: World) -> None:
    name = world.deploy()
    client = openai.OpenAI(base_url=f"{world.server.url}/v1", api_key="none")
    assert name in [model.id for model in client.models.list()]
    assert client.models.retrieve(name).id == name
    client.chat.completions.create(model=name, messages=HELLO)
    usage = httpx.get(f"{world.server.url}/tunewright/v1/usage?by=model").json()["data"]
    (mine,) = [row for row in usage if row["model"] == name]
    assert (mine["requests"], mine["completion_tokens"]) == (1, 4)
    assert any(f'model="{name}"' in key for key in world.metrics("tunewright_requests_total"))


def test_another_projects_deployment_is_as_though_it_were_not_there(world: World) -> None:
    name = world.deploy(project="other")
    assert world.ask(name).status_code == 404
    models = httpx.get(f"{world.server.url}/v1/models").json()["data"]
    assert name not in [model["id"] for model in models]


def test_only_admins_change_deployments() -> None:
    for method, path in (("GET", ""), ("POST", "/{name}/off"), ("DELETE", "/{name}/canary")):
        assert scope_of(method, f"/v1/deployments{path}") == "admin"


def test_a_deleted_name_leads_nowhere_and_its_history_stays(world: World) -> None:
    name = world.deploy()
    url = f"{world.server.url}/v1/deployments/{name}"
    assert httpx.delete(url).json()["deleted"] is True
    assert world.ask(name).status_code == 404
    assert httpx.get(url).status_code == 404
    past = httpx.get(f"{url}/revisions").json()["data"]
    assert [one["change"] for one in past] == ["created", "deleted"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [({"name": "a/b", "model": "slow"}, 400, "no name for a deployment"),
     ({"name": "x", "model": "nobody"}, 404, "no model 'nobody'"),
     ({"name": "x", "model": "/etc"}, 404, "no model"),
     ({"name": "x", "model": "upstream:three"}, 404, "no upstream 'three'"),
     ({"name": "x", "model": "slow", "settings": {"top_q": 1}}, 400, "did you mean 'top_p'"),
     ({"name": "x", "model": "slow", "settings": {"fallback": ["slow"]}}, 400, "twice"),
     ({"name": "x", "model": "slow", "colour": 1}, 400, "colour"),
     ({"name": "x"}, 400, "model")],
)  # fmt: skip
def test_wrong_input_makes_nothing(
    world: World, body: dict[str, Any], status: int, message: str
) -> None:
    before = len(deployments_of(world.store))
    reply = world.post("", **body)
    assert (reply.status_code, set(reply.json()["error"])) == (
        status, {"message", "type", "param", "code"},
    )  # fmt: skip
    assert message in reply.json()["error"]["message"]
    assert len(deployments_of(world.store)) == before


def test_a_name_is_taken_once(world: World) -> None:
    name = world.deploy()
    assert world.post("", name=name, model="slow").status_code == 400
    for nobody in ("nobody", "latest", "dep_"):
        assert world.post(f"/{nobody}", settings={"top_p": 0.5}).status_code == 404
        assert world.post(f"/{nobody}/off").status_code == 404
    assert world.post(f"/{world.show(name)['id']}/off").json()["name"] == name


def test_a_kill_amid_changes_leaves_the_old_or_the_new(slow_base: Path, tmp_path: Path) -> None:
    with strange("one") as one, strange("two") as two:
        servers = {"one": one.upstream(), "two": two.upstream()}
        home = tmp_path / "home"
        server = start_server(home, upstreams=servers)
        store = Store(home)
        try:
            deploy(store, Order("clerk", {"model": "upstream:one"}))
            answered: list[int] = []

            def change() -> None:
                url = f"{server.url}/v1/deployments/clerk"
                for number in range(1, 10_000):
                    body = {"settings": {"max_tokens": number, "system": str(number)}}
                    try:
                        answered.append(httpx.post(url, json=body).json()["revision"])
                    except httpx.HTTPError:
                        return

            thread = threading.Thread(target=change)
            thread.start()
            assert eventually(lambda: len(answered) > 5)
            server.stop(signal.SIGKILL)
            thread.join()
            server = start_server(home, upstreams=servers)
            past = history(store, "clerk")
            assert [one.revision for one in past] == list(range(1, len(past) + 1))
            assert len(past) - answered[-1] in (0, 1)
            settings = past[-1].settings
            assert str(settings["max_tokens"]) == settings["system"]
            shown = httpx.get(f"{server.url}/v1/deployments/clerk").json()
            assert shown["settings"] == settings
            set_canary(store, Order("clerk"), "upstream:two", 99.0)
            assert eventually(lambda: "two" in server.chat(model="clerk").text)
        finally:
            server.stop()
            store.close()
