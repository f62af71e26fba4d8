"""The road over the command line: a spreadsheet in, a served model out, on the bundled base."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunewright.core.records import Run
from tunewright.core.store import Store

CITIES = ("北京", "上海", "广州", "成都", "杭州", "西安", "武汉", "南京", "青岛", "苏州")


def tunewright(*arguments: str, home: Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunewright", arguments[0], "--home", str(home)]
    return subprocess.run(
        [*command, *arguments[1:]], capture_output=True, text=True, timeout=240, **options
    )


def result(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    answer: dict = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def spreadsheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GB18030 spreadsheet of a shop's opening hours, with a duplicate and an empty row."""
    path = tmp_path_factory.mktemp("data") / "营业时间.csv"
    lines = ["问题,回答"]
    for number, city in enumerate(CITIES):
        answer = f"{city}店早上{number % 4 + 7}点开门。"
        lines += [f"{city}店几点开门？,{answer}", f"请问{city}的店什么时候营业？,{answer}"]
    lines += [lines[1], "没有回答的问题,"]
    path.write_bytes("\r\n".join(lines).encode("gb18030"))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("road") / "home"


@pytest.fixture(scope="module")
def dataset(home: Path, spreadsheet: Path) -> dict:
    return result(tunewright("prepare", str(spreadsheet), "--yes", "--json", home=home))


@pytest.fixture(scope="module")
def model(home: Path, dataset: dict) -> dict:
    done = tunewright(
        "train", "--dataset", dataset["dataset"], "--max-steps", "40", "--save-steps", "10",
        "--batch-tokens", "256", "--learning-rate", "5e-3", "--suffix", "hours", "--json",
        home=home,
    )  # fmt: skip
    return result(done)


def test_prepare_accounts_for_every_row(dataset: dict) -> None:
    rows = dataset["rows"]
    assert rows["read"] == 22
    assert rows["kept"] == 20
    assert rows["read"] == rows["kept"] + sum(rows["dropped"].values())
    assert sum(dataset["splits"].values()) == 20
    assert Path(dataset["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_preparing_the_same_again_gives_the_same_dataset(
    home: Path, spreadsheet: Path, dataset: dict
) -> None:
    again = result(tunewright("prepare", str(spreadsheet), "--yes", "--json", home=home))
    assert again["dataset"] == dataset["dataset"]


def test_training_learns(model: dict, home: Path) -> None:
    assert model["steps"] == 40
    assert model["train_loss"] < 1.0
    assert model["model"].startswith("ft:nano:local:hours:")
    assert Store(home).get(Run, model["run"]).state == "succeeded"


def test_evaluate_compares_with_the_base(home: Path, model: dict) -> None:
    done = tunewright("evaluate", "--no-general", "--json", home=home)
    assert done.returncode in (0, 1), done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert set(shown["scores"]) == {"nano", model["model"]}
    assert shown["deltas"][model["model"]]["char_f1"]["all"] > 0
    assert Path(shown["report"]).exists()


def test_chat_answers_and_compares(home: Path, model: dict) -> None:
    answer = result(
        tunewright("chat", "latest", "--prompt", "成都店几点开门？",
                   "--compare", "nano", "--json", home=home)
    )  # fmt: skip
    assert "成都" in answer["text"]
    assert answer["model"] == model["model"]
    assert answer["compare"]["model"] == "nano"
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.slow  # the same, on a smaller base, is in training/test_resume.py
def test_a_killed_run_goes_on_with_the_same_losses(home: Path, dataset: dict) -> None:
    arguments = [
        "train", "--dataset", dataset["dataset"], "--max-steps", "60", "--save-steps", "10",
        "--batch-tokens", "256", "--precision", "float32", "--lora-dropout", "0.1", "--json",
    ]  # fmt: skip
    whole = result(tunewright(*arguments, home=home))
    store = Store(home)
    before = {run.id for run in store.list(Run)}
    victim = subprocess.Popen(
        [sys.executable, "-m", "tunewright", arguments[0], "--home", str(home), *arguments[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = _kill_after_a_checkpoint(victim, store, before)
    resumed = result(tunewright("train", "--resume", run, "--json", home=home))
    assert resumed["train_loss"] == whole["train_loss"]
    assert _losses(store, run) == _losses(store, whole["run"])


def _kill_after_a_checkpoint(victim: subprocess.Popen, store: Store, before: set[str]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and victim.poll() is None:
        for run in store.list(Run):
            folder = store.folder(Run, run.id) / "checkpoints"
            if run.id not in before and list(folder.glob("step-*/manifest.json")):
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait()
                return run.id
        time.sleep(0.02)
    pytest.fail("the run ended or stalled before its first checkpoint")


def _losses(store: Store, run: str) -> dict[int, float]:
    losses: dict[int, float] = {}
    with open(store.folder(Run, run) / "events.jsonl", encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if event["kind"] == "step":
                losses[event["data"]["step"]] = event["data"]["loss"]
    return losses
