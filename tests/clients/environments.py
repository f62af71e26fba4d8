"""Environments of clients: a folder each under ``.venv/clients``, made from its pins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).resolve().parent / "pins"
_OUT_OF_REACH = ("from versions: none", "Failed to establish", "NewConnectionError", "timed out")


class IndexOutOfReachError(Exception):
    """The package index does not answer."""


def python_of(client: str) -> Path:
    """The Python of a client's environment, which is made, or made again, where its pins changed.

    Raises:
        IndexOutOfReachError: its packages cannot be had now.
    """
    pins = PINS / f"{client}.txt"
    folder = ROOT / ".venv" / "clients" / client
    python, stamp = folder / "bin" / "python", folder / "pins.sha256"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "-r", str(pins)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0:
        if any(sign in done.stderr for sign in _OUT_OF_REACH):
            raise IndexOutOfReachError(done.stderr[-500:])
        raise RuntimeError(done.stderr)
    stamp.write_text(wanted)
    return python
