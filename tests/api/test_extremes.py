"""Parameters out of all bounds: each is a plain refusal, and those who ask sensibly notice nothing.

And addresses in every field: the server never goes where a request says.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from .conftest import HELLO, PATIENCE, Server

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HUGE = 10**30


def nested(depth: int) -> dict[str, Any]:
    """A schema within a schema, and so on."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def form(schema: Any) -> dict[str, Any]:
    """A wish for answers of this schema."""
    named = {"name": "x", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def tool(**function: Any) -> dict[str, Any]:
    """One function on offer."""
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


def image(url: str) -> dict[str, Any]:
    """A question with a picture somewhere else."""
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [{"role": "user", "content": [part]}]}


def numbers(*names: str, values: tuple[Any, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Each name with each value."""
    return [(CHAT, {name: value}) for name in names for value in values]


EXTREMES: list[tuple[str, dict[str, Any]]] = [
    *numbers("n", values=(0, -1, 129, 10**9, HUGE, 1.5, "8", True, [1])),
    *numbers("max_tokens", "max_completion_tokens", values=(0, -1, 10**9, HUGE, 2.5, "9", {})),
    *numbers("temperature", values=(-1, 2.1, 1e308, "hot", [])),
    *numbers("top_p", values=(-0.1, 1.1, HUGE)),
    *numbers("top_logprobs", values=(-1, 21, 10**9)),
    *numbers("presence_penalty", "frequency_penalty", values=(-2.1, 2.1, 1e300, "x")),
    *numbers("seed", values=(1.5, "x", 2**200)),
    *numbers("logit_bias", values=({"0": 101}, {"x": 1}, {"-1": 1}, {str(HUGE): 1}, [1])),
    *numbers("stop", values=(["x"] * 10_000, "x" * 10_000, [""], [[]])),
    *numbers("user", "model", values=("x" * 100_000, 7)),
    *numbers("metadata", values=({str(key): "v" for key in range(10_000)}, {"k": "v" * 10_000})),
    *numbers("messages", values=([], [HELLO[0]] * 100_000, [[]], "hello", None)),
    *numbers("stream_options", "tool_choice", "response_format", values=([], 7)),
    *numbers("prompt_embeds", "best_of", "extra_body", "api_base", values=("AAAA",)),
    *numbers("chat_template", values=("{% for a in range(10**9) %}{% endfor %}",)),
    *numbers("chat_template_kwargs", values=({"a": "{{ 1 }}"},)),
    (CHAT, {"logit_bias": {str(key): 1 for key in range(100_000)}}),
    (CHAT, {str(key): 1 for key in range(100_000)}),
    (CHAT, form(nested(100))),
    (CHAT, form({"properties": {str(key): {} for key in range(10_000)}})),
    (CHAT, form({"type": "nothing"})),
    (CHAT, form({"$ref": "http://127.0.0.1:9/schema"})),
    (CHAT, form({"type": "string", "pattern": "("})),
    (CHAT, form({"type": "string", "pattern": "(?=a)b"})),
    (CHAT, tool(name="x" * 10_000)),
    (CHAT, tool(parameters=nested(100))),
    (CHAT, {"tools": tool()["tools"] * 10_000}),
    (CHAT, image("data:image/png;base64," + "A" * 100_000)),
    (TEXT, {"prompt": ["x"] * 1_000_000}),
    (TEXT, {"prompt": [[2**40]]}),
    (TEXT, {"prompt": [[-1]]}),
    (TEXT, {"prompt": [HUGE]}),
    (TEXT, {"prompt": "x", "best_of": 10**9}),
    (TEXT, {"prompt": "x", "logprobs": 10**9}),
    (TEXT, {"prompt": "x", "suffix": "y"}),
    (TEXT, {"prompt": "很" * 200_000}),
    ("/v1/embeddings", {"input": ["x"] * 10_000}),
    ("/v1/embeddings", {"input": "x", "dimensions": HUGE}),
    ("/v1/embeddings", {"input": [[2**62]]}),
    ("/v1/embeddings", {"input": "x", "encoding_format": "pickle"}),
]


def defaults(path: str) -> dict[str, Any]:
    """A request that would be answered."""
    return {"model": "slow", **({"messages": HELLO, "max_tokens": 1} if path == CHAT else {})}


def test_extremes_are_refused_while_others_are_answered(server: Server) -> None:
    assert len(EXTREMES) >= 80
    answered: list[int] = []
    over = threading.Event()

    def neighbour() -> None:
        while not over.is_set():
            answered.append(server.chat(max_tokens=2).status_code)

    beside = threading.Thread(target=neighbour)
    beside.start()
    try:
        wrong = {}
        with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            for path, values in EXTREMES:
                reply = client.post(path, json={**defaults(path), **values})
                error = reply.json().get("error") or {}
                if not 400 <= reply.status_code < 500 or set(error) != SHAPE:
                    wrong[path, json.dumps(values)[:80]] = reply.text[:200]
                assert len(reply.content) < 5_000, values.keys()
        assert wrong == {}
    finally:
        over.set()
        beside.join()
    assert set(answered) == {200}


SHAPE = {"message", "type", "param", "code"}


# Addresses --------------------------------------------------------------------------------------


@contextmanager
def trap() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what came to it."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connection.settimeout(2)
                with connection:
                    came.append(connection.recv(1000))

        waiting = threading.Thread(target=listen)
        waiting.start()
        try:
            yield listener.getsockname()[1], came
        finally:
            over.set()
            waiting.join()


def addresses(port: int) -> list[str]:
    """The same place, as parsers that disagree may read it; and this machine's own files."""
    hosts = (
        "127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]",
        "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "localhost.", "0.0.0.0",  # noqa: S104
        "allowed.example@127.0.0.1", "allowed.example\\@127.0.0.1",
    )  # fmt: skip
    schemes = ("http", "https", "ftp", "gopher")
    return [
        *(f"{scheme}://{host}:{port}/x" for scheme in schemes for host in hosts),
        f"http://127.0.0.1:{port}#@allowed.example/",
        f"//127.0.0.1:{port}/",
        f"s3://127.0.0.1:{port}/b",
        f"hf://127.0.0.1:{port}/b",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "data:text/plain;base64,AAAA",
    ]


def places(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Every field of a request in which somebody may put an address."""
    audio = {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}
    job = {"model": "slow", "training_file": "file-none"}
    return [
        (CHAT, {"model": url}),
        (CHAT, image(url)),
        (CHAT, {"messages": [{"role": "user", "content": [audio]}]}),
        (CHAT, {"messages": [{"role": "user", "content": f"![x]({url})"}]}),
        (CHAT, {"messages": [{"role": "user", "content": "x", "name": url}]}),
        (CHAT, form({"$ref": url})),
        (CHAT, form({"$schema": url, "$id": url, "type": "object"})),
        (CHAT, tool(parameters={"$ref": url})),
        *((CHAT, {name: url}) for name in ("api_base", "base_url", "webhook_url", "user")),
        (TEXT, {"prompt": url, "max_tokens": 1}),
        ("/v1/embeddings", {"input": url}),
        ("/tokenize", {"prompt": url}),
        ("/v1/fine_tuning/jobs", {**job, "training_file": url}),
        ("/v1/fine_tuning/jobs", {**job, "validation_file": url}),
        ("/v1/fine_tuning/jobs", {**job, "model": url}),
        ("/v1/fine_tuning/jobs", {**job, "integrations": [{"type": "wandb", "wandb": {
            "project": "p", "name": url}}]}),
        ("/v1/fine_tuning/alpha/graders/run", {"model_sample": "x", "grader": {
            "type": "score_model", "name": "g", "model": url,
            "input": [{"role": "user", "content": url}]}}),
    ]  # fmt: skip


@pytest.mark.parametrize("most", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_no_address_in_a_request_is_ever_visited(server: Server, most: int) -> None:
    with trap() as (port, came), httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        # The trap catches what comes.
        socket.create_connection(("127.0.0.1", port)).close()
        tried = addresses(port)
        step = max(1, len(tried) // most)
        for url in tried[::step]:
            for path, values in places(url):
                reply = client.post(path, json={**defaults(path), **values})
                assert reply.status_code < 500, (path, values, reply.text)
                assert "root:" not in reply.text
    assert came == [b""]
