"""The stage on a real, tiny, random model; two of them, so that there is something to compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError, DataError, NotFoundError
from tunewright.core.events import Event
from tunewright.core.files import sha256_file
from tunewright.core.messages import (
    Conversation,
    Message,
    Row,
    Source,
    ToolCall,
    conversation,
)
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.evaluate import evaluate, read_outputs


def row(number: int, answer: str, slice_name: str) -> Row:
    talk = conversation(("user", f"试用期最长多久? {number}"), ("assistant", answer))
    return Row(
        conversation=talk,
        source=Source(file="q.csv", row=number),
        group=f"g{number // 2}",
        slice=slice_name,
    )


@pytest.fixture
def stored(store: Store, dataset: Dataset) -> Dataset:
    """A dataset in the store with 24 test rows in two slices."""
    rows = [row(n, "六个月", ("easy", "hard")[n % 2]) for n in range(24)]
    unanswered = rows[0].model_copy(update={"conversation": conversation(("user", "?"))})
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "test.jsonl", [*rows, unanswered])
        write_rows(folder / "train.jsonl", rows[:4])
    store.add(dataset)
    return dataset


@pytest.fixture
def bases(tiny_base: Path, tmp_path: Path) -> tuple[str, str]:
    """The tiny base and a copy of it that brings a probe of its own."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(tiny_base, folder)
    lines = [{"kind": "sums", "question": f"{n}+1?", "answer": str(n + 1)} for n in range(5)]
    (first / "probe.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(first), str(second)


def test_two_responders_end_to_end(store: Store, stored: Dataset, bases: tuple[str, str]) -> None:
    events: list[Event] = []
    config = EvaluateConfig(
        dataset=stored.name, models=bases, max_new_tokens=6, batch_size=7, bootstrap=100
    )
    record = evaluate(config, store, events.append)
    assert store.get(Evaluation, "latest") == record
    assert record.dataset == stored.id
    assert set(record.scores) == set(bases)
    assert list(record.scores[bases[0]]) == ["exact", "char_f1", "perplexity", "length", "stop"]
    for metric in record.scores[bases[0]]:
        assert set(record.scores[bases[0]][metric]) == {"all", "easy", "hard"}
        # One model in two folders gives the same answers.
        assert record.deltas[bases[1]][metric]["all"] == 0
        assert record.intervals[bases[1]][metric]["all"] == [0, 0]
    assert record.general == dict.fromkeys(bases, 0.0)
    assert set(record.gates) == {"improvement", "forgetting", "safety", "stopping"}
    assert record.gates["improvement"]["passed"] is False
    assert record.verdict == "fail"
    folder = store.folder(Evaluation, record.id)
    assert (folder / record.report).read_text(encoding="utf-8").startswith("<!doctype html>")
    outputs = read_outputs(folder)
    assert len(outputs) == 48
    assert [o["row"] for o in outputs[:24]] == [str(n) for n in range(24)]
    assert set(outputs[0]) == {
        "responder", "row", "slice", "group", "question", "reference", "answer", "finish_reason",
        "scores",
    }  # fmt: skip
    summary = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert summary["outputs_sha256"] == sha256_file(folder / "outputs.jsonl")
    assert summary["id"] == record.id
    progress = [event.data for event in events if event.kind == "progress"]
    for name in bases:
        own = [data["done"] for data in progress if name in data["stage"]]
        assert own == sorted(own)
        assert own[-1] == 29 + 40
    assert events[-1].kind == "done"


def test_the_same_evaluation_twice_gives_the_same_outputs(
    store: Store, stored: Dataset, bases: tuple[str, str]
) -> None:
    config = EvaluateConfig(dataset=stored.id, models=bases, max_new_tokens=4, bootstrap=100)
    first, second = (evaluate(config, store) for _ in range(2))
    assert first.id != second.id
    assert first.scores == second.scores
    assert first.intervals == second.intervals
    for name in ("outputs.jsonl", "general.jsonl"):
        hashes = {sha256_file(store.folder(Evaluation, r.id) / name) for r in (first, second)}
        assert len(hashes) == 1


def test_a_limit_and_a_single_responder(
    store: Store, stored: Dataset, bases: tuple[str, str]
) -> None:
    config = EvaluateConfig(
        dataset=stored.id, models=bases[:1], general=False, limit=5, max_new_tokens=2
    )
    record = evaluate(config, store)
    assert record.deltas == {}
    assert record.general == {}
    assert record.gates["improvement"]["passed"] is None
    outputs = read_outputs(store.folder(Evaluation, record.id))
    assert [o["slice"] for o in outputs] == ["easy", "hard", "easy", "hard", "easy"]


@pytest.mark.parametrize("content", ["preference", "rating", "text"])
def test_rows_that_are_no_conversations_are_refused_with_a_way_out(
    store: Store, stored: Dataset, content: str
) -> None:
    other = stored.model_copy(update={"id": "ds_000000000003", "content": content})
    store.add(other)
    with pytest.raises(DataError, match="asks the questions of conversations") as caught:
        evaluate(EvaluateConfig(dataset=other.id, models=("absent",)), store)
    assert caught.value.hint


def test_rows_that_end_with_a_call_are_not_asked_and_it_says_so(
    store: Store, dataset: Dataset, bases: tuple[str, str]
) -> None:
    called = Row(
        conversation=Conversation(
            messages=(
                Message(role="user", content="The time?"),
                Message(
                    role="assistant",
                    content="",
                    tool_calls=(ToolCall(name="get_time", arguments="{}"),),
                ),
            ),
            tools=({"type": "function", "function": {"name": "get_time"}},),
        ),
        source=Source(file="calls.jsonl", row=1),
        group="c",
    )
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "test.jsonl", [called, *(row(n, "六个月", "easy") for n in range(3))])
        write_rows(folder / "train.jsonl", [called])
    store.add(dataset)
    events: list[Event] = []
    config = EvaluateConfig(
        dataset=dataset.id, models=bases[:1], general=False, max_new_tokens=2, bootstrap=100
    )
    record = evaluate(config, store, events.append)
    assert len(read_outputs(store.folder(Evaluation, record.id))) == 3
    notes = [event.data["text"] for event in events if event.kind == "note"]
    assert [note.split(";")[0] for note in notes] == ["1 test rows end with a call of a tool"]


def test_mistakes_are_refused_before_a_model_is_loaded(store: Store, stored: Dataset) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        evaluate(EvaluateConfig(dataset=stored.id, models=("nano", "nano")), store)
    with pytest.raises(NotFoundError):
        evaluate(EvaluateConfig(dataset="absent", models=("nano",)), store)
    empty = stored.model_copy(update={"id": "ds_000000000002", "name": "empty"})
    store.add(empty)
    with pytest.raises(DataError, match="no test questions"):
        evaluate(EvaluateConfig(dataset="empty", models=("nano",)), store)
    assert store.list(Evaluation) == []


def test_a_stop_leaves_nothing_behind(
    store: Store, stored: Dataset, bases: tuple[str, str]
) -> None:
    def stop(event: Event) -> None:
        if event.data.get("done"):
            raise KeyboardInterrupt

    config = EvaluateConfig(dataset=stored.id, models=bases, max_new_tokens=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, store, stop)
    assert store.list(Evaluation) == []
    assert not (store.home / "evaluations").exists()
