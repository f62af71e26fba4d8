"""What API keys can open."""

from __future__ import annotations

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
