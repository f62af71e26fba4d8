"""API keys: the file and the comparison."""

from pathlib import Path

import pytest

from tunewright.api.keys import Keys, read_keys
from tunewright.core.errors import ConfigError

KEY = "k-3v9ZC8rT1mQ7xW2p"


def test_a_key_is_accepted_only_whole_and_as_a_bearer() -> None:
    keys = Keys([KEY, "another-key-0123456789"])
    assert keys.accept(f"Bearer {KEY}")
    assert keys.accept("bearer another-key-0123456789")
    wrong = [None, "", KEY, f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer ",
             "Bearer x' OR '1'='1", "Bearer \u4f60"]  # fmt: skip
    assert not any(keys.accept(value) for value in wrong)


def test_the_file_may_hold_comments_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the intranet\n\n  {KEY}  \n", encoding="utf-8")
    assert read_keys(path).accept(f"Bearer {KEY}")


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", "has a space in the middle\n"])
def test_files_without_a_good_key_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="api_key_file"):
        read_keys(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="api_key_file"):
        read_keys(tmp_path / "none")
