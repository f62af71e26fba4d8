from __future__ import annotations

import string

from tunewright.core.records import Verdict
from tunewright.evaluation.gates.table import GATES
from tunewright.evaluation.scorers.table import SCORERS
from tunewright.evaluation.texts import SENTENCES, Texts, percent, points


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_say_the_same() -> None:
    for key, (english, chinese) in SENTENCES.items():
        assert english, key
        assert chinese, key
        assert blanks(english) == blanks(chinese), key


def test_every_name_has_its_label() -> None:
    verdicts: tuple[Verdict, ...] = ("pass", "fail", "not enough evidence")
    wanted = [f"verdict.{name}" for name in verdicts]
    wanted += [f"metric.{name}{more}" for name in SCORERS for more in ("", ".is")]
    wanted += [f"gate.{name}" for name in GATES]
    wanted += [f"passed.{value}" for value in (True, False, None)]
    assert set(wanted) <= set(SENTENCES)


def test_an_unknown_language_is_english() -> None:
    assert Texts("fr")("verdict.pass") == Texts("en")("verdict.pass")
    assert Texts("zh")("verdict.pass") == "通过"
    assert Texts("zh").label("slice", "my own slice") == "my own slice"


def test_numbers() -> None:
    assert percent(0.4567) == "45.7%"
    assert percent(1, 0) == "100%"
    assert [points(v) for v in (0.123, -0.05, 0.0, -0.0001)] == ["+12.3", "−5.0", "0.0", "0.0"]
