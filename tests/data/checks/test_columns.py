"""Columns of texts say of each row what is true of its texts."""

from __future__ import annotations

import re

import polars as pl
import pytest

from tunewright.data.checks.base import Corpus
from tunewright.data.checks.columns import column, in_parts, suspects
from tunewright.data.records import Draft, Turn

MANY = 9_001
"""More rows than a column is made of at once, and than one thread is given."""


@pytest.mark.parametrize("rows", [0, 1, 4096, MANY])
def test_a_column_holds_its_texts(rows: int) -> None:
    texts = [f"第{row}条 \U0001f642" if row % 7 else "" for row in range(rows)]
    made = column("text", iter(texts))
    assert made.to_list() == texts
    assert (made.name, str(made.dtype), made.n_chunks()) == ("text", "String", 1)


@pytest.mark.parametrize("rows", [0, 3, MANY])
def test_parts_are_put_together_in_order(rows: int) -> None:
    texts = column("text", map(str, range(rows)))
    assert in_parts(texts, lambda text: text.cast(pl.Int64)).to_list() == list(range(rows))


def test_rows_are_found_by_any_of_their_texts() -> None:
    one, other = ([str(row * factor) for row in range(MANY)] for factor in (1, 7))
    expected = [row for row in range(MANY) if re.search("9{2}", one[row] + " " + other[row])]
    assert suspects([column("a", one), column("b", other)], "9{2}") == expected


def test_all_text_of_a_row_is_looked_at_whatever_it_is_made_of() -> None:
    pair = (Turn("user", "甲"), Turn("assistant", "乙"))
    plain = Corpus(
        [Draft(pair, "a", 1, "g"), Draft((pair[0], Turn("assistant", "丙")), "a", 2, "g")]
    )
    worse = Draft(pair, "a", 3, "g", kind="preference", rejected=(Turn("assistant", "丁"),))
    told = Draft((Turn("system", "戊"), *pair), "a", 4, "g")
    mixed = Corpus([*plain.drafts, worse, told])
    assert suspects(plain.texts, "[甲丙]") == [0, 1]
    assert suspects(plain.texts, "丙") == suspects(mixed.texts, "丙") == [1]
    assert suspects(mixed.texts, "丁") == [2]
    assert suspects(mixed.without([0]).texts, "戊") == [2]
    assert suspects(plain.without([0]).texts, "丙") == [0]
