"""API keys: those of a file, those of the store, and how long the server believes them."""

import asyncio
import time
from pathlib import Path

import pytest

from tunewright.api.keys import FileKeys, KeyRing, bearer, read_keys
from tunewright.core.api_keys import issue_key, revoke_key
from tunewright.core.errors import ConfigError
from tunewright.core.store import Store

KEY = "k-3v9ZC8rT1mQ7xW2p"


@pytest.mark.parametrize(
    ("header", "secret"),
    [(f"Bearer {KEY}", KEY.encode()), (f"bearer  {KEY} ", KEY.encode()), (None, None), ("", None),
     (KEY, None), (f"Basic {KEY}", None), ("Bearer ", None), ("Bearer", None),
     ("Bearer " + "x" * 513, None), ("Bearer \u4f60", b"?"), ("Bearer caf\xe9", b"caf\xe9")],
)  # fmt: skip
def test_the_secret_of_a_header(header: str | None, secret: bytes | None) -> None:
    assert bearer(header) == secret


def test_a_key_of_a_file_is_found_only_whole() -> None:
    keys = FileKeys([KEY, "another-key-0123456789"])
    found = [keys.find(secret) for secret in (KEY.encode(), b"another-key-0123456789")]
    assert all(key is not None for key in found)
    assert len({key.id for key in found if key}) == 2
    assert KEY not in repr(found)
    for wrong in (f"{KEY}x", KEY[:-1], "", "x' OR '1'='1"):
        assert keys.find(wrong.encode()) is None


def test_the_file_may_hold_comments_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the intranet\n\n  {KEY}  \n", encoding="utf-8")
    assert read_keys(path).find(KEY.encode())


@pytest.mark.parametrize(
    "text", ["", "# none\n", "short\n", "has a space in the middle\n", "x" * 513 + "\n"]
)
def test_files_without_a_good_key_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="api_key_file"):
        read_keys(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="api_key_file"):
        read_keys(tmp_path / "none")


def test_a_ring_knows_a_key_and_hears_of_its_end(store: Store) -> None:
    key, secret = issue_key(store, "crm")

    async def watch() -> None:
        ring = KeyRing(store)
        assert await ring.exist()
        assert await ring.find(b"sk-tw-none") is None
        found = await ring.find(secret.encode())
        assert found is not None
        assert (found.id, found.revoked) == (key.id, None)
        revoke_key(store, "crm")
        end = time.monotonic() + 5
        while (found := await ring.find(secret.encode())) and found.revoked is None:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert found is not None

    asyncio.run(watch())


def test_a_ring_hears_of_the_first_key(store: Store) -> None:
    async def watch() -> None:
        ring = KeyRing(store)
        assert not await ring.exist()
        issue_key(store, "crm")
        end = time.monotonic() + 5
        while not await ring.exist():
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert await KeyRing(store, FileKeys([KEY])).exist()

    asyncio.run(watch())
