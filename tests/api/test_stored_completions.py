"""Stored completions with OpenAI's own client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import text

from tunewright.api.stored_completions import Keeping
from tunewright.core.api_keys import issue_key
from tunewright.core.completions import Completions
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError

from .conftest import HELLO, PATIENCE, Server, start_server

SHORT: dict[str, Any] = {"model": "slow", "messages": HELLO, "max_tokens": 4}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def keyed(
    slow_base: Path, tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("stored")
    store = Store(home)
    keys |= {name: issue_key(store, name, project=name).secret for name in ("a", "b")}
    store.close()
    running = start_server(home, bases=[str(slow_base)], timeout=PATIENCE, stored={"most": 8})
    try:
        yield running
    finally:
        running.stop()


def client_of(server: Server, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


@pytest.fixture
def client(keyed: Server, keys: dict[str, str]) -> Iterator[openai.OpenAI]:
    with client_of(keyed, keys["a"]) as made:
        yield made


def test_only_what_asks_for_it_is_stored(client: openai.OpenAI) -> None:
    before = len(client.chat.completions.list().data)
    client.chat.completions.create(**SHORT)
    client.chat.completions.create(**SHORT, store=False, metadata={"a": "b"})
    assert len(client.chat.completions.list().data) == before


def test_a_completion_is_kept_as_it_was_given(client: openai.OpenAI) -> None:
    parts: Any = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": text} for text in ("退货", "?")],
        },
    ]
    made = client.chat.completions.create(
        model="slow", messages=parts, max_tokens=4, store=True, metadata={"team": "law"}
    )
    kept = client.chat.completions.retrieve(made.id)
    assert kept.metadata == {"team": "law"}
    assert kept.model_dump(exclude={"metadata"}) == made.model_dump(exclude={"metadata"})
    told = list(client.chat.completions.messages.list(made.id, limit=1))
    assert [one.role for one in told] == ["system", "user"]
    assert (told[1].content, told[0].content_parts) == ("退货?", None)
    assert [part.text for part in told[1].content_parts or []] == ["退货", "?"]  # type: ignore[union-attr]
    back = list(client.chat.completions.messages.list(made.id, order="desc", limit=1))
    assert [one.id for one in back] == [one.id for one in reversed(told)]
    changed = client.chat.completions.update(made.id, metadata={"team": "tax"})
    assert changed.metadata == {"team": "tax"}
    assert [one.id for one in client.chat.completions.list(metadata={"team": "tax"})] == [made.id]
    assert client.chat.completions.list(metadata={"team": "law"}).data == []
    assert client.chat.completions.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.delete(made.id)


@pytest.mark.parametrize("counted", [True, False])
def test_a_stream_is_kept_whole(client: openai.OpenAI, counted: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if counted else {}
    chunks = list(client.chat.completions.create(**SHORT, stream=True, store=True, n=2, **options))
    assert any(chunk.usage for chunk in chunks) == counted
    (kept,) = {chunk.id for chunk in chunks}
    found = client.chat.completions.retrieve(kept)
    for choice in found.choices:
        said = "".join(
            one.delta.content or ""
            for chunk in chunks
            for one in chunk.choices
            if one.index == choice.index
        )
        assert choice.message.content == said
        assert choice.finish_reason in ("stop", "length")
    assert found.usage is not None
    assert found.usage.completion_tokens > 0


def test_a_broken_off_stream_is_not_kept(client: openai.OpenAI) -> None:
    before = client.chat.completions.list(order="desc", limit=1).data
    long = {**SHORT, "max_tokens": 20_000}
    with client.chat.completions.create(**long, stream=True, store=True) as stream:
        seen = next(iter(stream)).id
    assert client.chat.completions.list(order="desc", limit=1).data == before
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(seen)


def test_lists_come_in_pages_and_stay_within_bounds(client: openai.OpenAI) -> None:
    made = [client.chat.completions.create(**SHORT, store=True).id for _ in range(9)]
    assert [one.id for one in client.chat.completions.list(limit=3)] == made[1:]
    newest = client.chat.completions.list(order="desc", model="slow", limit=2)
    assert [one.id for one in newest.data] == made[:-3:-1]
    assert client.chat.completions.list(model="nano").data == []
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.list(limit=101)


def test_another_projects_are_as_though_there_were_none(
    keyed: Server, keys: dict[str, str], client: openai.OpenAI
) -> None:
    made = client.chat.completions.create(**SHORT, store=True).id
    with client_of(keyed, keys["b"]) as theirs:
        assert theirs.chat.completions.list().data == []
        for attempt in (
            lambda: theirs.chat.completions.retrieve(made),
            lambda: theirs.chat.completions.update(made, metadata={"x": "y"}),
            lambda: theirs.chat.completions.delete(made),
            lambda: theirs.chat.completions.messages.list(made),
        ):
            with pytest.raises(openai.NotFoundError):
                attempt()
    assert client.chat.completions.retrieve(made).metadata == {}


@pytest.mark.parametrize(
    "labels", [{"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "v" for n in range(17)}, {"k": 1}]
)
def test_labels_have_bounds(client: openai.OpenAI, labels: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**SHORT, store=True, metadata=labels)
    made = client.chat.completions.list(limit=1).data[0].id
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.update(made, metadata=labels)


def test_what_cannot_be_stored_is_told(store: Store) -> None:
    completions = Completions(store, 60, 10)
    completions.sweep()
    with store.transaction() as connection:
        connection.execute(text("DROP TABLE stored_completions"))
    keeping = Keeping(completions, "a", b'{"messages": []}', {})
    with pytest.raises(RequestError) as caught:
        asyncio.run(keeping.whole({"model": "slow"}))
    assert (caught.value.status, caught.value.code) == (500, "not_stored")
    assert caught.value.should_retry is False

    async def chunks() -> AsyncIterator[dict[str, Any]]:
        yield {"id": "x", "model": "slow", "choices": []}

    async def passed() -> list[dict[str, Any]]:
        return [event async for event in keeping.watch(chunks())]

    first, last = asyncio.run(passed())
    assert first["id"] == keeping.id
    assert last["error"]["code"] == "not_stored"
