"""Judges within an evaluation: from the command's options to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.evaluation.judging.conftest import Bench, fair

from tunewright.cli.stages import evaluate as evaluate_command
from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession
from tunewright.evaluation.evaluate import evaluate, read_outputs

HOSTILE = "</td><script>window.hacked=1</script>{{ 7*7 }}"


@pytest.fixture
def stored(store: Store, dataset: Dataset) -> Dataset:
    """A dataset with 24 test rows, two in a group."""
    rows = [
        Row(
            conversation=conversation(("user", f"试用期最长多久? {n}"), ("assistant", "六个月")),
            source=Source(file="q.csv", row=n),
            group=f"g{n // 2}",
        )
        for n in range(24)
    ]
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "test.jsonl", rows)
        write_rows(folder / "train.jsonl", rows[:4])
    store.add(dataset)
    return dataset


def build(stored: Dataset, *models: str, **more: Any) -> EvaluateConfig:
    quiet = {"general": False, "probes": {"safety": False}, "bootstrap": 200, "max_new_tokens": 6}
    return EvaluateConfig.build({"dataset": stored.id, "models": models, **quiet, **more})


@pytest.fixture
def models(tiny_base: Path, second_bench: Bench) -> tuple[str, str]:
    """A random base, and a model behind an endpoint that is nearly always right."""
    second_bench.rule = lambda shown, number: "六个月" if number % 8 else "六"
    return str(tiny_base), f"openai:{second_bench.reference}"


def test_a_judge_decides_when_it_is_named_as_the_metric(
    store: Store, stored: Dataset, models: tuple[str, str], bench: Bench
) -> None:
    bench.rule = lambda shown, number: fair(shown, number).replace("because", HOSTILE)
    judge = {"models": [bench.reference]}
    record = evaluate(build(stored, *models, judge=judge, scoring={"metric": "judge"}), store)
    assert record.scores[models[0]]["judge"] == {"all": 0.5}
    assert record.scores[models[1]]["judge"]["all"] > 0.9
    assert record.gates["improvement"]["passed"] is True
    assert record.gates["improvement"]["numbers"]["metric"] == "judge"
    folder = store.folder(Evaluation, record.id)
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))["judging"]
    assert facts["judges"][0]["models"][models[1]]["flips"] == 0.0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What judges say" in page
    assert "<script>window.hacked" not in page
    assert "&lt;script&gt;window.hacked" in page
    lines = (folder / "judgements.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 24
    assert json.loads(lines[0])["challenger_first"] == {"choice": "A", "reason": HOSTILE}
    judged = [one for one in read_outputs(folder) if one["responder"] == models[1]]
    assert {one["scores"]["judge"] for one in judged} == {1.0}


def test_without_being_the_metric_it_changes_no_gate(
    store: Store, stored: Dataset, models: tuple[str, str], bench: Bench
) -> None:
    plain = evaluate(build(stored, *models), store)
    judge = {"models": [bench.reference]}
    record = evaluate(build(stored, *models, judge=judge), store)
    assert bench.requests
    assert record.gates == plain.gates
    assert set(record.scores[models[1]]) - set(plain.scores[models[1]]) == {"judge"}


def test_a_model_of_this_machine_can_judge(
    store: Store, stored: Dataset, models: tuple[str, str]
) -> None:
    """The bundled base is no judge; what it says is counted, and nothing breaks."""
    judge = {"models": ["nano"], "max_tokens": 16}
    record = evaluate(build(stored, *models, limit=2, judge=judge), store)
    folder = store.folder(Evaluation, record.id)
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))["judging"]
    assert facts["judges"][0]["spent"]["requests"] == 4
    assert facts["judges"][0]["models"][models[1]]["pairs"] == 2


def test_a_judge_that_holds_no_pair_is_refused(
    store: Store, stored: Dataset, models: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError, match="holds 256 tokens"):
        evaluate(build(stored, *models, limit=2, judge={"models": [models[0]]}), store)


def test_a_judge_needs_two_models(store: Store, stored: Dataset, tiny_base: Path) -> None:
    judge = {"models": ["m@http://127.0.0.1:9/v1"]}
    with pytest.raises(ConfigError, match="only one"):
        evaluate(build(stored, str(tiny_base), judge=judge), store)
    with pytest.raises(ConfigError, match="'judge' is not among what is scored here"):
        evaluate(build(stored, str(tiny_base), scoring={"metric": "judge"}), store)


def test_from_the_command_line_with_a_judge_and_a_blind_session(
    store: Store, stored: Dataset, models: tuple[str, str], bench: Bench
) -> None:
    quiet = ["--no-general", "--no-safety", "--max-new-tokens", "6", "--bootstrap", "200"]
    asked = [part for name in models for part in ("--models", name)]
    command = [*asked, "--dataset", stored.id, *quiet, "--home", str(store.home), "--json"]
    judge = ["--judge", bench.reference, "--judge-price-input", "1", "--judge-price-output", "2"]
    done = CliRunner().invoke(evaluate_command, [*command, *judge, "--blind", "5"])
    facts = json.loads(done.stdout)
    assert facts["scores"][models[1]]["judge"]["all"] == 1.0
    assert "48 requests to send (24 pairs in both orders" in " ".join(done.stderr.split())
    assert store.get(BlindSession, facts["blind"]).questions == 5
    alone = CliRunner().invoke(evaluate_command, [*command[2:], "--blind", "5"])
    assert json.loads(alone.stdout)["blind"] is None
    assert "No blind session" in alone.stderr
