"""Real servers in processes of their own, with real engines on tiny random bases."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import talking_copy

PROGRAM = """
import json, sys
from pathlib import Path
from tunewright.api.serve import serve
from tunewright.config.serving import ServeConfig
from tunewright.core.errors import TunewrightError
from tunewright.core.store import Store

def listen(event):
    print(json.dumps({event.kind: event.data}), flush=True)

try:
    serve(ServeConfig.build(json.loads(sys.argv[2])), Store(Path(sys.argv[1])), listen)
except TunewrightError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(error.exit_code)
"""
# Starting an engine takes seconds, and minutes on a machine that is busy with something else.
PATIENCE = 240.0
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@dataclass
class Server:
    """A running ``serve``."""

    process: subprocess.Popen[bytes]
    url: str
    stderr: Path
    base: str = "slow"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def engines(self) -> list[int]:
        """Process ids of its children."""
        return children(self.process.pid)

    def chat(self, **values: Any) -> httpx.Response:
        """One request, without a client's own retries."""
        body = {"model": self.base, "messages": HELLO, **values}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=PATIENCE)

    def raw(self, data: bytes, seconds: float = PATIENCE) -> bytes:
        """Send bytes over a socket and read until the server closes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            return b"".join(parts)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE)


def children_running(pid: int, word: bytes) -> list[int]:
    """Direct children whose command lines hold a word."""
    return [one for one in children(pid) if word in Path(f"/proc/{one}/cmdline").read_bytes()]


def children(pid: int) -> list[int]:
    """Direct children that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def start_program(home: Path, stderr: Path, **config: Any) -> tuple[subprocess.Popen[bytes], Any]:
    """The process and the first line it says."""
    values = json.dumps({"port": 0, "device": "cpu", **config})
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    stdout = stderr.with_suffix(".out")
    with stderr.open("w") as log, stdout.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home), values],
            stdout=out,
            stderr=log,
            env=environment,
        )
    eventually(lambda: "\n" in stdout.read_text() or process.poll() is not None)
    return process, json.loads(stdout.read_text() or "{}")


def start_server(home: Path, **config: Any) -> Server:
    """A server that listens."""
    home.mkdir(parents=True, exist_ok=True)
    stderr = home / "stderr.txt"
    process, said = start_program(home, stderr, **config)
    assert "serving" in said, (said, stderr.read_text())
    return Server(process, said["serving"]["url"], stderr)


@pytest.fixture(scope="session")
def slow_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with a long context, which can be kept busy for minutes, and with tools."""
    return talking_copy(tiny_base, tmp_path_factory.mktemp("served") / "slow", 32768)


@pytest.fixture(scope="session")
def server(slow_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as they found it; its engine is warm."""
    home = tmp_path_factory.mktemp("server")
    running = start_server(home, bases=[str(slow_base)], queue=4, timeout=PATIENCE)
    try:
        first = running.chat(max_tokens=1)
        assert first.status_code == 200, (first.text, running.stderr.read_text())
        yield running
    finally:
        running.stop()
