"""Servers in the place of engines: reached, refused, gone."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tunewright.config.serving import ServeConfig
from tunewright.core.errors import ConfigError
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.deployment.catalog import served_targets
from tunewright.deployment.gateway import Gateway
from tunewright.deployment.local_base import LocalBase
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import RequestError
from tunewright.deployment.text_protocol import CompletionRequest, TokenizeRequest
from tunewright.model.catalog import Base

from .conftest import make_adapter, user


@contextmanager
def running(app: Any) -> Iterator[str]:
    """An ASGI application on a free port of this machine, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


def play(
    store: Store, config: ServeConfig, story: Callable[[Gateway], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        gateway = Gateway(store, config)
        try:
            await story(gateway)
        finally:
            await gateway.close()

    asyncio.run(run())


def chat(model: str, **more: Any) -> ChatRequest:
    body = {"model": model, "messages": user("hello"), "max_tokens": 6, **more}
    return ChatRequest.parse(json.dumps(body).encode())


def add_model(store: Store, base: Base, adapter: Callable[[Path], Path]) -> Model:
    record = Model(
        id=Store.new_id(Model), name="ft:talker:acme:law:1", base=str(base.folder),
        base_digest=base.digest, renderer_hash="r" * 64, run="run_0123456789ab", step=1,
    )  # fmt: skip
    with store.stage(Model, record.id) as folder:
        adapter(folder)
    store.add(record)
    return record


def test_a_server_that_takes_adapters_stands_for_an_engine(
    engine: Any, served: LocalBase, talker: Base, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own engine plays vLLM: the same routes, another process's life."""
    monkeypatch.setenv("GPU_KEY", "secret")
    tuned = add_model(store, talker, lambda folder: make_adapter(talker, folder, 3))
    with running(engine) as url:
        gpu = {"url": url, "kind": "vllm", "models": ["base"], "key_env": "GPU_KEY",
               "base": str(talker.folder)}  # fmt: skip
        config = ServeConfig.build({"upstreams": {"gpu": gpu}})
        names = {target.name: target for target in served_targets(store, config)}
        assert {name: target.server for name, target in names.items()} == {
            tuned.name: "gpu", "nano": None, "talker": "gpu", "base": "gpu",
        }  # fmt: skip

        async def story(gateway: Gateway) -> None:
            texts = {}
            for name in (tuned.name, "talker", "base"):
                reply = await gateway.complete(await gateway.find(name), chat(name))
                assert reply["model"] == name
                texts[name] = reply["choices"][0]["message"]["content"]
            assert texts["talker"] == texts["base"] != texts[tuned.name]
            stream = await gateway.stream(
                await gateway.find(tuned.name), chat(tuned.name, stream=True)
            )
            pieces = [
                choice["delta"].get("content") or ""
                async for event in stream.events()
                for choice in event["choices"]
            ]
            await stream.close()
            assert "".join(pieces) == texts[tuned.name]
            target = await gateway.find("talker")
            told = await gateway.complete(
                target, TokenizeRequest.parse(b'{"model": "talker", "prompt": "How long?"}')
            )
            assert told["tokens"] == served.text_ids("How long?")
            text = await gateway.complete(
                target, CompletionRequest.parse(b'{"model": "talker", "prompt": "How long"}')
            )
            assert text["object"] == "text_completion"

        play(store, config, story)


class Plain:
    """A server of OpenAI's protocol that knows nothing more, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.append(json.loads(body))
        self.keys.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        choice = {"index": 0, "delta": {"content": "héllo"}, "finish_reason": "stop"}
        event = json.dumps({"id": "x", "model": "gpt-x", "choices": [choice]}).encode()
        # Cut where it hurts: within a character, within a line, and with comments between.
        whole = b": hello\r\n\r\ndata: " + event + b"\n\ndata: [DONE]\n\n"
        if not self.asked[-1].get("stream"):
            message = {"role": "assistant", "content": "hello"}
            whole = json.dumps({"model": "gpt-x", "choices": [{"message": message}]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for place in range(0, len(whole), 7):
            part = whole[place : place + 7]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_any_server_of_the_protocol_can_be_asked(store: Store, tmp_path: Path) -> None:
    plain = Plain()
    (tmp_path / "key").write_text("sk-elsewhere\n")
    with running(plain) as url:
        other = {"url": url, "models": ["gpt-x"], "key_file": str(tmp_path / "key")}
        config = ServeConfig.build({"upstreams": {"elsewhere": other}})

        async def story(gateway: Gateway) -> None:
            target = await gateway.find("gpt-x")
            reply = await gateway.complete(target, chat("gpt-x", temperature=0.5))
            assert reply["choices"][0]["message"]["content"] == "hello"
            stream = await gateway.stream(target, chat("gpt-x", stream=True))
            events = [event async for event in stream.events()]
            await stream.close()
            assert [event["choices"][0]["delta"]["content"] for event in events] == ["héllo"]
            assert events[0]["model"] == "gpt-x"

        play(store, config, story)
    assert plain.asked[0] == {
        "model": "gpt-x", "messages": user("hello"), "max_tokens": 6, "temperature": 0.5,
    }  # fmt: skip
    assert plain.asked[1]["stream_options"] == {"include_usage": True}
    assert plain.keys == ["Bearer sk-elsewhere"] * 2


def test_a_server_that_is_gone_is_an_error_and_asked_again(store: Store) -> None:
    plain = Plain()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gone = {"url": f"http://127.0.0.1:{port}/v1", "models": ["gpt-x"]}
    config = ServeConfig.build({"upstreams": {"elsewhere": gone}})

    async def story(gateway: Gateway) -> None:
        target = await gateway.find("gpt-x")
        for _ in range(2):
            with pytest.raises(RequestError) as caught:
                await gateway.complete(target, chat("gpt-x"))
            assert (caught.value.status, caught.value.code) == (503, "engine_failed")
        listener = socket.create_server(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(plain, log_config=None, access_log=False))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            reply = await gateway.complete(target, chat("gpt-x"))
            assert reply["choices"][0]["message"]["content"] == "hello"
        finally:
            server.should_exit = True
            await task
            listener.close()

    play(store, config, story)


def test_a_missing_key_is_said_in_the_log_only(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    other = {"url": "http://127.0.0.1:9/v1", "models": ["gpt-x"], "key_env": "NO_SUCH_KEY_HERE"}
    config = ServeConfig.build({"upstreams": {"elsewhere": other}})

    async def story(gateway: Gateway) -> None:
        with pytest.raises(RequestError) as caught:
            await gateway.complete(await gateway.find("gpt-x"), chat("gpt-x"))
        assert caught.value.code == "engine_unavailable"
        assert "NO_SUCH" not in caught.value.message

    play(store, config, story)
    assert "NO_SUCH_KEY_HERE" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ["x"]},
        {"url": "ftp://x/v1", "models": ["x"]},
        {"url": "http://x/v1", "models": []},
        {"url": "http://x/v1?key=1", "models": ["x"]},
        {"url": "http://x/v1", "models": ["x"], "kind": "tgi"},
    ],
)
def test_wrong_servers_are_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ServeConfig.build({"upstreams": {"other": wrong}})
