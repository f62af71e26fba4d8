"""What a run's folder tells: its steps once each, and whether somebody trains it now."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.core.errors import InputError
from tunewright.core.events import Event, EventLog
from tunewright.training.history import read_history, run_is_alive, run_lock

HOLD = """
import sys
from pathlib import Path
from tunewright.training.history import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def log(folder: Path, *events: tuple[str, int, float]) -> None:
    for kind, step, loss in events:
        EventLog(folder / "events.jsonl").append(
            Event(kind=kind, data={"step": step, "loss": loss})
        )


def test_repeated_steps_count_once_and_the_last_time(tmp_path: Path) -> None:
    log(tmp_path, ("step", 1, 0.9), ("step", 2, 0.8), ("validation", 2, 0.7), ("step", 3, 0.6))
    log(tmp_path, ("resumed", 2, 0.0), ("step", 3, 0.5), ("step", 4, 0.4))
    assert [(e["step"], e["loss"]) for e in read_history(tmp_path)] == [
        (1, 0.9),
        (2, 0.8),
        (3, 0.5),
        (4, 0.4),
    ]
    assert [e["loss"] for e in read_history(tmp_path, "validation")] == [0.7]


def test_steps_lost_with_a_kill_are_gone_until_redone(tmp_path: Path) -> None:
    log(tmp_path, ("step", 1, 0.9), ("step", 2, 0.8), ("resumed", 0, 0.0))
    assert read_history(tmp_path) == []


def test_no_events_is_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []


def test_a_held_run_is_alive_and_refused_to_others(tmp_path: Path) -> None:
    assert not run_is_alive(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run_is_alive(tmp_path)
        with (
            pytest.raises(InputError, match=f"trained by process {holder.pid}"),
            run_lock(tmp_path),
        ):
            pass
        assert json.loads((tmp_path / "process.json").read_text())["pid"] == holder.pid
        holder.kill()
    # The kernel let go of the lock together with the process.
    assert not run_is_alive(tmp_path)
    with run_lock(tmp_path):
        assert run_is_alive(tmp_path)
