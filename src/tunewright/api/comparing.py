"""The server as what compares its models sees it: an address, a key for a while, a quiet moment."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from tunewright.api.access import Access
from tunewright.api.books import Books
from tunewright.api.caller import Caller
from tunewright.core.records import Comparison
from tunewright.core.scopes import DEFAULT_PROJECT
from tunewright.deployment.gateway import Gateway

_KEY = "parity"
"""In the log of requests, in the place of a key's id."""


@dataclass(frozen=True)
class ComparingHost:
    """Implements ``jobs.comparing.Host``.

    Attributes:
        url: base URL of the API.
        access: lends keys.
        books: know who is being answered.
        gateway: knows what engines do.
    """

    url: str
    access: Access
    books: Books
    gateway: Gateway

    def busy(self) -> bool:
        """As declared by ``Host``."""
        return self.books.in_hand > 0 or self.gateway.held() > 0

    def lend(self, comparison: Comparison) -> AbstractContextManager[str]:
        """As declared by ``Host``; the key opens nothing but this one model's answers."""
        caller = Caller(
            comparison.project or DEFAULT_PROJECT,
            _KEY,
            frozenset({"inference"}),
            models=(comparison.model,),
            own=True,
        )
        return self.access.lend(caller)
