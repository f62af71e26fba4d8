"""API keys: whose a key is, by its hash; those of the store, and those of a file."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from tunewright.core.api_keys import any_key, digest_of, find_key
from tunewright.core.errors import ConfigError
from tunewright.core.records import ApiKey
from tunewright.core.scopes import CLIENT_SCOPES, DEFAULT_PROJECT
from tunewright.core.store import Store

_SHORTEST = 16
_LONGEST = 512
_SHOWN = 8
# A key that was revoked elsewhere is refused within this time.
_FRESH_SECONDS = 0.5
_MOST_CACHED = 4096


def bearer(authorization: str | None) -> bytes | None:
    """The secret in the value of an Authorization header; None when it has not that form."""
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > _LONGEST:
        return None
    return secret.encode("latin-1", "replace")


class FileKeys:
    """Keys of a file, held as SHA-256 digests only.

    Attributes:
        by_id: the keys by their ids.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        digests = [digest_of(key.encode()) for key in keys]
        self._keys = {digest: _of_file(digest) for digest in digests}
        self.by_id = {key.id: key for key in self._keys.values()}

    def find(self, secret: bytes) -> ApiKey | None:
        """The key with this secret; the time taken does not tell how much of it is right."""
        given = digest_of(secret)
        found = None
        for digest, key in self._keys.items():
            if hmac.compare_digest(given, digest):
                found = key
        return found


def _of_file(digest: str) -> ApiKey:
    """A key of a file has no record: it is called after its hash, and opens what clients need."""
    shown = digest[:_SHOWN]
    return ApiKey(
        id=f"key_file_{shown}",
        created=0.0,
        project=DEFAULT_PROJECT,
        name=f"file {shown}",
        shown="",
        scopes=CLIENT_SCOPES,
        limits={},
    )


def read_keys(path: Path) -> FileKeys:
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
        if not _SHORTEST <= len(key) <= _LONGEST or not key.isascii() or " " in key:
            raise ConfigError(
                f"api_key_file {path}, line {number}: a key needs {_SHORTEST} to {_LONGEST} ASCII"
                " characters and no spaces",
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"api_key_file {path} holds no key", "Write one key per line.")
    return FileKeys(keys)


class KeyRing:
    """Every key that may open the server; what the store says is believed for half a second.

    Args:
        store: whose keys.
        file_keys: more of them.
    """

    def __init__(self, store: Store, file_keys: FileKeys | None = None) -> None:
        self._store = store
        self._file_keys = file_keys
        # By digest, so that no secret stays in memory; wrong keys are not kept.
        self._cached: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._exist = False
        self._looked = float("-inf")

    async def find(self, secret: bytes) -> ApiKey | None:
        """The key with this secret, whatever its state."""
        of_file = self._file_keys.find(secret) if self._file_keys else None
        if of_file is not None:
            return of_file
        digest = digest_of(secret)
        known = self._cached.get(digest)
        if known is not None and time.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        looked = time.monotonic()
        key = await asyncio.to_thread(find_key, self._store, secret)
        self._cached.pop(digest, None)
        if key is not None:
            self._cached[digest] = (looked, key)
            while len(self._cached) > _MOST_CACHED:
                self._cached.popitem(last=False)
        return key

    async def by_id(self, key: str) -> ApiKey | None:
        """The key of this id as it is now, whatever its state."""
        of_file = self._file_keys.by_id.get(key) if self._file_keys else None
        return of_file or await asyncio.to_thread(self._store.by_id, ApiKey, key)

    async def exist(self) -> bool:
        """Whether any key was ever made."""
        if self._exist or self._file_keys is not None:
            return True
        if time.monotonic() - self._looked >= _FRESH_SECONDS:
            looked = time.monotonic()
            self._exist = await asyncio.to_thread(any_key, self._store)
            self._looked = looked
        return self._exist
