"""Rows whose answer is a call of a function: asked, read by the base's own form, and scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.model.calls.bases import teach, write_bases

from tunewright.config.evaluation import EvaluateConfig, ScoringConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError
from tunewright.core.messages import Conversation, Message, Row, Source, ToolCall
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.answers import question_of, score_answers
from tunewright.evaluation.evaluate import evaluate, read_outputs
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.scorers.base import Material
from tunewright.evaluation.scorers.table import open_metrics
from tunewright.model.calls.spelling import same_calls, spelled

TOOL = {"type": "function", "function": {"name": "find"}}
CALL = ToolCall(name="find", arguments='{"it": "北京", "n": 1}')


def row(question: str, answer: str, *calls: ToolCall) -> Row:
    return Row(
        conversation=Conversation(
            messages=(
                Message(role="user", content=question),
                Message(role="assistant", content=answer, tool_calls=calls),
            ),
            tools=(TOOL,),
        ),
        source=Source(file="calls.jsonl", row=1),
        group=question,
    )


def test_the_same_calls_are_told_from_others() -> None:
    asked = [question_of(row("a", "", CALL), "0"), question_of(row("b", "No."), "1")]
    (metric,) = [m for m in open_metrics(Material(["x"], tools=True)) if m.name == "calls"]
    other = ToolCall(name="find", arguments='{"n": 1, "it": "北京"}', id="x")
    wrong = ToolCall(name="find", arguments='{"n": "1", "it": "北京"}')

    def values(*said: Said) -> list[float]:
        return [one.scores["calls"] for one in score_answers(asked, said, [metric])]

    assert values(Said("", "stop", calls=(other,)), Said("Yes.", "stop")) == [1, 1]
    assert values(Said("", "stop", calls=(wrong,)), Said("", "stop", calls=(CALL,))) == [0, 0]
    assert values(Said("find", "stop"), Said("find", "stop")) == [0, 1]
    assert values(Said("", "stop", calls=(CALL, CALL)), Said("", "length")) == [0, 1]
    assert same_calls((CALL, wrong), (wrong, other))
    assert spelled("So:", [CALL]) == 'So:\nfind({"it": "北京", "n": 1})'
    with pytest.raises(ConfigError, match="rows that offer functions"):
        open_metrics(Material(["x"], config=ScoringConfig(scorers=("calls",))))


def test_kept_answers_keep_their_calls() -> None:
    said = Said("x", "stop", 0.5, (CALL,))
    assert Said.kept(said.values()) == said
    assert Said.kept(Said("x", "stop").values()) == Said("x", "stop")


def test_a_base_that_learnt_a_call_is_better(
    store: Store, dataset: Dataset, tmp_path: Path
) -> None:
    asked = row("q?", "", CALL)
    folders = []
    for name in ("before", "after"):
        folder = write_bases(tmp_path / name, ["qwen2"], weights=True)["qwen2"]
        folders.append(str(folder.rename(tmp_path / name / name)))
    teach(Path(folders[1]), asked.conversation, 60)
    with store.stage(Dataset, dataset.id) as folder:
        for split in ("train", "test"):
            write_rows(folder / f"{split}.jsonl", [asked])
    store.add(dataset)
    config = EvaluateConfig(
        dataset=dataset.id, models=tuple(folders), general=False, max_new_tokens=100, bootstrap=100
    )
    record = evaluate(config, store)
    outputs = read_outputs(store.folder(Evaluation, record.id))
    assert [one["scores"]["calls"] for one in outputs] == [0, 1]
    assert {one["reference"] for one in outputs} == {'find({"it": "北京", "n": 1})'}
    assert outputs[1]["answer"] == outputs[1]["reference"]
    # What was kept is what was said.
    again = evaluate(config, store)
    assert again.scores == record.scores
