"""Whoever can be asked: here, behind an endpoint, with examples; and nobody twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.responders.conftest import QUESTIONS, Upstream, make_row

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.errors import ConfigError, EndpointError, NotFoundError
from tunewright.core.events import Event
from tunewright.core.messages import Row, conversation
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.deployment.deploy import Order, deploy
from tunewright.evaluation.evaluate import evaluate, read_outputs
from tunewright.evaluation.responders.cache import AnswerCache
from tunewright.evaluation.responders.few_shot import pick_examples, with_examples
from tunewright.evaluation.responders.names import at_url, read_name


def config(stored: Dataset, *models: str, **more: Any) -> EvaluateConfig:
    quiet = {"general": False, "probes": {"safety": False}, "bootstrap": 100}
    return EvaluateConfig.build(
        {"dataset": stored.id, "models": models, "max_new_tokens": 3, **quiet, **more}
    )


def progress(events: list[Event], name: str) -> list[int]:
    return [
        event.data["done"]
        for event in events
        if event.kind == "progress" and event.data["stage"] == f"asking {name}"
    ]


# Names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "target", "shots"),
    [
        ("nano", "nano", 0),
        ("nano+5shot", "nano", 5),
        ("org/c++model", "org/c++model", 0),
        ("run_0123@40+12shot", "run_0123@40", 12),
        ("openai:m@http://h/v1+2shot", "openai:m@http://h/v1", 2),
    ],
)
def test_references_are_read(reference: str, target: str, shots: int) -> None:
    name = read_name(reference)
    assert (name.target, name.shots) == (target, shots)
    assert name.remote is target.startswith("openai:")


def test_references_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="1 to 32"):
        read_name("nano+99shot")
    assert at_url("org/m@v2@https://h:1/v1", "models") == ("org/m@v2", "https://h:1/v1")
    with pytest.raises(ConfigError, match="is not MODEL@URL"):
        at_url("m", "models")


# Examples --------------------------------------------------------------------------------------


def test_examples_are_fixed_by_the_seed_and_from_own_rows() -> None:
    rows = [make_row(n, "train") for n in range(10)]
    rows.append(rows[0].model_copy(update={"origin": "general"}))
    unanswered = rows[0].model_copy(update={"conversation": conversation(("user", "?"))})
    first = pick_examples([*rows, unanswered], 4, 7)
    assert first == pick_examples([*rows, unanswered], 4, 7)
    assert first != pick_examples([*rows, unanswered], 4, 8)
    assert len({asked.content for asked, _ in first}) == 4
    assert len(pick_examples(rows, 32, 0)) == 10


def test_examples_stand_between_system_message_and_question() -> None:
    row: Row = make_row(1, "test")
    shown = with_examples(row.conversation.prompt(), pick_examples([make_row(2, "train")], 1, 0))
    assert [turn.role for turn in shown.messages] == ["system", "user", "assistant", "user"]
    assert shown.question == row.conversation.question


def test_a_base_with_examples_is_a_responder_of_its_own(
    store: Store, stored: Dataset, tiny_base: Path
) -> None:
    plain, shown = str(tiny_base), f"{tiny_base}+3shot"
    record = evaluate(config(stored, plain, shown), store)
    assert set(record.scores) == {plain, shown}
    assert len(read_outputs(store.folder(Evaluation, record.id))) == 2 * QUESTIONS
    # The same weights, so that only the examples can make the references more or less likely.
    assert record.scores[plain]["perplexity"] != record.scores[shown]["perplexity"]
    (kept,) = (store.home / "cache" / "answers").iterdir()
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 4 * QUESTIONS


def test_more_examples_than_the_context_holds_are_left_out(
    store: Store, stored: Dataset, tiny_base: Path
) -> None:
    record = evaluate(config(stored, f"{tiny_base}+12shot", max_new_tokens=8), store)
    assert len(read_outputs(store.folder(Evaluation, record.id))) == QUESTIONS


def test_examples_need_training_rows(store: Store, stored: Dataset, tiny_base: Path) -> None:
    (store.folder(Dataset, stored.id) / "train.jsonl").unlink()
    with pytest.raises(ConfigError, match="no training rows"):
        evaluate(config(stored, f"{tiny_base}+3shot"), store)


# Deployments -----------------------------------------------------------------------------------


def test_a_deployment_is_judged_as_it_is_served(
    store: Store, stored: Dataset, tiny_base: Path
) -> None:
    """Its own prompt, its own draw, the same again from the same seed, on the same weights."""
    plain = str(tiny_base)
    drawn = {"model": plain, "system": "Be a fox.", "temperature": 1.5, "max_tokens": 2}
    deploy(store, Order("clerk", drawn))
    deploy(store, Order("twin", {"model": plain}))
    record = evaluate(config(stored, plain, "twin", "clerk"), store)
    assert record.scores[plain]["perplexity"] == record.scores["twin"]["perplexity"]
    assert record.scores[plain]["perplexity"] != record.scores["clerk"]["perplexity"]
    outputs = read_outputs(store.folder(Evaluation, record.id))
    said = {name: [o["answer"] for o in outputs if o["responder"] == name]
            for name in (plain, "twin", "clerk")}  # fmt: skip
    assert said[plain] == said["twin"]
    assert len(set(said["clerk"])) > len(set(said[plain])), "it draws"
    (kept,) = (store.home / "cache" / "answers").iterdir()
    kept.unlink()
    again = evaluate(config(stored, plain, "clerk"), store)
    outputs = read_outputs(store.folder(Evaluation, again.id))
    assert [o["answer"] for o in outputs if o["responder"] == "clerk"] == said["clerk"]


# Endpoints -------------------------------------------------------------------------------------


def test_an_endpoint_beside_a_base(
    store: Store, stored: Dataset, tiny_base: Path, upstream: Upstream, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret", encoding="utf-8")
    remote = f"openai:qwen@{upstream.url}"
    asked = config(stored, str(tiny_base), remote, scoring={"key_file": str(key)})
    record = evaluate(asked, store)
    assert set(upstream.answered.values()) == {1}
    assert len(upstream.answered) == QUESTIONS
    body = upstream.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("qwen", 0.0, 16)
    assert "response_format" not in body
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert upstream.headers[0]["Authorization"] == "Bearer sk-secret"
    # Likelihoods are of models that run here only, so nobody has them.
    assert "perplexity" not in record.scores[str(tiny_base)]
    cut = [
        o["finish_reason"]
        for o in read_outputs(store.folder(Evaluation, record.id))
        if o["responder"] == remote and "7" in o["question"]
    ]
    assert set(cut) == {"length"}
    for path in store.home.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes()


def test_only_the_new_one_is_asked_the_second_time(
    store: Store, stored: Dataset, tiny_base: Path, upstream: Upstream
) -> None:
    remote = f"openai:qwen@{upstream.url}"
    first = evaluate(config(stored, remote), store)
    events: list[Event] = []
    second = evaluate(config(stored, remote, str(tiny_base)), store, events.append)
    assert len(upstream.bodies) == QUESTIONS
    assert progress(events, remote) == [QUESTIONS]
    assert second.scores[remote] == first.scores[remote]
    # Another limit or another length is another question.
    evaluate(config(stored, remote, max_new_tokens=20), store)
    assert len(upstream.bodies) == 2 * QUESTIONS


def test_one_that_refuses_a_question_is_asked_again_later(
    store: Store, stored: Dataset, upstream: Upstream
) -> None:
    upstream.refused = {"test 5: 试用期?"}
    remote = f"openai:qwen@{upstream.url}"
    with pytest.raises(EndpointError, match=r"no answer to 1 of 24 questions.*no"):
        evaluate(config(stored, remote), store)
    assert store.list(Evaluation) == []
    upstream.refused = set()
    evaluate(config(stored, remote), store)
    assert set(upstream.answered.values()) == {1}


def test_an_endpoint_that_refuses_everything_is_left_alone(
    store: Store, stored: Dataset, upstream: Upstream
) -> None:
    upstream.refused = {f"test {n}: 试用期?" for n in range(QUESTIONS)}
    with pytest.raises(EndpointError):
        evaluate(config(stored, f"openai:qwen@{upstream.url}"), store)
    assert len(upstream.bodies) < QUESTIONS


@pytest.mark.parametrize(
    "blow", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_evaluation_goes_on_where_it_was(
    store: Store, stored: Dataset, upstream: Upstream, blow: signal.Signals
) -> None:
    """The process is killed outright, or told to stop, while the endpoint is silent."""
    upstream.most = 10
    remote = f"openai:qwen@{upstream.url}"
    command = [
        *(sys.executable, "-m", "tunewright", "evaluate", "--home", str(store.home)),
        *("--dataset", stored.id, "--models", remote, "--no-general", "--no-safety"),
    ]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert upstream.silent.wait(60)
        process.send_signal(blow)
        told = process.communicate(timeout=60)[1]
    if blow is signal.SIGINT:
        assert process.returncode == 130
        assert "Run the same command again to go on." in told
    assert sum(upstream.answered.values()) == 10
    upstream.most = 10_000
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Verdict" in done.stderr
    assert set(upstream.answered.values()) == {1}
    assert len(upstream.answered) == QUESTIONS
    assert len(store.list(Evaluation)) == 1


KILL = """
import os, signal, sys
from pathlib import Path
from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.evaluation.evaluate import evaluate

