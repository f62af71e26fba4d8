"""What API keys can open."""

from __future__ import annotations

from collections.abc import Iterable

SCOPES: dict[str, str] = {
    "models.read": "list and look at models",
    "inference": "ask models",
    "files": "upload, read and delete files",
    "fine_tuning": "make, watch and stop jobs; delete their models",
    "metrics": "read the server's metrics",
    "admin": "everything, also the usage of all keys",
}
"""Scope → what it opens."""
CLIENT_SCOPES = ("models.read", "inference", "files", "fine_tuning")
"""What a client of OpenAI's API needs."""
DEFAULT_PROJECT = "default"
"""Whose what is made without a key, or with one that names no project, is."""
ANY_MODEL = "*"
"""Stands at the end of a pattern for whatever may follow; alone, for every model."""


def names_one_of(patterns: Iterable[str], *names: str) -> bool:
    """Whether a pattern is one of ``names``, or begins one as ``ft:*`` does ``ft:nano:law``."""
    return any(_fits(pattern, name) for pattern in patterns for name in names)


def _fits(pattern: str, name: str) -> bool:
    begin = pattern.removesuffix(ANY_MODEL)
    return name == pattern if begin == pattern else name.startswith(begin)
