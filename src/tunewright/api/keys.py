"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from tunewright.core.errors import ConfigError

_SHORTEST = 16


class Keys:
    """A set of API keys, held as SHA-256 digests only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def accept(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header carries one of the keys.

        The time taken does not depend on how much of a key is right.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        given = _digest(key.strip().encode("latin-1", "replace"))
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> Keys:
    """The keys of a file: one per line; empty lines and lines that begin with # are skipped.

    Raises:
        ConfigError: when the file cannot be read, holds no key, or one that could be guessed.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"api_key_file {path}: {error}") from None
    keys: list[str] = []
    for number, line in enumerate(lines, start=1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key) < _SHORTEST or not key.isascii() or " " in key:
            raise ConfigError(
                f"api_key_file {path}, line {number}: a key needs at least {_SHORTEST} ASCII"
                " characters and no spaces",
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"api_key_file {path} holds no key", "Write one key per line.")
    return Keys(keys)
