"""The report says the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import tunewright.data
from tunewright.data.labels import Words


def fields(sentence: str) -> set[str]:
    return set(re.findall(r"{(\w+)", sentence))


def test_both_languages_have_the_same_words_with_the_same_places_to_fill() -> None:
    english, chinese = Words.of("en"), Words.of("zh")
    for part in ("labels", "reasons", "facts"):
        ours, theirs = getattr(english, part), getattr(chinese, part)
        assert ours.keys() == theirs.keys()
        assert {k: fields(v) for k, v in ours.items()} == {k: fields(v) for k, v in theirs.items()}
    assert Words.of("fr") == english


def test_every_reason_and_fact_in_the_code_has_words() -> None:
    folder = Path(str(tunewright.data.__file__)).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    words = Words.of("zh")
    reasons = set(re.findall(r'(?:Unusable|drop)\((?:draft, )?"([^"]+)"', code))
    assert len(reasons) > 10
    assert reasons <= words.reasons.keys()
    facts = set(re.findall(r'"kind": "([^"]+)"', code))
    assert len(facts) > 8
    assert facts <= words.facts.keys()
    assert words.say({"kind": "few questions", "groups": 3}).startswith("只有 3 个")
