"""Which scope of a key opens which route: the one table."""

from __future__ import annotations

from collections.abc import Collection

OPEN_PATHS = ("/health", "/ready")
"""For probes, which carry no key."""
LINK_PATHS = ("/blind",)
"""Pages for people who carry no key either: a secret in their links opens them."""

_ANY = "*"
# (method, beginning of the route's path in whole segments, scope); the first that fits counts.
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("GET", "/v1/models", "models.read"),
    ("DELETE", "/v1/models", "fine_tuning"),
    (_ANY, "/v1/chat/completions", "inference"),
    (_ANY, "/v1/completions", "inference"),
    (_ANY, "/v1/embeddings", "inference"),
    ("POST", "/tokenize", "inference"),
    ("POST", "/detokenize", "inference"),
    (_ANY, "/v1/moderations", "inference"),
    (_ANY, "/v1/batches", "inference"),
    (_ANY, "/v1/evals", "inference"),
    (_ANY, "/v1/files", "files"),
    (_ANY, "/v1/uploads", "files"),
    (_ANY, "/v1/fine_tuning", "fine_tuning"),
    (_ANY, "/v1/exports", "fine_tuning"),
    (_ANY, "/v1/deployments", "admin"),
    ("GET", "/metrics", "metrics"),
    ("GET", "/tunewright/v1/usage", "admin"),
    ("GET", "/openapi.json", "models.read"),
)


def scope_of(method: str, path: str) -> str | None:
    """The scope that a route wants, by its path as it is declared; None when the table has none.

    A route that is not in the table is closed to every key.
    """
    method = "GET" if method == "HEAD" else method
    for wanted, begin, scope in _TABLE:
        if wanted in (_ANY, method) and (path == begin or path.startswith(f"{begin}/")):
            return scope
    return None


def opens(scopes: Collection[str], scope: str | None) -> bool:
    """Whether a key with these scopes opens a route that wants ``scope``."""
    return scope is not None and (scope in scopes or "admin" in scopes)
