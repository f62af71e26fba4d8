"""Who asks, as far as it decides which names lead anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from tunewright.core.scopes import ANY_MODEL, names_one_of


@dataclass(frozen=True)
class Audience:
    """What is not for an audience is to it as though it did not exist.

    Attributes:
        project: sees what is its own or everybody's; None sees everything.
        models: patterns of what may be asked, as ``core.scopes.names_one_of`` understands them.
    """

    project: str | None = None
    models: tuple[str, ...] = (ANY_MODEL,)

    @property
    def held(self) -> bool:
        """Whether there is anything that it may not ask."""
        return ANY_MODEL not in self.models

    def among(self, project: str | None) -> bool:
        """Whether what belongs to ``project`` is there for it."""
        return self.project is None or project in (None, self.project)

    def may_ask(self, *names: str) -> bool:
        """Whether it may ask what goes by any of these names."""
        return names_one_of(self.models, *names)


EVERYBODY = Audience()
"""For the server itself."""
