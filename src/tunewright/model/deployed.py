"""What a name asks for: the model behind a deployment, in the deployment's manner, or a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunewright.config.deployment import UPSTREAM, DeployConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import InputError
from tunewright.core.messages import Conversation, Message
from tunewright.core.records import Deployment
from tunewright.core.store import Store


@dataclass(frozen=True)
class Manner:
    """How a deployment has its model answer.

    Attributes:
        system: stands before the system message of a conversation.
        temperature, top_p, max_tokens: where none is asked for.
    """

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None

    def prompt(self, conversation: Conversation) -> Conversation:
        """The conversation as the model gets it."""
        if self.system is None:
            return conversation
        system, rest = self.system, conversation.messages
        if rest and rest[0].role == "system":
            system, rest = f"{system}\n\n{rest[0].content}", rest[1:]
        messages = (Message(role="system", content=system), *rest)
        return conversation.model_copy(update={"messages": messages})

    def settings(self, config: GenerationConfig) -> GenerationConfig:
        """How it draws: what ``config`` was given stays."""
        own = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_new_tokens": self.max_tokens,
        }
        update: dict[str, Any] = {
            name: value
            for name, value in own.items()
            if value is not None and name not in config.model_fields_set
        }
        return config.model_copy(update=update)


PLAIN = Manner()
"""As anybody asks."""


@dataclass(frozen=True)
class Named:
    """What a name stands for.

    Attributes:
        name: as it was given.
        reference: of the model, for ``resolve_responder``.
        manner: in which it answers.
        deployed: whether the name is a deployment's.
    """

    name: str
    reference: str
    manner: Manner = PLAIN
    deployed: bool = False


def named(store: Store, name: str) -> Named:
    """Look a name up: as when it is served, deployments come before models.

    Of a deployment it is the model alone: no canary, and nobody who answers in its place.

    Raises:
        InputError: the deployment's model is another server's.
    """
    found = store.named(Deployment, name)
    if not found:
        return Named(name, name)
    config = DeployConfig.build(found[0].settings)
    if config.model.startswith(UPSTREAM):
        raise InputError(
            f"deployment {found[0].name!r} asks {config.model}, which is another server's model",
            "Talk to a server that runs, as openai:MODEL@URL does in evaluate.",
        )
    manner = Manner(config.system, config.temperature, config.top_p, config.max_tokens)
    return Named(name, config.model, manner, deployed=True)
