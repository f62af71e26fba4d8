"""Options weighed by a real model, and letters read out of answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.core.messages import conversation
from tunewright.core.store import Store
from tunewright.evaluation.answers import answered
from tunewright.evaluation.multiple_choice import Ranked, named_option, rank_options
from tunewright.model.generation import TextModel


def test_options_are_weighed_without_their_ends(store: Store, tiny_base: Path) -> None:
    model = TextModel.load(store, str(tiny_base))
    first = conversation(("user", "How long?"))
    second = conversation(("user", "押金什么时候退?"), ("assistant", "ignored"))
    options = (["three months", "six", "a year"], ["七日内", "明天"])
    found = rank_options(model, [(first, options[0]), (second, options[1])])
    assert [len(one.log_probabilities) for one in found] == [3, 2]
    alone = rank_options(model, [(second, options[1])])[0]
    assert alone.log_probabilities == pytest.approx(found[1].log_probabilities, abs=1e-4)
    row = answered(first, "three months")
    bare, ended = model.likelihoods([row], ends=False)[0], model.likelihoods([row])[0]
    assert bare.tokens == ended.tokens - 1
    assert bare.log_probability > ended.log_probability
    assert found[0].log_probabilities[0] == pytest.approx(bare.log_probability, abs=1e-4)


def test_length_counts_only_where_asked() -> None:
    ranked = Ranked((-4.0, -6.0), (2, 12))
    assert ranked.summed == 0
    assert ranked.normalised == 1
    assert Ranked((-1.0, -1.0), (3, 3)).summed == 0


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("B", 1),
        ("Ｂ。", 1),
        ("(C) because it rains", 2),
        ("The answer is **D**.", 3),
        ("A 和 B 都不对，故选C", 2),
        ("答案：A", 0),
        ("正确答案是 B，不是 C。", 1),
        ("I would take B here.", 1),
        ("Between A and B", None),
        ("A dog barks.", None),
        ("E", None),
        ("Because of the rain", None),
        ("", None),
    ],
)
def test_letters_are_read_out_of_answers(answer: str, place: int | None) -> None:
    assert named_option(answer, 4) == place
