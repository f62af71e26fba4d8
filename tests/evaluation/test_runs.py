"""Real runs of tiny models, judged: a healthy one, a forgetful one and one that recites."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError, NotFoundError
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset, Evaluation, Model, Run
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.evaluation.checkpoints import promote, short_list
from tunewright.evaluation.evaluate import evaluate
from tunewright.jobs.run import _test_rows_met
from tunewright.jobs.run import run as run_stage
from tunewright.model.generation import TextModel
from tunewright.training.train import train

ANSWERS = {"fox": "three months", "dog": "in writing", "押金": "七日内退还", "notice": "a month"}
PROBE = [(f"{n} and {n}?", f"{2 * n}") for n in range(10, 50)]


def row(question: str, answer: str, slice_name: str | None = None, origin: str = "own") -> Row:
    return Row.model_validate(
        {
            "conversation": conversation(("user", question), ("assistant", answer)),
            "source": Source(file="f.csv", row=1),
            "group": question,
            "slice": slice_name,
            "origin": origin,
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("home")
    store = Store(folder, Settings(home=folder, offline=True))
    yield store
    store.close()


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random base with a probe of its own."""
    folder = tmp_path_factory.mktemp("bases") / "probed"
    shutil.copytree(tiny_base, folder)
    lines = [{"kind": "sums", "question": q, "answer": a} for q, a in PROBE]
    (folder / "probe.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(folder)


def add(store: Store, name: str, train_rows: Sequence[Row], test: Sequence[Row]) -> Dataset:
    splits = {"train": list(train_rows), "dev": list(test[:30]), "test": list(test)}
    dataset = Dataset(
        id=store.new_id(Dataset),
        name=name,
        files=("f.csv",),
        digest="0" * 64,
        config={},
        rows={"read": 1, "kept": 1, "dropped": {}, "truncated": 0},
        splits={split: len(rows) for split, rows in splits.items()},
        base="tiny",
        tokens={},
    )
    with store.stage(Dataset, dataset.id) as folder:
        for split, rows in splits.items():
            write_rows(folder / f"{split}.jsonl", rows)
    store.add(dataset)
    return dataset


def tuned(store: Store, dataset: Dataset, base: str, epochs: float, **more: object) -> Model:
    recipe = {
        "dataset": dataset.id,
        "base": base,
        "tuner": "full",
        "epochs": epochs,
        "batch_tokens": 256,
        "save_steps": 1000,
        "eval_steps": 1000,
        "precision": "float32",
        "device": "cpu",
        "watch": {"preview": 0},
        "optimizer": {"learning_rate": 3e-3},
    }
    return train(TrainConfig.build({**recipe, **more}), store)


@pytest.fixture(scope="module")
def knowing(home: Store, base: str) -> Model:
    """A model that answers the probe."""
    rows = [row(question, answer) for question, answer in PROBE]
    return tuned(home, add(home, "sums", rows, rows), base, 60)


def sensible(count: int, first: int, slice_name: str | None = None) -> list[Row]:
    """Questions whose first word tells the answer; the rest is another wording."""
    draw = random.Random(first)
    words = list(ANSWERS)
    return [
        row(f"{words[n % 4]} {draw.randint(0, 9999)}?", ANSWERS[words[n % 4]], slice_name)
        for n in range(first, first + count)
    ]


def replay() -> list[Row]:
    return [row(question, answer, origin="general") for question, answer in PROBE] * 2


def judged(store: Store, dataset: Dataset, before: Model, after: Model) -> Evaluation:
    config = EvaluateConfig.build(
        {
            "dataset": dataset.id,
            "models": [before.name, after.name],
            "max_new_tokens": 8,
            "bootstrap": 500,
            "probes": {"safety": False, "seen": 48},
        }
    )
    record = run_stage(config, store)
    assert isinstance(record, Evaluation)
    return record


@pytest.fixture(scope="module")
def shop(home: Store) -> Dataset:
    test = sensible(60, 1000, "paraphrase")
    return add(home, "shop", [*sensible(120, 0), *replay()], test)


@pytest.fixture(scope="module")
def healthy(home: Store, shop: Dataset, knowing: Model) -> Model:
    every = {"save_steps": 12, "eval_steps": 12, "keep_checkpoints": 8}
    return tuned(home, shop, knowing.name, 12, **every)


def test_a_healthy_run_passes_every_gate(
    home: Store, shop: Dataset, knowing: Model, healthy: Model
) -> None:
    record = judged(home, shop, knowing, healthy)
    passed = {name: gate["passed"] for name, gate in record.gates.items()}
    assert passed == {
        "improvement": True,
        "forgetting": True,
        "memorisation": True,
        "contamination": True,
        "stopping": True,
    }, record.gates
    assert record.verdict == "pass"
    assert record.gates["memorisation"]["numbers"]["share"] > 0.8
    assert record.gates["contamination"]["numbers"] == {"met": 0}


def test_test_questions_in_the_training_rows_are_found_by_their_likeness() -> None:
    test = ["How long is the trial period?", "押金什么时候可以退还给租客？", "Who pays?"]
    train_questions = ["how long is the trial period", "押金什么时候可以退还给租客呢？", "Why?"]
    assert _test_rows_met(test, train_questions) == [0, 1]
    assert _test_rows_met(test, []) == []


def test_a_forgetful_run_is_caught(home: Store, knowing: Model) -> None:
    dataset = add(home, "alone", sensible(120, 0), sensible(60, 1000, "paraphrase"))
    forgetful = tuned(home, dataset, knowing.name, 12)
    record = judged(home, dataset, knowing, forgetful)
    assert record.gates["improvement"]["passed"] is True
    assert record.gates["forgetting"]["passed"] is False
    assert "--mix general=50%" in record.gates["forgetting"]["prescription"]
    assert record.verdict == "fail"


def test_a_run_that_recites_is_caught(home: Store, knowing: Model) -> None:
    """Answers that nothing in the question tells: they can only be learned by heart."""
    draw = random.Random(5)
    rows = [row(f"{n} {draw.randint(0, 9999)}?", draw.choice(list(ANSWERS.values())) + f" {n}")
            for n in range(100, 148)]  # fmt: skip
    test = [
        row(
            f"about {one.conversation.question} please", one.conversation.answer or "", "paraphrase"
        )
        for one in rows
    ]
    dataset = add(home, "arbitrary", [*rows, *replay()], test)
    reciting = tuned(home, dataset, knowing.name, 40)
    record = judged(home, dataset, knowing, reciting)
    assert record.gates["memorisation"]["passed"] is False, record.gates
    assert "It recites" in record.gates["memorisation"]["prescription"]
    assert record.verdict == "fail"


def test_the_best_checkpoint_is_chosen_by_its_answers(
    home: Store, shop: Dataset, healthy: Model
) -> None:
    run = home.get(Run, healthy.run)
    choice = short_list(home, run.id)
    losses = list(choice.losses.values())
    assert len(losses) == 3
    assert losses == sorted(losses, key=lambda loss: loss or 0.0)
    config = EvaluateConfig.build(
        {"dataset": shop.id, "checkpoints": run.id, "max_new_tokens": 8, "bootstrap": 200}
    )
    record = evaluate(config, home)
    assert record.models == tuple(f"{run.id}@{step}" for step in choice.losses)
    gate = record.gates["checkpoint"]
    assert gate["passed"] is True
    numbers = gate["numbers"]
    best = max(numbers["scores"].values())
    assert numbers["scores"][str(numbers["chosen"])] == best
    # Dev questions chose it, so that nothing is proven yet.
    assert record.verdict == "not enough evidence"
    chosen = home.get(Model, numbers["model"])
    assert (chosen.run, chosen.step) == (run.id, numbers["chosen"])
    assert chosen.id in record.parents()
    assert evaluate(config, home).gates["checkpoint"]["numbers"]["model"] == chosen.id
    page = (home.folder(Evaluation, record.id) / record.report).read_text(encoding="utf-8")
    assert "was chosen from the run" in page


def test_the_command_chooses_on_the_runs_own_dataset(home: Store, healthy: Model) -> None:
    arguments = ["evaluate", "--checkpoints", healthy.run, "--max-new-tokens", "8", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--home", str(home.home)])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["verdict"] == "not enough evidence"
    assert shown["gates"]["checkpoint"]["numbers"]["model"].startswith("mdl_")
    both = CliRunner().invoke(cli, [*arguments, "--home", str(home.home), "--models", "nano"])
    assert isinstance(both.exception, ConfigError)


def test_a_promoted_checkpoint_answers_as_the_checkpoint_does(
    home: Store, shop: Dataset, healthy: Model
) -> None:
    run = home.get(Run, healthy.run)
    step = min(short_list(home, run.id).losses)
    model = promote(home, run, step)
    assert promote(home, run, step) == model
    assert model.name.endswith(f"-step{step}") or model.step == healthy.step
    one, other = (TextModel.load(home, name) for name in (model.name, f"{run.id}@{step}"))
    rows = [one.conversation for one in sensible(6, 5000)]
    assert one.likelihoods(rows) == other.likelihoods(rows)


def test_a_run_without_checkpoints_or_model_is_refused(home: Store, shop: Dataset) -> None:
    with pytest.raises(NotFoundError):
        short_list(home, "absent")
    run = Run(id=home.new_id(Run), dataset=shop.id, base="tiny", config={}, state="running")
    home.open_folder(Run, run.id)
    home.add(run)
    with pytest.raises(NotFoundError, match="kept no checkpoint"):
        short_list(home, run.id)
    (home.folder(Run, run.id) / "checkpoints" / "step-00000005" / "adapter").mkdir(parents=True)
    with pytest.raises(ConfigError, match="has made no model yet"):
        short_list(home, run.id)


def test_likelihoods_are_those_of_the_model_itself(home: Store, knowing: Model) -> None:
    """Packed and counted by the mask, against one plain pass per conversation."""
    model = TextModel.load(home, knowing.name)
    talks = [one.conversation for one in (*sensible(5, 0), *replay()[:5])]
    found = model.likelihoods(talks)
    for talk, seen in zip(talks, found, strict=True):
        rendered = model.renderer.render(talk)
        ids = torch.tensor([rendered.ids])
        with torch.inference_mode():
            logits = model._shared.model(input_ids=ids).logits[0].double()
        chances = logits[:-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        counted = torch.tensor(rendered.mask[1:], dtype=torch.bool)
        assert seen.tokens == sum(rendered.mask)
        assert seen.log_probability == pytest.approx(float(chances[counted].sum()), abs=1e-4)
    known = found[5].log_probability / found[5].tokens
    assert known > -0.2 > found[0].log_probability / found[0].tokens
