"""Answers held to a few texts: in batches, as a stream, at any temperature; never anything else."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest
import torch

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ConfigError, InputError
from tunewright.core.messages import conversation
from tunewright.core.store import Store
from tunewright.model.choices import Choices, confined
from tunewright.model.generation import TextModel
from tunewright.model.rendering import Renderer

QUESTIONS = [
    conversation(("user", text))
    for text in ("hi", "How long is the trial period?", "试用期", "a b c d e f g", "x" * 40)
]
SETS = {
    "words": ("positive", "negative", "neutral"),
    "prefixes of each other": ("a", "ab", "abc", "abcd"),
    "Chinese": ("合同纠纷", "合同", "劳动争议", "其他"),
    "one token each": ("0", "1", "2"),
    "one only": ("约定",),
    "with spaces and commas": ("yes, of course", "yes", "no way"),
}


@pytest.fixture(scope="module")
def model(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return TextModel.load(Store(tmp_path_factory.mktemp("home")), str(tiny_base), "cpu")


@pytest.mark.parametrize("labels", SETS.values(), ids=SETS)
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_nothing_but_a_choice_is_said(
    model: TextModel, labels: tuple[str, ...], temperature: float
) -> None:
    free = GenerationConfig(max_new_tokens=4)
    assert not {answer.text for answer in model.answer(QUESTIONS, free)} & set(labels)
    config = GenerationConfig(
        choices=labels, temperature=temperature, seed=1, max_new_tokens=1, top_p=0.9
    )
    for batch_size in (1, 3, 64):
        answers = model.answer(QUESTIONS, config, batch_size=batch_size)
        assert {answer.text for answer in answers} <= set(labels)
        assert {answer.finish_reason for answer in answers} == {"stop"}
        assert all(answer.probability is not None for answer in answers)
        assert all(0 < (answer.probability or 0) <= 1 + 1e-9 for answer in answers)


def test_every_choice_can_be_drawn(model: TextModel) -> None:
    labels = SETS["prefixes of each other"]
    asked = [QUESTIONS[0]] * 300
    config = GenerationConfig(choices=labels, temperature=2.0, seed=0)
    assert {answer.text for answer in model.answer(asked, config)} == set(labels)


def test_the_stream_says_the_same(model: TextModel) -> None:
    for labels in SETS.values():
        config = GenerationConfig(choices=labels)
        for question in QUESTIONS:
            stream = model.stream(question, config)
            pieces: list[str] = []
            while True:
                try:
                    pieces.append(next(stream))
                except StopIteration as end:
                    answer = end.value
                    break
            assert "".join(pieces) == answer.text
            alone = model.answer([question], config)[0]
            assert (alone.text, alone.probability) == (answer.text, answer.probability)


@pytest.mark.parametrize("labels", SETS.values(), ids=SETS)
def test_the_probabilities_of_all_choices_add_up_to_one(
    tiny_base: Path, labels: tuple[str, ...]
) -> None:
    renderer = Renderer(tiny_base)
    choices = Choices(labels, renderer)
    chance = random.Random(3)
    logits = torch.tensor([[chance.uniform(-3, 3) for _ in range(400)]])
    total = 0.0
    for label in labels:
        talk = conversation(("user", "?"), ("assistant", label))
        rendered = renderer.render(talk)
        learnt = [t for t, one in zip(rendered.ids, rendered.mask, strict=True) if one]
        walk = choices.walk()
        for token in learnt:
            assert token in walk.open
            walk.weigh(logits[0], token)
            if walk.take(token):
                break
        assert walk.text == label
        total += walk.probability
    assert total == pytest.approx(1)


def test_a_row_without_choices_is_left_alone(tiny_base: Path) -> None:
    choices = Choices(("0", "1"), Renderer(tiny_base))
    logits = torch.randn(3, 400)
    kept = confined(logits, [None, choices.walk(), None])
    assert torch.equal(kept[[0, 2]], logits[[0, 2]])
    assert int((kept[1] > -math.inf).sum()) == 2
    assert confined(logits, [None, None, None]) is logits


def test_choices_that_cannot_be_told_apart_or_do_not_fit_are_refused(
    model: TextModel, tiny_base: Path
) -> None:
    with pytest.raises(InputError, match="holds 256 with the answer"):
        model.answer([QUESTIONS[0]], GenerationConfig(choices=("x" * 300, "y")))
    for wrong, says in (
        ({"choices": ("a", "a")}, "twice"),
        ({"choices": ("a", " ")}, "empty"),
        ({"choices": ("a",), "stop": ("b",)}, "exclude"),
    ):
        with pytest.raises(ConfigError, match=says):
            GenerationConfig.build(wrong)
    with pytest.raises(InputError, match="same tokens"):
        Choices(("a", "b", "a"), Renderer(tiny_base))


def test_a_long_list_is_walked_as_a_short_one_is(model: TextModel) -> None:
    labels = tuple("".join(pair) for pair in itertools.product("abcdefgh", repeat=3))
    config = GenerationConfig(choices=labels, temperature=1.0, seed=4)
    answers = model.answer(QUESTIONS, config)
    assert {answer.text for answer in answers} <= set(labels)
    assert len({answer.text for answer in answers}) > 1
