"""Keys of whole columns are the keys of their texts."""

from __future__ import annotations

import random
import sys

import pytest

from tunewright.data.keys import groups_of, near_keys
from tunewright.data.normal import near_key, turns_group
from tunewright.data.records import Turn

CHARACTERS = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
ODD = (
    "\0\n_ 　。？！ａＢ１e\u0301か\u3099ｶﾞ가\u11a8ﬁﬀßſİıǅ①⑩½℃㎡㈱½²°～~^|+<＝√É한ñΑя😀𠀀\ufeff\u200b"
)


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("a", ""), ("か", ""), ("가", ""), ("", "a"), ("法", "人")]
)
def test_every_character_has_the_key_that_it_has_alone(before: str, after: str) -> None:
    texts = [f"{before}{character}{after}" for character in CHARACTERS]
    assert near_keys(texts) == [near_key(text) for text in texts]


def test_any_mixture_has_the_key_that_it_has_alone() -> None:
    draw = random.Random(5)
    everyday = "问题回答合同工资怎么样abcXYZ019"
    for share in (0.0, 0.05, 0.5):
        signs = [ODD if draw.random() < share else everyday for _ in range(20_000)]
        drawn = "".join(draw.choice(some) for some in signs)
        ends = sorted(draw.sample(range(len(drawn)), 900))
        texts = [drawn[one:other] for one, other in zip([0, *ends], [*ends, None], strict=True)]
        texts += ["", "", "？！", "_"]
        assert near_keys(texts) == [near_key(text) for text in texts]


def test_no_texts_have_no_keys() -> None:
    assert near_keys([]) == groups_of([]) == []


def test_a_key_names_the_group_of_its_question() -> None:
    questions = ["合同怎么写？", "How much?", "？？"]
    alone = [turns_group((Turn("user", question),)) for question in questions]
    assert groups_of(near_keys(questions)) == alone
