"""Atomic writes and digests."""

import hashlib
from pathlib import Path

import pytest

from tunewright.core.errors import StorageError
from tunewright.core.files import digest, sha256_file, write_json_atomic, write_text_atomic


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old" * 1000)
    write_text_atomic(path, "新")
    assert path.read_text(encoding="utf-8") == "新"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_refused_write_names_the_disk() -> None:
    # /proc refuses new files to everyone, root included.
    with pytest.raises((StorageError, FileNotFoundError)):
        write_json_atomic(Path("/proc/tunewright-test.json"), {})


def test_digest_does_not_depend_on_key_order() -> None:
    assert digest({"a": 1, "b": "问"}) == digest({"b": "问", "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
