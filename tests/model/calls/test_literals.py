"""Python literals are read as Python reads them, and nothing else is."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.model.calls.literals import read_keywords

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(
    st.characters(exclude_categories=["Cs"])
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z"), VALUES, max_size=4))
def test_what_python_writes_is_read_back(values: dict[str, Any]) -> None:
    finite = json.dumps(values) == json.dumps(values).replace("Infinity", "")
    written = ", ".join(f"{name}={value!r}" for name, value in values.items())
    if finite:
        assert json.dumps(read_keywords(written)) == json.dumps(values)


@given(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3))
def test_what_json_writes_is_read_too(values: dict[str, Any]) -> None:
    text = json.dumps(values)
    if "Infinity" not in text:
        written = ", ".join(f"{name}={json.dumps(value)}" for name, value in values.items())
        assert json.dumps(read_keywords(written)) == text


@pytest.mark.parametrize(
    "written",
    [r"'C:\temp\dir'", r"'\d+ \. \q'", r"'\x41\101\u4f60\U0001F642'", "'a\\\nb'", "'\t'",
     "[1, 2,]", "(1,)", "{'a': (),}", "-1.5e-3", "+7", "1.", ".5", "'\\\\'", '"it\'s"'],
)  # fmt: skip
def test_escapes_and_commas_are_pythons(written: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes, which models write all the time
        expected = ast.literal_eval(written)
    assert read_keywords(f" a = {written} ") == {"a": json.loads(json.dumps(expected))}


@pytest.mark.parametrize(
    "written",
    ["a", "a=", "a=b", "1", "a=1 b=2", "a=__import__('os')", "a=print(1)", "a=f'{x}'", "a=b'x'",
     "a=1+1", "a=[1", "a=[1 2]", "a={1: 2}", "a={'b'}", "a='x", "a=1, a=2", "**{'a': 1}", "a=x.y",
     "a=lambda: 1", "a='\\ud83d'", "a=" + "[" * 100_000, "a=" + "[" * 70 + "]" * 70, "a=1,,b=2",
     "a=1_0", "a=0x1f", "a=" + "9" * 5000, "a=1j", "a=...", "=1", "a==1"],
    ids=range(30),
)  # fmt: skip
def test_all_else_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        read_keywords(written)
