"""``tunewright runs``: control from another process, and the comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.core.events import Event, EventLog
from tunewright.core.records import Run
from tunewright.core.store import Store
from tunewright.training.control import Requests
from tunewright.training.history import run_lock


def tunewright(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunewright", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def add_run(store: Store, rank: int, valid: float) -> Run:
    run = Run(
        id=store.new_id(Run),
        dataset="ds_000000000001",
        base="nano",
        config={"method": "sft", "lora": {"rank": rank}},
        state="running",
    )
    log = EventLog(store.open_folder(Run, run.id) / "events.jsonl")
    for step in range(1, 6):
        data = {"step": step, "steps": 5, "loss": 5.0 / step, "tokens": step}
        log.append(Event(kind="step", data={**data, "tokens_per_second": 10.0}))
    log.append(Event(kind="validation", data={"step": 5, "loss": valid}))
    store.add(run)
    return run


def test_a_request_reaches_the_run_and_is_waited_for(home: Path, store: Store) -> None:
    run = add_run(store, 8, 1.0)
    folder = store.folder(Run, run.id)
    refused = tunewright(home, "runs", "pause", run.id)
    assert refused.returncode == 2
    assert f"tunewright train --resume {run.id}" in refused.stderr
    with run_lock(folder):
        asked = tunewright(home, "runs", "stop", run.id, "--wait", "0", "--json")
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout) == {"run": run.id, "asked": "stop", "outcome": "waiting"}
        assert "after the step it is in" in asked.stderr
        # Held by this process in the place of a loop.
        requests = Requests.__new__(Requests)
        requests._path = folder / "control.json"
        assert requests.pending() == "stop"


@pytest.mark.parametrize(("language", "word"), [("en", "Validation loss"), ("zh", "验证损失")])
def test_runs_are_compared_in_terminal_json_and_page(
    home: Path, store: Store, tmp_path: Path, language: str, word: str
) -> None:
    one, two = add_run(store, 8, 1.0), add_run(store, 16, 0.9)
    target = tmp_path / "both.html"
    names = (one.id, two.id)
    done = tunewright(
        home, "runs", "compare", *names, "--output", str(target), "--json", "--lang", language
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["settings"] == {"lora.rank": [8, 16]}
    assert result["best"] == two.id
    assert result["page"] == str(target)
    assert word in target.read_text(encoding="utf-8")
    assert word in done.stderr
    assert "█" in done.stderr
    assert "lora.rank" in done.stderr


def test_a_page_without_a_folder_is_refused(home: Path, store: Store, tmp_path: Path) -> None:
    one, two = add_run(store, 8, 1.0), add_run(store, 16, 0.9)
    output = str(tmp_path / "nowhere" / "x.html")
    done = tunewright(home, "runs", "compare", one.id, two.id, "--output", output)
    assert done.returncode == 2
    assert "no such folder" in done.stderr


def test_looking_at_runs_loads_no_torch() -> None:
    program = "import sys, tunewright.cli.runs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
