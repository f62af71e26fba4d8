"""The probe with real models: one that was taught the answers, and one that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.advice import AdviseConfig
from tunewright.config.data import PrepareConfig
from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import conversation
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.data.prepare import prepare
from tunewright.evaluation.advice.decide import decide
from tunewright.evaluation.advice.knowledge import is_right, overlap_by_chance, probe
from tunewright.evaluation.answers import Question
from tunewright.training.train import train


def question(reference: str, text: str = "?") -> Question:
    return Question("0", conversation(("user", text)), reference, None, "0")


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("12", "It is 12.", True),
        ("12", "It is 120.", False),
        ("七日", "应当在七日内退还。", True),
        ("three months", "Three  months at most", True),
        ("cat", "concatenate", False),
        ("12", "", False),
        (
            "The deposit of 300元 is returned within seven days after the lease has ended.",
            "After the lease has ended the deposit of 300 元 is returned within seven days.",
            True,
        ),
        (
            "The deposit of 300元 is returned within seven days after the lease has ended.",
            "After the lease has ended the deposit of 500 元 is returned within seven days.",
            False,
        ),
        (
            "The deposit of 300元 is returned within seven days after the lease has ended.",
            "300元",
            False,
        ),
    ],
)
def test_right_answers(reference: str, answer: str, right: bool) -> None:
    assert is_right(question(reference), answer, 0.5) is right


def test_a_usual_tone_does_not_count() -> None:
    tone = "您好，很抱歉给您带来不便，我们会尽快为您处理，请您放心。"
    asked = [question(f"{tone}处理编号{n}{n + 3}。") for n in range(20)]
    assert overlap_by_chance(asked, [tone] * 20) > 0.8
    assert overlap_by_chance([question("abc"), question("def")], ["x", "y"]) == 0.5


@pytest.fixture
def sums(store: Store, tiny_base: Path, tmp_path: Path) -> Dataset:
    """Facts that nothing but learning them gives."""
    lines = [f"fee of item {n}?,{(n * 37) % 90 + 10} yuan" for n in range(10, 40)]
    file = tmp_path / "fees.csv"
    file.write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    split = {"test": 0.0, "dev": 0.0}
    config = {"files": [str(file)], "base": str(tiny_base), "split": split}
    return prepare(PrepareConfig.build(config), store)


def config(dataset: Dataset, base: str, **ask: object) -> AdviseConfig:
    knobs = {"questions": 20, "samples": 2, "max_new_tokens": 8, "temperature": 0.3, **ask}
    return AdviseConfig.build({"dataset": dataset.id, "base": base, "probe": True, "ask": knobs})


def test_what_is_taught_is_known_and_what_is_not_is_not(
    store: Store, tiny_base: Path, sums: Dataset
) -> None:
    before = probe(config(sums, str(tiny_base)), store)
    assert before.count("unknown") == 20
    assert before.nature.specific == 1
    assert decide(before).decision == "knowledge base"
    recipe = {
        "dataset": sums.id,
        "base": str(tiny_base),
        "tuner": "full",
        "epochs": 60,
        "batch_tokens": 256,
        "save_steps": 1000,
        "eval_steps": 1000,
        "precision": "float32",
        "device": "cpu",
        "watch": {"preview": 0},
        "optimizer": {"learning_rate": 3e-3},
    }
    taught = train(TrainConfig.build(recipe), store)
    after = probe(config(sums, taught.name), store)
    assert after.count("known") >= 18, [one.answer for one in after.asked]
    assert decide(after).decision == "nothing"
    cache = {path: path.read_bytes() for path in (store.home / "cache" / "answers").iterdir()}
    assert probe(config(sums, taught.name), store) == after
    assert {path: path.read_bytes() for path in cache} == cache  # nobody was asked again
    fewer = probe(config(sums, taught.name, questions=10, examples=0), store)
    assert len(fewer.asked) == 10
    assert fewer.shown == []


def test_the_command_says_what_was_measured(store: Store, tiny_base: Path, sums: Dataset) -> None:
    arguments = ["advise", sums.id, "--base", str(tiny_base), "--probe", "--ask-questions", "10"]
    arguments += ["--ask-samples", "1", "--ask-max-new-tokens", "4", "--json"]
    for language, word in (("en", "Recommendation (measured)"), ("zh", "建议 (实测)")):
        done = CliRunner().invoke(cli, [*arguments, "--home", str(store.home), "--lang", language])
        assert done.exit_code == 0, done.output
        assert word in done.stderr
        shown = json.loads(done.stdout.splitlines()[-1])
        assert shown["recommendation"] == "knowledge base"
        assert shown["by_rule_of_thumb"] in ("fine-tune", "both", "more data")
        assert len(shown["probe"]["rows"]) == 10
        assert shown["probe"]["counts"]["unknown"] == 10
        assert shown["recipe"]["base"] == str(tiny_base)


def test_only_conversations_can_be_asked(store: Store, tiny_base: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("question,answer\na?,b\nc?,d\n", encoding="utf-8")
    few = prepare(PrepareConfig.build({"files": [str(file)], "base": str(tiny_base)}), store)
    with pytest.raises(DataError, match="at least 10"):
        probe(config(few, str(tiny_base)), store)
    text = tmp_path / "text.txt"
    text.write_text("A long text about deposits.\n" * 40, encoding="utf-8")
    passages = prepare(PrepareConfig.build({"files": [str(text)], "base": str(tiny_base)}), store)
    with pytest.raises(DataError, match="--probe asks the questions of conversations"):
        probe(config(passages, str(tiny_base)), store)
