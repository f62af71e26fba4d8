"""Servers that stand in an engine's place: vLLM, or anything that speaks OpenAI's protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunewright.config.serving import UpstreamConfig
from tunewright.core.errors import ServingError
from tunewright.core.settings import secret_from_environment
from tunewright.deployment.channel import Channel


@dataclass(frozen=True)
class RemoteOrder:
    """How a server that runs already is reached.

    Attributes:
        name: as it is called in public.
        base: what stands in logs.
        config: where it is.
    """

    name: str
    base: str
    config: UpstreamConfig

    async def start(self) -> RemoteEngine:
        """The connection to it.

        Raises:
            ServingError: its key is not where it should be.
        """
        headers = {}
        if key := _key(self.config):
            headers["Authorization"] = f"Bearer {key}"
        vllm = self.config.kind == "vllm"
        return RemoteEngine(Channel(self.config.url, headers), vllm, vllm)


@dataclass(frozen=True)
class RemoteEngine:
    """A server that somebody else started and will stop.

    Attributes:
        channel: to it.
        counts_on_the_way: whether its streams can carry token counts with every chunk.
        holds_adapters: whether it takes adapters while it runs.
        base_digest, renderer_hash: not known of others.
    """

    channel: Channel
    counts_on_the_way: bool
    holds_adapters: bool
    base_digest: None = None
    renderer_hash: None = None

    @property
    def alive(self) -> bool:
        """Nobody knows until it is asked."""
        return True

    @property
    def ending(self) -> str:
        """How it ended, for logs."""
        return "closed"

    async def dead(self, seconds: float = 1.0) -> bool:
        """It may be back by the next request."""
        return False

    async def kv_blocks(self) -> dict[str, int]:
        """It has metrics of its own."""
        return {}

    async def stop(self) -> None:
        """Let go of it."""
        self.channel.close()


def _key(config: UpstreamConfig) -> str | None:
    if config.key_env is not None:
        found = secret_from_environment(config.key_env)
        if found is None:
            raise ServingError(f"the environment variable {config.key_env} holds no key")
        return found
    if config.key_file is not None:
        try:
            return Path(config.key_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ServingError(f"its key cannot be read: {error}") from None
    return None
