"""``prepare`` on a real terminal: it asks, takes answers, and changes nothing when declined."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds without a word after which the program hangs
ROWS = [
    *[(f"第{n}号合同的押金怎么退？", f"第{n}号合同满七日退押金。") for n in range(12)],
    ("怎么联系客服？", "请拨打13812345678咨询。"),
    ("第3号合同的押金怎么退？", "第3号合同满七日退押金。"),
]  # fmt: skip


class Person:
    """Somebody at a terminal.

    Args:
        process: what they use.
        terminal: the descriptor of their side.
    """

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self.seen = ""

    def reads(self, *texts: str) -> str:
        """Wait until one of the texts shows; which one it is."""
        while True:
            for text in texts:
                if text in self.seen:
                    return text
            assert self._more(), f"{texts} never showed:\n{self.seen}"

    def types(self, keys: str) -> None:
        """Press keys; what has shown so far counts as read."""
        self.seen = ""
        os.write(self._terminal, keys.encode())

    def ends(self) -> int:
        """Read to the end; the exit code."""
        while self._more():
            pass
        return self.process.wait(PATIENCE)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], PATIENCE)
        try:
            part = os.read(self._terminal, 65536) if ready else b""
        except OSError:  # the other side is closed
            return False
        self.seen += part.decode("utf-8", "replace")
        return bool(part)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    lines = ["question,answer", *(",".join(row) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _as_in_a_shell() -> None:
    """Ctrl-C becomes a signal, and is not ignored as it is in whatever runs in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def person(tmp_path: Path, table: Path) -> Iterator[Person]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunewright", "prepare", str(table), "--json",
         "--home", str(tmp_path / "home")],
        stdin=theirs, stderr=theirs, stdout=subprocess.PIPE,
        env={**os.environ, "TUNEWRIGHT_LANGUAGE": "en"}, start_new_session=True,
        preexec_fn=_as_in_a_shell,
    )  # fmt: skip
    os.close(theirs)
    yield Person(process, ours)
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
    os.close(ours)


def test_findings_are_shown_and_answers_obeyed(person: Person, tmp_path: Path) -> None:
    person.reads("Read them like this?")
    assert "question" in person.seen
    person.types("y\n")
    asked = []
    while person.reads("What to do?", "Make this dataset?") == "What to do?":
        asked.append(person.seen)
        person.types("mask\n" if "Personal data" in person.seen else "\n")
    assert any("Personal data" in question and "mask" in question for question in asked), asked
    person.types("\n")
    assert person.ends() == 0, person.seen
    assert person.process.stdout is not None
    result = json.loads(person.process.stdout.read())
    rows = "".join(
        path.read_text(encoding="utf-8")
        for path in (tmp_path / "home" / "datasets" / result["dataset"]).glob("*.jsonl")
        if path.stem in ("train", "dev", "test")
    )
    assert "13812345678" not in rows
    assert rows.count("第3号合同满") == 1


def test_declining_leaves_nothing(person: Person, tmp_path: Path) -> None:
    person.reads("Read them like this?")
    person.types("n\n")
    assert person.ends() != 0
    assert not list((tmp_path / "home").glob("datasets/*"))


def test_ctrl_c_at_a_question_leaves_nothing(person: Person, tmp_path: Path) -> None:
    person.reads("Read them like this?")
    # Nobody is as quick as the moment between the question and the wait for its answer, in which
    # CPython's input() notes a signal and waits all the same.
    time.sleep(0.5)
    person.types("\x03")
    assert person.ends() != 0
    assert "Traceback" not in person.seen
    assert not list((tmp_path / "home").glob("datasets/*"))
