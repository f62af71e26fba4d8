"""What reports of several stages share: sentences, settings by dotted names, curves."""

from __future__ import annotations

import pytest

from tunewright.core.curves import round_numbers, thinned
from tunewright.core.language import Sentences
from tunewright.core.nested import flat

DECLARED = {"greeting": ("Hello {name}", "你好，{name}"), "slice.all": ("All", "全部")}


def test_sentences_are_filled_in_the_language_asked_for() -> None:
    assert Sentences(DECLARED, "zh")("greeting", name="A") == "你好，A"
    assert Sentences(DECLARED, "fr")("greeting", name="A") == "Hello A"
    assert Sentences(DECLARED, "zh").label("slice", "all") == "全部"
    assert Sentences(DECLARED, "zh").label("slice", "own") == "own"
    with pytest.raises(KeyError):
        Sentences(DECLARED, "en")("farewell")


def test_settings_by_dotted_names() -> None:
    nested = {"lora": {"rank": 8, "targets": ["a"]}, "map": {}, "seed": 0}
    assert flat(nested) == {"lora.rank": 8, "lora.targets": ["a"], "map": {}, "seed": 0}


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (1.02, 1.38, [1.0, 1.1, 1.2, 1.3, 1.4]), (3, 3, [3.0, 4.0])],
)
def test_round_numbers_enclose_a_range(low: float, high: float, ticks: list[float]) -> None:
    found = round_numbers(low, high)
    assert found == ticks
    assert found[0] <= low <= high <= found[-1]


def test_thinning_keeps_the_last_point_and_no_point_twice() -> None:
    points = [(n, float(n)) for n in range(1000)]
    few = thinned(points, 100)
    assert len(few) <= 101
    assert few[-1] == points[-1]
    assert len({step for step, _ in few}) == len(few)
    assert thinned([], 5) == []
