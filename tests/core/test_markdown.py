"""Markdown that shows texts from outside as they are."""

from __future__ import annotations

from tunewright.core.markdown import plain, table


def test_outside_text_is_plain() -> None:
    assert plain("<b>|x|\n[y](z) `w` *v*") == r"\<b\>\|x\| \[y\](z) \`w\` \*v\*"


def test_a_cell_never_ends_its_row() -> None:
    assert table(["a"], [["x|y\nz"]]).splitlines() == ["| a |", "| --- |", r"| x\|y z |"]
