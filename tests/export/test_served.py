"""Parity end to end, through the HTTP endpoint of a running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.api.conftest import Server, start_server
from tests.export.conftest import MakeTuned
from tests.export.test_parity import run

from tunewright.config.export import ServedConfig
from tunewright.core.messages import conversation
from tunewright.core.records import Evaluation, Model
from tunewright.core.store import Store
from tunewright.endpoints.address import Address
from tunewright.export.formats import Arithmetic, load_tuned
from tunewright.export.observation import Spoken, answer_logits, speak
from tunewright.export.parting import find_parting
from tunewright.export.served import compare_served
from tunewright.model.references import resolve_responder


@pytest.fixture
def tuned(make_tuned: MakeTuned) -> Model:
    """A tuned model in the store."""
    return make_tuned()


@pytest.fixture
def server(store: Store, tuned: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the store's models."""
    monkeypatch.setenv("TUNEWRIGHT_PRECISION", "float32")
    running = start_server(store.home, bases=[tuned.base])
    yield running
    running.stop()


def test_serving_answers_as_the_model_does(
    store: Store, tuned: Model, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--home", str(store.home), "--endpoint", f"{server.url}/v1", "--prompts", "4",
              "--max-new-tokens", "16", "--device", "cpu")  # fmt: skip
    code, found, err = run(capsys, "parity", tuned.id, *common)
    assert code == 0, err
    assert found["passed"]
    assert found["answers"] == {
        "asked": 4,
        "prompt_ids_told": 4,
        "same_prompt_ids": 4,
        "prompt_tokens_told": 4,
        "same_prompt_tokens": 4,
        "identical": 4,
        "within_rounding": 0,
        "same_ending": 4,
    }
    assert found["scores"]["char_f1"]["delta"] == 0
    # Another model under that address is found out.
    code, found, err = run(
        capsys, "parity", tuned.id, *common, "--served-as", Path(tuned.base).name
    )
    assert code == 1
    assert "PARITY FAILED" in err
    different = found["first_difference"]
    assert different["expected"] != different["found"]
    assert different["where"] == "answer"
    assert f"first at prompt {different['prompt']} at token {different['token']}: " in err
    code, found, err = run(capsys, "parity", tuned.id, *common, "--served-as", "nobody")
    assert code == 1
    assert "Traceback" not in err
    # Our own server is asked for log-probabilities too: they tell weights apart that say the same.
    url = httpx.URL(f"{server.url}/v1/chat/completions")
    asked = {"model": tuned.id, "endpoint": f"{server.url}/v1", "device": "cpu"}
    config = ServedConfig.build({**asked, "prompts": 2, "max_new_tokens": 16, "identical": 0.01})
    report = compare_served(config, store, address=Address(url, loopback=True))
    assert report["passed"]
    assert report["logprobs"]["answers"] == 2
    assert report["logprobs"]["largest_difference"] < 1e-4
    file = store.folder(Model, tuned.id) / "adapter_model.safetensors"
    save_file({name: 1.02 * tensor for name, tensor in load_file(file).items()}, file)
    report = compare_served(config, store, address=Address(url, loopback=True))
    assert report["answers"]["identical"] > 0
    assert not report["passed"]
    assert "log-probabilities differ by up to" in report["failures"][-1]


def test_where_memory_is_short_kept_answers_stand_in(
    store: Store, tuned: Model, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--home", str(store.home), "--endpoint", f"{server.url}/v1", "--memory-gb", "1e-5")
    code, _, err = run(capsys, "parity", tuned.id, *small)
    assert code == 2
    assert "its newest evaluation keeps no greedy answers" in err
    base = Path(tuned.base)
    asked = ("--dataset", "latest", "--models", str(base), "--models", tuned.id, "--no-general",
             "--probes-seen", "0", "--no-safety", "--max-new-tokens", "16")  # fmt: skip
    code, _, err = run(capsys, "evaluate", "--home", str(store.home), *asked)
    evaluation = store.list(Evaluation)[0]
    code, found, err = run(capsys, "parity", tuned.id, *small)
    assert code == 0, err
    assert found["reference"] == f"kept by evaluation {evaluation.id}"
    assert found["answers"]["identical"] == found["answers"]["same_prompt_ids"] == 6
    code, found, err = run(capsys, "parity", tuned.id, *small, "--served-as", base.name)
    assert code == 1
    assert set(found["first_difference"]) == {"prompt", "expected", "found"}


def test_two_tokens_alike_but_for_rounding_are_either_right(store: Store, tuned: Model) -> None:
    found = resolve_responder(store, tuned.id)
    model = load_tuned(found, Arithmetic(torch.device("cpu"), torch.float32))
    (spoken,) = speak(model, [conversation(("user", "hello"))], 24)
    assert find_parting(model, spoken, spoken, 1e-3) is None
    decode = model.renderer.decode
    # Where the second likeliest token is text that tells it from the likeliest.
    logits = answer_logits(model, spoken)
    number = next(
        number
        for number, row in enumerate(logits)
        if not decode(spoken.tokens[:number]).endswith("\ufffd")
        and len({decode([token]).strip("\ufffd ")[:1] for token in row.topk(2).indices} - {""}) == 2
    )
    row = logits[number]
    first, second = row.topk(2).indices.tolist()
    pieces = decode([first]), decode([second])
    text = decode([*spoken.tokens[:number], second])
    other = Spoken((), (), text, False)
    gap = float(row[first] - row[second])
    wide = find_parting(model, spoken, other, gap + 1e-4)
    assert wide is not None
    assert (wide.token, wide.gap) == (number, pytest.approx(gap, abs=1e-4))
    narrow = find_parting(model, spoken, other, gap / 2)
    assert narrow is not None
    assert (narrow.expected, narrow.gap) == (pieces[0], None)
    assert narrow.found == pieces[1]
    # An answer that goes on where the model ends, and one that ends where the model goes on.
    ended = Spoken(spoken.prompt, (*spoken.tokens[:number], *model.renderer.eos_ids), "", True)
    longer = find_parting(model, ended, Spoken((), (), text, False), 0)
    assert longer is not None
    assert (longer.token, longer.expected) == (number, "")
    short = find_parting(model, spoken, Spoken((), (), decode(spoken.tokens[:number]), True), 0)
    assert short is not None
    assert (short.token, short.found) == (number, "")
