"""A child process of the server that says what it found in one line, and never outlives it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

_MOST_BYTES = 16 << 20


class NoWord(Exception):  # noqa: N818 - it may do better next time
    """A child that ended, by itself or otherwise, and said nothing."""


async def told_by(module: str, arguments: Sequence[str], secret: str = "") -> dict[str, Any]:
    """Run a module of ours until its end, or until this is cancelled.

    Args:
        module: whose ``__main__`` reads ``core.parents.read_secret`` and prints one JSON object.
        arguments: of its command line.
        secret: what it must not be told where others can see it.

    Raises:
        NoWord: it ended without one.
    """
    process = await asyncio.create_subprocess_exec(
        # -P keeps the current folder's files from posing as modules.
        *(sys.executable, "-P", "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C reaches every process of a terminal's group; this one is ours to stop.
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise NoWord("it was started without pipes")
    try:
        process.stdin.write(f"{secret}\n".encode())
        told = b""
        while part := await process.stdout.read(_MOST_BYTES - len(told)):
            told += part
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        said: dict[str, Any] = json.loads(told)
    except ValueError:
        raise NoWord(f"its process ended with status {code} and no word") from None
    return said
