"""The copy of a ChatGLM3 folder: told of, and whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.model.chatglm3.files import write_folder

from tunewright.core.errors import ModelError
from tunewright.core.events import Event
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base

_CONVERT = """
import sys
from pathlib import Path
from tunewright.core.errors import TunewrightError
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base

def told(event):
    if event.kind == "progress" and event.data["stage"] == "copying the base":
        print("copying", event.data["done"], flush=True)
        if event.data["done"] == 1 and sys.argv[3] == "wait":
            sys.stdin.read()

try:
    base = resolve_base(sys.argv[1], Settings(home=Path(sys.argv[2]), offline=True), told)
except TunewrightError as error:
    sys.exit(f"refused: {error.message}")
print("made", base.digest)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "chatglm3", "shards")
    return tmp_path / "chatglm3"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def start(folder: Path, home: Path, wait: bool = False, limit: int = 0) -> subprocess.Popen[str]:
    def bound() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", _CONVERT, str(folder), str(home), "wait" if wait else "go"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bound if limit else None,
    )


def half_way(process: subprocess.Popen[str]) -> None:
    """Wait until one of the two files is there."""
    assert process.stdout is not None
    while process.stdout.readline().strip() != "copying 1":
        assert process.poll() is None


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "bases" / "chatglm3").iterdir())


def test_the_copy_is_told_by_files(folder: Path, home: Path) -> None:
    events: list[Event] = []
    settings = Settings(home=home, offline=True)
    resolve_base(str(folder), settings, events.append)
    told = [(e.data["stage"], e.data["done"], e.data["total"]) for e in events if e.kind != "note"]
    assert told == [("copying the base", done, 2) for done in range(3)]
    (note,) = [event.data["text"] for event in events if event.kind == "note"]
    assert note.startswith("chatglm3 is copied once")
    # Once it is there, there is nothing to tell.
    events.clear()
    resolve_base(str(folder), settings, events.append)
    assert events == []


def test_large_files_are_hashed_once_and_that_is_told(folder: Path, home: Path) -> None:
    large = folder / "pytorch_model-00001-of-00002.bin"
    with open(large, "ab") as file:
        file.truncate(65 * 2**20)
    events: list[Event] = []
    for _ in range(2):
        with pytest.raises(ModelError):
            resolve_base(str(folder), Settings(home=home, offline=True), events.append)
    assert [(event.data["stage"], event.data["done"]) for event in events] == [
        (f"checking {large.name}", 0),
        (f"checking {large.name}", 1),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stop_half_way_leaves_nothing_half_made(
    folder: Path, home: Path, number: signal.Signals
) -> None:
    process = start(folder, home, wait=True)
    half_way(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    names = left(home)
    assert not [name for name in names if not name.startswith(".tmp-")]
    assert number == signal.SIGKILL or names == []
    # The next start makes it, and clears up.
    base = resolve_base(str(folder), Settings(home=home, offline=True))
    assert left(home) == [base.folder.name]


def test_two_processes_at_once_make_the_same(folder: Path, home: Path) -> None:
    first, second = start(folder, home, wait=True), start(folder, home, wait=True)
    for process in (first, second):
        half_way(process)
    said = [process.communicate("", timeout=60)[0].split()[-2:] for process in (first, second)]
    assert said[0] == said[1]
    assert said[0][0] == "made"
    base = resolve_base(str(folder), Settings(home=home, offline=True))
    assert said[0][1] == base.digest
    assert left(home) == [base.folder.name]


def test_a_disk_that_refuses_says_so_and_keeps_nothing(folder: Path, home: Path) -> None:
    """A limit on the size of files stands for a quota: the system refuses in the midst of one."""
    process = start(folder, home, limit=3 * 2**20)
    said = process.communicate("", timeout=60)[1]
    assert process.returncode == 1
    assert re.search(r"refused: cannot write .*", said), said
    assert left(home) == []
