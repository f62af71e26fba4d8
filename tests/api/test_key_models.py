"""Keys that may ask some models only: everything else is to them as though it did not exist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.core.api_keys import change_models, issue_key
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy

from .conftest import HELLO, PATIENCE, Server, eventually, start_server
from .strange_server import Strange, strange

CLOSED = "ft:nano:hr:1"


@dataclass
class World:
    """A server that knows another, and a client that may ask ``clerk`` and ``ft:nano:law:*``."""

    server: Server
    other: Strange
    store: Store
    client: openai.OpenAI
    closed_id: str
    open_id: str

    def get(self, path: str) -> httpx.Response:
        """A request with the client's key."""
        return self.client.get(path, cast_to=httpx.Response)


def tuned(store: Store, name: str) -> str:
    model = Model(
        id=Store.new_id(Model), name=name, base="nano", base_digest="0", renderer_hash="0",
        run="run_0123456789ab", step=1,
    )  # fmt: skip
    store.add(model)
    return model.id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("restricted")
    store = Store(home)
    models = ("clerk", "ft:nano:law:*")
    secret = issue_key(store, "crm", models=models).secret
    with strange("one") as other:
        server = start_server(home, upstreams={"one": other.upstream()}, jobs={"slots": 0})
        for name in ("clerk", "boss"):
            deploy(store, Order(name, {"model": "upstream:one", "system": f"You are {name}."}))
        closed, opened = tuned(store, CLOSED), tuned(store, "ft:nano:law:1")
        client = openai.OpenAI(
            base_url=f"{server.url}/v1", api_key=secret, max_retries=0, timeout=PATIENCE
        )
        try:
            with client:
                assert eventually(lambda: "clerk" in [one.id for one in client.models.list()])
                yield World(server, other, store, client, closed, opened)
        finally:
            server.stop()
            store.close()


def test_the_list_holds_what_the_key_may_ask(world: World) -> None:
    assert {one.id for one in world.client.models.list()} == {"clerk", "ft:nano:law:1"}
    assert world.client.models.retrieve("clerk").id == "clerk"
    assert world.client.models.retrieve(world.open_id).id == "ft:nano:law:1"


def test_what_it_may_ask_answers(world: World) -> None:
    world.other.asked.clear()
    reply = world.client.chat.completions.create(model="clerk", messages=HELLO)
    assert reply.choices[0].message.content
    assert world.other.asked[-1]["messages"][0]["content"] == "You are clerk."


@pytest.mark.parametrize("name", ["boss", "nano", "one", CLOSED, "its id", "none", "Clerk"])
def test_everything_else_is_as_though_it_did_not_exist(world: World, name: str) -> None:
    """By every route that takes a model's name; in the same words, whether it is there or not."""
    name = world.closed_id if name == "its id" else name
    client = world.client
    said: set[str] = set()
    asks: list[Any] = [
        lambda: client.models.retrieve(name),
        lambda: client.models.delete(name),
        lambda: client.chat.completions.create(model=name, messages=HELLO),
        lambda: client.chat.completions.create(model=name, messages=HELLO, stream=True),
        lambda: client.completions.create(model=name, prompt="x"),
        lambda: client.embeddings.create(model=name, input="x"),
        lambda: client.fine_tuning.jobs.create(model=name, training_file="file-0"),
        lambda: client.post(
            f"{world.server.url}/tokenize",
            body={"model": name, "prompt": "x"},
            cast_to=httpx.Response,
        ),
    ]
    world.other.asked.clear()
    for ask in asks:
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        said.add(caught.value.message.replace(repr(name), "X"))
    assert world.other.asked == []
    assert any("may ask clerk, ft:nano:law:*, and not X" in one for one in said)
    assert len(said) == 2, "the deletion has words of its own"


def test_evals_judge_by_nobody_else(world: World) -> None:
    """Neither as the judge nor as the one who answers."""
    judge = {
        "type": "label_model", "name": "j", "model": "boss", "labels": ["a", "b"],
        "passing_labels": ["a"], "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    }  # fmt: skip
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    source: Any = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
    with pytest.raises(openai.NotFoundError):
        world.client.evals.create(data_source_config=source, testing_criteria=[judge])  # type: ignore[list-item]
    exact: Any = {
        "type": "string_check", "name": "s", "input": "{{sample.output_text}}",
        "reference": "x", "operation": "eq",
    }  # fmt: skip
    made = world.client.evals.create(data_source_config=source, testing_criteria=[exact])
    messages = {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]}
    rows = {"type": "file_content", "content": [{"item": {"q": "?"}}]}

    def run_of(model: str) -> Any:
        return {
            "type": "completions", "model": model, "input_messages": messages, "source": rows,
        }  # fmt: skip

    with pytest.raises(openai.NotFoundError):
        world.client.evals.runs.create(made.id, data_source=run_of("boss"))
    world.client.evals.runs.create(made.id, data_source=run_of("clerk"))


def test_a_batch_for_another_model_is_refused_when_it_is_looked_at(world: World) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    found = {}
    for name in ("boss", "clerk"):
        content = json.dumps({**line, "body": {"model": name, "messages": HELLO}}).encode()
        file = world.client.files.create(file=("in.jsonl", content), purpose="batch")
        made = world.client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert eventually(
            lambda made=made: (
                world.client.batches.retrieve(made.id).status in ("failed", "completed")
            )
        )
        found[name] = world.client.batches.retrieve(made.id)
    assert found["clerk"].status == "completed"
    assert found["boss"].status == "failed"
    (error,) = found["boss"].errors.data  # type: ignore[union-attr,misc]
    assert (error.code, error.param) == ("model_not_found", "body.model")


def test_a_running_server_hears_of_a_change(world: World) -> None:
    def listed() -> set[str]:
        return {one.id for one in world.client.models.list()}

    change_models(world.store, "crm", ("*",))
    assert eventually(lambda: {"boss", CLOSED, "nano"} <= listed())
    change_models(world.store, "crm", ("clerk", "ft:nano:law:*"))
    assert eventually(lambda: listed() == {"clerk", "ft:nano:law:1"})


def test_the_models_of_a_key_in_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert issue_key(store, "all").key.models == ("*",)
    assert change_models(store, "all", ("a",)).models == ("a",)
