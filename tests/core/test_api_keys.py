"""API keys in the store: the secret is nowhere in it, and what is revoked stays so."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tunewright.core.api_keys import (
    any_key,
    find_key,
    issue_first,
    issue_key,
    last_uses,
    note_use,
    revoke_key,
    state_of,
)
from tunewright.core.durations import parse_duration
from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.scopes import names_one_of
from tunewright.core.store import Store


def test_a_key_is_found_by_its_secret_alone(store: Store) -> None:
    key, secret = issue_key(store, "crm", project="sales", limits={"concurrency": 2})
    assert secret.startswith(key.shown)
    assert len(secret) == len("sk-tw-") + 43  # 256 bits in base64
    assert find_key(store, secret.encode()) == key.model_copy(update={"version": "0.1.0"})
    for wrong in (b"", secret[:-1].encode(), b"sk-tw-" + b"a" * 43, b"x' OR '1'='1"):
        assert find_key(store, wrong) is None


def test_the_secret_is_nowhere_on_the_disk(store: Store, home: Path) -> None:
    _, secret = issue_key(store, "crm")
    store.close()
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"crm" in kept
    assert secret.removeprefix("sk-tw-").encode() not in kept


def test_looking_creates_nothing(store: Store, home: Path) -> None:
    assert not any_key(store)
    assert find_key(store, b"sk-tw-x") is None
    assert not home.exists()


def test_a_revoked_key_stays_a_key(store: Store) -> None:
    key, secret = issue_key(store, "crm")
    assert state_of(key, time.time()) == "valid"
    with pytest.raises(InputError, match="'crm' holds already"):
        issue_key(store, "crm")
    assert revoke_key(store, "crm").revoked is not None
    found = find_key(store, secret.encode())
    assert found is not None
    assert state_of(found, time.time()) == "revoked"
    assert any_key(store)
    assert issue_first(store) is None
    again, _ = issue_key(store, "crm")
    assert revoke_key(store, "crm").id == again.id
    with pytest.raises(NotFoundError, match="no key 'none'"):
        revoke_key(store, "none")


def test_a_key_expires(store: Store) -> None:
    key, _ = issue_key(store, "brief", seconds=60)
    assert state_of(key, key.created + 59) == "valid"
    assert state_of(key, key.created + 60) == "expired"


def test_of_many_servers_that_start_one_makes_the_first_key(store: Store) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: issue_first(store), range(8)))
    (first,) = [one for one in made if one is not None]
    assert first.key.scopes == ("admin",)


def test_last_uses_are_kept_beside_the_records(store: Store) -> None:
    key, _ = issue_key(store, "crm")
    assert last_uses(store) == {}
    note_use(store, {key.id: 5.0, "key_file_ab": 6.0})
    assert last_uses(store) == {key.id: 5.0}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("12H", 43200),
                                               (" 30d ", 2592000), ("2w", 1209600)])  # fmt: skip
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "0d", "1y", "9999999d", "１d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("patterns", "fits", "fits_not"),
    [(("*",), ["", "a", "ft:a"], []), (("ft:*",), ["ft:", "ft:a"], ["ft", "Ft:a", "a ft:"]),
     (("a", "b*"), ["a", "b", "bc"], ["ab", "", "*"]), ((), [], ["", "a"])],
)  # fmt: skip
def test_patterns_of_models(
    patterns: tuple[str, ...], fits: list[str], fits_not: list[str]
) -> None:
    assert all(names_one_of(patterns, name) for name in fits)
    assert not any(names_one_of(patterns, name) for name in fits_not)
    if fits and fits_not:
        assert names_one_of(patterns, fits_not[0], fits[0])
