"""Texts with their class, from a table to a model that says nothing but classes, and how well."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.data import PrepareConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.training import TrainConfig
from tunewright.core.records import Dataset, Evaluation, Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.data.prepare import prepare
from tunewright.evaluation.evaluate import evaluate, read_outputs
from tunewright.training.train import train

LABELS = ("合同", "合同纠纷", "劳动", "<b>其他</b>")
WORDS = ("fox", "试用期", "dog", "押金")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("home")
    store = Store(home, Settings(home=home, offline=True))
    yield store
    store.close()


@pytest.fixture(scope="module")
def dataset(shop: Store, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """160 texts whose first word tells the class."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("files") / "tickets.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("文本", "标签"))
        for number in range(160):
            word, label = WORDS[number % 4], LABELS[number % 4]
            rows.writerow((f"{word} {number} {draw.randint(0, 9999)}", label))
    checks = {"near_duplicates": "keep", "html": "keep"}
    config = PrepareConfig.build(
        {"files": [str(path)], "base": str(tiny_base), "name": "tickets", "checks": checks}
    )
    return prepare(config, shop)


@pytest.fixture(scope="module")
def model(shop: Store, dataset: Dataset, tiny_base: Path) -> Model:
    return train(
        TrainConfig.build(
            {
                "dataset": dataset.id,
                "base": str(tiny_base),
                "tuner": "full",
                "epochs": 12,
                "batch_tokens": 512,
                "save_steps": 1000,
                "eval_steps": 1000,
                "precision": "float32",
                "device": "cpu",
                "watch": {"preview": 0},
                "optimizer": {"learning_rate": 3e-3},
            }
        ),
        shop,
    )


@pytest.fixture(scope="module")
def evaluation(shop: Store, dataset: Dataset, model: Model, tiny_base: Path) -> Evaluation:
    models = (str(tiny_base), model.name)
    return evaluate(
        EvaluateConfig(dataset=dataset.id, models=models, general=False, bootstrap=100), shop
    )


def test_dataset_and_model_know_the_classes(dataset: Dataset, model: Model) -> None:
    assert dataset.labels == tuple(sorted(LABELS))
    assert model.labels == dataset.labels
    assert model.method == "sft"


def test_accuracy_rises_and_only_classes_are_said(
    shop: Store, evaluation: Evaluation, model: Model, tiny_base: Path
) -> None:
    folder = shop.folder(Evaluation, evaluation.id)
    outputs = read_outputs(folder)
    assert {one["answer"] for one in outputs} <= set(LABELS)
    assert all(0 < one["probability"] <= 1 + 1e-9 for one in outputs)
    found = evaluation.classes["responders"]
    before, after = found[str(tiny_base)], found[model.name]
    assert before["accuracy"] < 0.6 < 0.9 < after["accuracy"]
    assert after["macro_f1"] > 0.9
    assert after["accuracy"] == evaluation.scores[model.name]["exact"]["all"]
    assert sum(map(sum, after["matrix"])) == len(outputs) // 2
    summary = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert summary["classes"] == evaluation.classes
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Macro-F1" in page
    assert "&lt;b&gt;其他" in page
    assert "<b>其他" not in page


def test_answers_are_free_when_that_is_asked_for(
    shop: Store, dataset: Dataset, tiny_base: Path
) -> None:
    config = EvaluateConfig(
        dataset=dataset.id,
        models=(str(tiny_base),),
        general=False,
        constrained=False,
        max_new_tokens=4,
        bootstrap=100,
    )
    record = evaluate(config, shop)
    outputs = read_outputs(shop.folder(Evaluation, record.id))
    assert not {one["answer"] for one in outputs} & set(LABELS)
    assert "probability" not in outputs[0]
    found = record.classes["responders"][str(tiny_base)]
    assert found["accuracy"] == 0
    assert sum(row[-1] for row in found["matrix"]) == len(outputs)


def test_chat_takes_choices_with_commas_between(shop: Store, model: Model) -> None:
    command = ["chat", model.name, "--home", str(shop.home), "--device", "cpu", "--json"]
    asked = [*command, "--prompt", "dog 7 123", "--choices", "劳动，合同,合同纠纷"]
    result = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["text"] == "劳动"
    assert "--choices" not in result.stderr
    free = CliRunner().invoke(cli, asked[:-2], catch_exceptions=False)
    assert "--choices <b>其他</b>,劳动,合同,合同纠纷" in free.stderr
    twice = CliRunner().invoke(cli, [*asked, "--choices", "x"], catch_exceptions=False)
    assert json.loads(twice.stdout)["text"] in ("劳动，合同,合同纠纷", "x")


def test_the_terminal_shows_the_classes(
    shop: Store, dataset: Dataset, model: Model, tiny_base: Path
) -> None:
    options = ["--models", str(tiny_base), "--models", model.name, "--set", "bootstrap=100"]
    command = ["evaluate", "--home", str(shop.home), "--dataset", dataset.id, *options]
    result = CliRunner().invoke(cli, [*command, "--no-general"], catch_exceptions=False)
    assert "macro-F1" in result.stderr
    assert "合同纠纷" in result.stderr
