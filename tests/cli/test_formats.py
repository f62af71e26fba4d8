"""The list of formats."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tunewright.cli.prepare import prepare
from tunewright.data.formats import FORMATS


@pytest.mark.parametrize(("language", "word"), [("en", "log: one message"), ("zh", "对话日志")])
def test_every_format_is_listed_with_an_example_and_its_fields(language: str, word: str) -> None:
    result = CliRunner().invoke(prepare, ["--formats", "--lang", language])
    assert result.exit_code == 0
    assert all(name in result.output and e.example in result.output for name, e in FORMATS.items())
    assert word in result.output
    assert "--map: chosen, date, group" in result.output
