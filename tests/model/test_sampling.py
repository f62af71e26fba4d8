"""Draws: they follow the shares, and nobody else's row changes them."""

from __future__ import annotations

import math
import random
from collections import Counter

import torch

from tunewright.config.serving import GenerationConfig
from tunewright.model.sampling import draw, draw_each, log_shares


def chances(count: int) -> list[random.Random]:
    return [random.Random(seed) for seed in range(count)]


def test_greedy_rows_take_the_likeliest_token() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    assert draw(logits, GenerationConfig(), chances(5)) == logits.argmax(dim=-1).tolist()


def test_draws_follow_the_shares() -> None:
    shares = torch.tensor([0.5, 0.3, 0.2])
    logits = shares.log().expand(4000, 3)
    for config, expected in (
        (GenerationConfig(temperature=1.0), {0: 0.5, 1: 0.3, 2: 0.2}),
        (GenerationConfig(temperature=1.0, top_p=0.8), {0: 0.625, 1: 0.375}),
        (GenerationConfig(temperature=1.0, top_p=0.4), {0: 1.0}),
        (GenerationConfig(temperature=0.5), {0: 25 / 38, 1: 9 / 38, 2: 4 / 38}),
    ):
        counts = Counter(draw(logits, config, chances(4000)))
        assert set(counts) == set(expected)
        for token, share in expected.items():
            assert abs(counts[token] / 4000 - share) < 0.03


def test_a_row_draws_the_same_in_any_company() -> None:
    logits = torch.randn(6, 3000, generator=torch.Generator().manual_seed(1)) * 0.1
    configs = [
        GenerationConfig(),
        GenerationConfig(temperature=1.0),
        GenerationConfig(temperature=0.7, top_p=0.9),  # of nearly all 3,000
        GenerationConfig(temperature=1.3, top_p=0.05),
        GenerationConfig(temperature=2.0),
        GenerationConfig(temperature=0.1, top_p=0.5),
    ]
    together = draw_each(logits, configs, chances(6))
    alone = [
        draw_each(logits[row : row + 1], [configs[row]], [random.Random(row)])[0]
        for row in range(6)
    ]
    assert together == alone


def test_what_is_impossible_is_never_drawn() -> None:
    logits = torch.full((200, 10), -math.inf)
    logits[:, 4] = 0.0
    for config in (
        GenerationConfig(temperature=2.0),
        GenerationConfig(temperature=2.0, top_p=0.99),
    ):
        assert set(draw(logits, config, chances(200))) == {4}


def test_log_probabilities_are_the_models_own() -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([7, 0, 39])
    own, best, ids = log_shares(logits, tokens, 5)
    expected = logits.log_softmax(dim=-1)
    torch.testing.assert_close(own, expected[torch.arange(3), tokens])
    torch.testing.assert_close(best, expected.sort(descending=True).values[:, :5])
    assert ids[:, 0].tolist() == logits.argmax(dim=-1).tolist()
    assert log_shares(logits, tokens, 0)[1].shape == (3, 0)