def listen(event):
    if event.data.get("done", 0) > 12:
        os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[1])
evaluate(EvaluateConfig.build(eval(sys.argv[2])),
    Store(home, Settings(home=home, offline=True)), listen)
"""


def test_a_killed_model_of_this_machine_keeps_its_answers(
    store: Store, stored: Dataset, tiny_base: Path
) -> None:
    asked = config(stored, str(tiny_base), batch_size=3)
    arguments = [str(store.home), repr(asked.json_dict())]
    done = subprocess.run([sys.executable, "-c", KILL, *arguments], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert store.list(Evaluation) == []
    (kept,) = (store.home / "cache" / "answers").iterdir()
    lines = len(kept.read_text(encoding="utf-8").splitlines())
    assert lines == 12, "four batches of three"
    events: list[Event] = []
    record = evaluate(asked, store, events.append)
    assert progress(events, str(tiny_base))[0] == 12
    assert len(read_outputs(store.folder(Evaluation, record.id))) == QUESTIONS
    fresh = evaluate(config(stored, str(tiny_base), batch_size=24), store)
    assert fresh.scores == record.scores


def test_likeness_in_meaning_by_an_embedding_model(
    store: Store, stored: Dataset, tiny_base: Path, upstream: Upstream
) -> None:
    asked = config(stored, str(tiny_base), scoring={"embedding": f"bge@{upstream.url}"})
    record = evaluate(asked, store)
    # References are three characters long, (3, 1); answers at least one, (1, 1) or longer.
    assert 0.85 < record.scores[str(tiny_base)]["embedding"]["all"] <= 1


# What is kept ----------------------------------------------------------------------------------


def test_a_torn_line_is_passed_over_and_closed(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path, "a" * 64)
    assert not cache.path.parent.exists(), "reading makes nothing"
    cache.add([("one", {"text": "字", "finish_reason": "stop"})])
    with open(cache.path, "ab") as file:
        file.write(b'{"key": "two", "te')
    again = AnswerCache(tmp_path, "a" * 64)
    assert again.get("one") == {"text": "字", "finish_reason": "stop"}
    assert again.get("two") is None
    again.add([("three", {"text": "", "finish_reason": "stop"})])
    final = AnswerCache(tmp_path, "a" * 64)
    assert final.get("three") is not None
    assert AnswerCache(tmp_path, "b" * 64).get("one") is None


def test_mistakes_are_refused_before_anybody_is_asked(
    store: Store, stored: Dataset, upstream: Upstream
) -> None:
    remote = f"openai:qwen@{upstream.url}"
    with pytest.raises(NotFoundError):
        evaluate(config(stored, remote, "absent"), store)
    with pytest.raises(ConfigError, match="no scorer 'blue'"):
        evaluate(config(stored, remote, scoring={"scorers": ["blue"]}), store)
    with pytest.raises(ConfigError, match="not among what is scored"):
        evaluate(config(stored, remote, scoring={"metric": "bleu"}), store)
    with pytest.raises(ConfigError, match="name models to compare"):
        EvaluateConfig.build({"dataset": "x"})
    assert upstream.bodies == []
    assert os.listdir(store.home) != []
