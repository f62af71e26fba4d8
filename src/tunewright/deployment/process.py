"""One engine process: started with a token over its stdin, gone when that stdin closes."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tunewright.core.errors import ServingError
from tunewright.core.logs import Format
from tunewright.deployment.channel import Channel, ChannelError

START_SECONDS = 900.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_LINE_BYTES = 1 << 16


@dataclass(frozen=True)
class EngineOrder:
    """What an engine is started with; ``name`` is how its base is called in public."""

    name: str
    base: str
    home: Path
    device: str
    kv_tokens: int | None = None
    log_format: Format = "text"

    async def start(self) -> EngineProcess:
        """See ``start_engine``."""
        return await start_engine(self)

    def command(self) -> list[str]:
        """The argument list; ``-P`` keeps the current folder's files from posing as modules."""
        return [
            *(sys.executable, "-P", "-m", "tunewright.deployment.engine"),
            *(f"--base={self.base}", f"--home={self.home}", f"--device={self.device}"),
            *([] if self.kv_tokens is None else [f"--kv-tokens={self.kv_tokens}"]),
            f"--log-format={self.log_format}",
        ]


@dataclass(frozen=True)
class EngineProcess:
    """A running engine.

    Attributes:
        channel: to where it listens, on the loopback interface, with the token that it wants.
        base_digest, renderer_hash: of the base it holds.
    """

    counts_on_the_way: ClassVar[bool] = True
    holds_adapters: ClassVar[bool] = True

    process: asyncio.subprocess.Process
    channel: Channel
    base_digest: str
    renderer_hash: str

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.returncode is None

    @property
    def ending(self) -> str:
        """How it ended, for logs."""
        return f"exit code {self.process.returncode}"

    async def dead(self, seconds: float = 1.0) -> bool:
        """Whether it is gone; a connection breaks a moment before the exit status arrives."""
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def kv_blocks(self) -> dict[str, int]:
        """How full its cache is; nothing if it does not say so at once."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS), await self.channel.get("/health") as reply:
                found = json.loads(await reply.whole())["kv_blocks"]
        except (TimeoutError, ChannelError, ValueError, KeyError):
            return {}
        return {str(state): int(count) for state, count in found.items()}

    async def stop(self) -> None:
        """Ask it to leave by closing its stdin, then insist."""
        self.channel.close()
        await _stop(self.process)


async def start_engine(order: EngineOrder, seconds: float = START_SECONDS) -> EngineProcess:
    """Start an engine and wait until its base is loaded.

    Raises:
        ServingError: when it ends, or says why it cannot, or takes too long.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *order.command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            # Ctrl-C reaches every process of a terminal's group; engines are ours to stop.
            start_new_session=True,
        )
    except OSError as error:
        raise ServingError(f"no process could be started: {error}") from None
    token = secrets.token_urlsafe(32)
    try:
        async with asyncio.timeout(seconds):
            ready = await _greet(process, token)
    except TimeoutError:
        await _stop(process)
        raise ServingError(f"it was not ready in {seconds:.0f} s") from None
    except BaseException:
        await _stop(process)
        raise
    return EngineProcess(
        process=process,
        channel=Channel(
            f"http://127.0.0.1:{int(ready['port'])}/v1", {"Authorization": f"Bearer {token}"}
        ),
        base_digest=str(ready["base_digest"]),
        renderer_hash=str(ready["renderer_hash"]),
    )


async def _greet(process: asyncio.subprocess.Process, token: str) -> dict[str, Any]:
    """Hand over the token and read the one line that an engine prints."""
    if process.stdin is None or process.stdout is None:
        raise ServingError("the engine was started without pipes")
    try:
        process.stdin.write(f"{token}\n".encode())
        await process.stdin.drain()
        line = await process.stdout.readline()
    except (ConnectionError, ValueError) as error:
        raise ServingError(f"it could not be reached: {error}") from None
    if not line.endswith(b"\n"):
        code = await process.wait()
        raise ServingError(
            f"it ended with exit code {code} before it was ready; its last words stand above"
        )
    ready: dict[str, Any] = json.loads(line)
    if "error" in ready:
        raise ServingError(str(ready["error"]))
    return ready


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
