"""API keys in the store: issued once, found by their hash, revoked for good.

The secret has 256 random bits, so its plain SHA-256 tells nothing about it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import text

from tunewright.core.errors import InputError
from tunewright.core.records import ApiKey
from tunewright.core.scopes import ANY_MODEL, CLIENT_SCOPES, DEFAULT_PROJECT
from tunewright.core.store import Store

SECRET_BEGIN = "sk-tw-"  # noqa: S105 - how secrets begin, not one of them
_SHOWN = len(SECRET_BEGIN) + 4


class Issued(NamedTuple):
    """A new key, and the only copy of its secret."""

    key: ApiKey
    secret: str


def digest_of(secret: bytes) -> str:
    """SHA-256 in hexadecimal digits: what is kept of a secret."""
    return hashlib.sha256(secret).hexdigest()


def issue_key(
    store: Store,
    name: str,
    *,
    project: str = DEFAULT_PROJECT,
    scopes: tuple[str, ...] = CLIENT_SCOPES,
    limits: Mapping[str, int] | None = None,
    models: tuple[str, ...] = (ANY_MODEL,),
    seconds: int | None = None,
) -> Issued:
    """A new key that holds for ``seconds``, or for ever, and may ask ``models``.

    Raises:
        InputError: when a key of that name holds already.
    """
    secret = SECRET_BEGIN + secrets.token_urlsafe(32)
    now = time.time()
    key = ApiKey(
        id=Store.new_id(ApiKey),
        created=now,
        project=project,
        name=name,
        shown=secret[:_SHOWN],
        scopes=scopes,
        limits=dict(limits or {}),
        models=models,
        expires=None if seconds is None else now + seconds,
    )
    with store.transaction() as connection:
        if any(other.name == name and state_of(other, now) == "valid" for other in keys_of(store)):
            raise InputError(
                f"a key named {name!r} holds already", "Choose another name, or revoke that one."
            )
        store.add(key)
        connection.execute(
            text("INSERT INTO api_keys (digest, id) VALUES (:digest, :id)"),
            {"digest": digest_of(secret.encode()), "id": key.id},
        )
    return Issued(key, secret)


def issue_first(store: Store) -> Issued | None:
    """A key that opens everything, where none was ever issued; else None."""
    with store.transaction():
        if any_key(store):
            return None
        return issue_key(store, "first", scopes=("admin",))


def keys_of(store: Store) -> list[ApiKey]:
    """Every key, newest first, also those that hold no more."""
    return list(store.list(ApiKey))


def any_key(store: Store) -> bool:
    """Whether a key was ever issued; revoking the last one must not open the server."""
    return bool(store.rows("SELECT 1 FROM api_keys LIMIT 1"))


def find_key(store: Store, secret: bytes) -> ApiKey | None:
    """The key with this secret, whatever its state."""
    digest = digest_of(secret)
    rows = store.rows(
        "SELECT k.digest, r.body FROM api_keys k JOIN records r ON r.id = k.id"
        " WHERE k.digest = :digest",
        digest=digest,
    )
    if not rows or not hmac.compare_digest(str(rows[0][0]), digest):
        return None
    return ApiKey.model_validate_json(rows[0][1])


def revoke_key(store: Store, reference: str) -> ApiKey:
    """End a key by its id or name; a server that runs knows within a second.

    Of several keys of one name it is the one that holds, or the newest.

    Raises:
        NotFoundError: there is none.
    """
    found = store.get(ApiKey, reference).id
    with store.transaction():
        key = store.get(ApiKey, found)
        if key.revoked is None:
            key = key.model_copy(update={"revoked": time.time()})
            store.update(key)
    return key


def change_models(store: Store, reference: str, models: tuple[str, ...]) -> ApiKey:
    """Let a key, by its id or name, ask other models; a server that runs knows within a second.

    Raises:
        NotFoundError: there is none.
    """
    return store.change(ApiKey, store.get(ApiKey, reference).id, models=models)


def state_of(key: ApiKey, now: float) -> str:
    """``valid``, ``revoked`` or ``expired``."""
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expires is not None and key.expires <= now else "valid"


def note_use(store: Store, used: Mapping[str, float]) -> None:
    """When keys were last used: ``{id: Unix time}``."""
    with store.transaction() as connection:
        for key, at in used.items():
            connection.execute(
                text("UPDATE api_keys SET last_used = :at WHERE id = :id"), {"id": key, "at": at}
            )


def last_uses(store: Store) -> dict[str, float]:
    """``{id: Unix time}`` of the keys that were ever used; right to the minute."""
    rows = store.rows("SELECT id, last_used FROM api_keys WHERE last_used IS NOT NULL")
    return {str(row[0]): float(row[1]) for row in rows}
