"""Who sends a request, and what is open to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunewright.core.scopes import ANY_MODEL, DEFAULT_PROJECT, SCOPES
from tunewright.deployment.audience import Audience


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        project: what the caller makes and sees belongs to it; another project's object is as
            though it did not exist.
        key: id of the API key; None where no keys are asked for.
        scopes: what the key opens.
        limits: the key's own, by the names of ``LimitsConfig``.
        models: what it may ask, see ``Audience``.
        own: the server itself asks: its requests are neither limited nor billed.
    """

    project: str = DEFAULT_PROJECT
    key: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    limits: Mapping[str, int] = field(default_factory=dict)
    models: tuple[str, ...] = (ANY_MODEL,)
    own: bool = False

    @property
    def audience(self) -> Audience:
        """What is there for the caller."""
        return Audience(self.project, self.models)
