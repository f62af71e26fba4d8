"""Parity end to end, through the HTTP endpoint of a running server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.conftest import Server, start_server
from tests.export.conftest import MakeTuned
from tests.export.test_parity import run

from tunewright.core.records import Model
from tunewright.core.store import Store


@pytest.fixture
def tuned(make_tuned: MakeTuned) -> Model:
    """A tuned model in the store."""
    return make_tuned()


@pytest.fixture
def server(store: Store, tuned: Model) -> Iterator[Server]:
    """A server of the store's models."""
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
