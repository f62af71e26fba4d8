"""Tuned models that real servers deploy, compared with what was trained: by the server itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.api.conftest import Server, children_running, eventually, start_program
from tests.export import conftest as exporting

from tunewright.core.deployments import Signed, history
from tunewright.core.queue import Queue
from tunewright.core.records import Comparison, Deployment, Model
from tunewright.core.store import Store
from tunewright.core.usage import read_usage
from tunewright.deployment.deploy import Order, deploy
from tunewright.deployment.parity import compare_again, parity_of

tested = exporting.tested
make_tuned = exporting.make_tuned
SORRY = "The assistant is resting."


@pytest.fixture
def tuned(make_tuned: exporting.MakeTuned) -> Model:
    """A tuned model in the store."""
    return make_tuned()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """Stops servers at the end."""
    monkeypatch.setenv("TUNEWRIGHT_PRECISION", "float32")
    with ExitStack() as stack:
        yield stack


def serve(stack: ExitStack, store: Store, log: str = "stderr.txt", **config: Any) -> Server:
    stderr = store.home / log
    process, said = start_program(store.home, stderr, **config)
    assert "serving" in said, (said, stderr.read_text())
    server = Server(process, said["serving"]["url"], stderr)
    stack.callback(server.stop)
    return server


def put(store: Store, model: Model, name: str = "clerk", **settings: Any) -> None:
    deploy(store, Order(name, {"model": model.id, **settings}, override="a test"))


def told(store: Store, model: Model, name: str = "clerk") -> dict[str, str]:
    return parity_of(store, store.get(Deployment, name))[model.id]


def asked(log: Path) -> int:
    """Requests that a server has answered to comparisons."""
    return log.read_text().count("key=parity")


def test_of_two_servers_one_compares_and_nobody_pays(
    store: Store, tuned: Model, stack: ExitStack
) -> None:
    servers = [serve(stack, store, f"log{n}.txt", require_keys=True) for n in range(2)]
    put(store, tuned, fallback=["upstream:gpu"])
    assert told(store, tuned)["state"] in ("pending", "running", "passed")
    assert eventually(lambda: told(store, tuned)["state"] == "passed"), told(store, tuned)
    (comparison,) = store.list(Comparison)
    answers = comparison.report["answers"]
    assert (answers["asked"], answers["identical"], answers["same_prompt_ids"]) == (6, 6, 6)
    assert comparison.report["logprobs"]["answers"] == 6
    assert comparison.report["logprobs"]["largest_difference"] < 1e-4
    assert Queue(store).get(comparison.id).attempts == 1
    questions = sum(asked(server.stderr) for server in servers)
    assert questions == 2 * answers["asked"]
    assert [one for one in read_usage(store, "model", 7200) if one["model"] != ""] == []
    # Whoever serves it under another name as well knows it already.
    put(store, tuned, "second")
    assert eventually(lambda: store.get(Deployment, "second").parity != {})
    assert sum(asked(server.stderr) for server in servers) == questions
    assert eventually(lambda: len(history(store, "clerk")) == 2)
    first, second = history(store, "clerk")
    assert (second.change, second.by) == ("parity passed", "parity rule")
    assert f"{tuned.name}: 6 of 6 answers" in str(second.reason)
    assert second.settings == first.settings
    assert parity_of(store, second)["upstream:gpu"]["state"] == "not_compared"
    # The key that was lent opens nothing any more, nor does none.
    body = {"model": tuned.id, "messages": [{"role": "user", "content": "hello"}]}
    url = f"{servers[0].url}/v1/chat/completions"
    assert httpx.post(url, json=body).status_code == 401


@pytest.mark.slow
def test_weights_that_were_exchanged_are_found_out_and_held_back(
    store: Store, tuned: Model, stack: ExitStack
) -> None:
    server = serve(stack, store)
    server.base = "clerk"
    # An engine holds an adapter from the first request on; the file on disk is another by then.
    assert server.chat(model=tuned.id, max_tokens=1).status_code == 200
    file = store.folder(Model, tuned.id) / "adapter_model.safetensors"
    right = load_file(file)
    generator = torch.Generator().manual_seed(3)
    wrong = {k: t + 0.3 * torch.randn(t.shape, generator=generator) for k, t in right.items()}
    save_file(wrong, file)
    put(store, tuned, parity="require", answer={"en": SORRY}, max_tokens=4)
    assert eventually(lambda: server.chat().status_code == 200)
    assert answer(server) == SORRY
    assert eventually(lambda: told(store, tuned)["state"] == "failed"), told(store, tuned)
    reason = told(store, tuned)["reason"]
    assert "answers are the same, needed 90%" in reason
    assert "; first at prompt 0, token " in reason
    assert answer(server) == SORRY

    def shown() -> dict[str, Any]:
        return dict(httpx.get(f"{server.url}/v1/deployments/clerk").json())

    missing = (
        "is not served before a comparison has shown that it answers as it was trained: failed"
    )
    assert eventually(
        lambda: shown()["standing"]["missing"] == {tuned.id: f"{tuned.name!r} {missing}"}
    )
    assert shown()["parity"][tuned.id]["state"] == "failed"
    assert history(store, "clerk")[-1].change == "parity failed"
    assert eventually(lambda: f"deployment clerk: {tuned.id}: " in server.stderr.read_text())
    put(store, tuned, parity="check")
    assert eventually(lambda: answer(server) != SORRY)
    # The right file again: what was found is forgotten, and found anew.
    save_file(right, file)
    put(store, tuned, parity="require")
    assert eventually(lambda: answer(server) == SORRY)
    compare_again(store, "clerk", Signed("cli:me", "to be compared again"))
    assert eventually(lambda: told(store, tuned)["state"] == "passed"), told(store, tuned)
    assert eventually(lambda: answer(server) != SORRY)


def answer(server: Server) -> str:
    reply = server.chat()
    assert reply.status_code == 200, reply.text
    text: str = reply.json()["choices"][0]["message"]["content"]
    return text


def comparing(server: Server) -> list[int]:
    """Processes of a server that compare."""
    return children_running(server.process.pid, b"comparing_process")


@pytest.mark.slow
def test_what_a_kill_interrupts_is_compared_by_the_next_server(
    store: Store, tuned: Model, stack: ExitStack
) -> None:
    put(store, tuned)
    first = serve(stack, store, "first.txt", jobs={"lease": 1})
    assert eventually(lambda: bool(comparing(first)))
    (process,) = comparing(first)
    first.stop(signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{process}").exists())
    (comparison,) = store.list(Comparison)
    assert (comparison.outcome, comparison.report) == (None, {})
    assert store.get(Deployment, "clerk").parity == {}
    serve(stack, store, "second.txt", jobs={"lease": 1, "pause": 0})
    assert eventually(lambda: told(store, tuned)["state"] == "passed"), told(store, tuned)
    assert Queue(store).get(comparison.id).attempts == 2
