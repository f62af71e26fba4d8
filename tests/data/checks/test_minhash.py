"""Near-duplicate search against a comparison of everything with everything."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from tunewright.data.checks.clusters import clusters
from tunewright.data.checks.minhash import (
    PERMUTATIONS,
    bands_for,
    batches,
    candidates,
    cross_candidates,
    signatures,
    similarities,
)
from tunewright.data.normal import near_key

HAN = (
    "我你他公司合同工资离婚房子押金法院起诉证据赔偿怎么办可以吗请问"
    "如果没有时间已经需要什么手续费用多少钱律师咨询保险医院"
)
WORDS = ["the", "a", "my", "your", "contract", "refund", "order", "when", "how", "can", "should"]
WORDS += ["pay", "rent", "court", "letter", "lawyer"]


def chinese(draw: random.Random) -> str:
    return "".join(draw.choices(HAN, k=draw.randint(15, 60)))


def english(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(8, 25)))


def edited(text: str, draw: random.Random) -> str:
    """The text with a few characters put in, taken out or changed."""
    signs = list(text)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(signs))
        signs[place : place + draw.randint(0, 1)] = draw.choices(HAN, k=draw.randint(0, 2))
    return "".join(signs)


def texts(make: Callable[[random.Random], str], seed: int, count: int = 240) -> list[str]:
    """Different near keys, two thirds of them edits of the others."""
    draw = random.Random(seed)
    made = [make(draw) for _ in range(count // 3)]
    made += [edited(draw.choice(made), draw) for _ in range(count - len(made))]
    return sorted({near_key(text) for text in made}, key=lambda key: draw.random())


@cache
def grams(key: str) -> frozenset[str]:
    return frozenset(key[place : place + 3] for place in range(len(key) - 2))


def jaccard(one: str, other: str) -> float:
    """Written apart from the code that is tested."""
    if one == other or min(len(one), len(other)) < 8:
        return float(one == other)
    mine, theirs = grams(one), grams(other)
    return len(mine & theirs) / len(mine | theirs)


def all_near(keys: list[str], threshold: float) -> set[tuple[int, int]]:
    return {
        (one, other)
        for one, other in combinations(range(len(keys)), 2)
        if jaccard(keys[one], keys[other]) >= threshold
    }


@pytest.mark.parametrize("make", [chinese, english])
@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 2])
def test_nearly_all_near_pairs_are_candidates(
    make: Callable[[random.Random], str], threshold: float, seed: int
) -> None:
    keys = texts(make, seed)
    wanted = all_near(keys, threshold)
    found = {
        tuple(pair) for band in candidates(pl.Series(keys), threshold) for pair in band.tolist()
    }
    assert len(wanted) > 5
    assert len(wanted & found) >= 0.97 * len(wanted)
    assert len(found) < 0.1 * len(keys) ** 2


@pytest.mark.parametrize("make", [chinese, english])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_clusters_are_those_of_brute_force(make: Callable[[random.Random], str], seed: int) -> None:
    keys = texts(make, seed)
    first = list(range(len(keys)))
    for one, other in sorted(all_near(keys, 0.8)):
        low, high = sorted((first[one], first[other]))
        first = [low if name == high else name for name in first]
    found = clusters(pl.Series(keys), 0.8)
    wrong = sum(one != other for one, other in zip(found.first.tolist(), first, strict=True))
    assert wrong <= 0.02 * len(keys)
    for one, other, score in found.pairs:
        assert score == pytest.approx(jaccard(keys[one], keys[other]))
        assert score >= 0.8


@pytest.mark.parametrize("seed", range(5))
def test_similarity_is_exact(seed: int) -> None:
    draw = random.Random(seed)
    keys = [*texts(chinese, seed, 40), *texts(english, seed, 40), "短", "", "短问题", "💰" * 9]
    pairs = np.array([draw.choices(range(len(keys)), k=2) for _ in range(500)])
    wanted = [jaccard(keys[one], keys[other]) for one, other in pairs.tolist()]
    assert similarities(keys, pairs).tolist() == pytest.approx(wanted)


def test_estimates_from_signatures_are_unbiased() -> None:
    draw = random.Random(7)
    keys = texts(chinese, 7, 300)
    made = signatures(pl.Series(keys), bands_for(0.8))
    errors = []
    for _ in range(2000):
        one, other = draw.sample(range(len(keys)), 2)
        agree = float((made.sketch[one] == made.sketch[other]).mean())
        errors.append(agree - jaccard(keys[one], keys[other]))
    assert abs(float(np.mean(errors))) < 0.01


@pytest.mark.parametrize("threshold", [0.35, 0.6, 0.8, 0.9, 1.0])
def test_bands_find_what_is_just_near_enough(threshold: float) -> None:
    bands = bands_for(threshold)
    assert bands.number * bands.rows <= PERMUTATIONS
    assert 1 - (1 - threshold**bands.rows) ** bands.number >= 0.99


def test_short_texts_are_equal_or_different() -> None:
    keys = pl.Series(["怎么退款", "怎么退货", "怎么退款", "退款", "退"])
    assert clusters(keys, 0.5).first.tolist() == [0, 1, 0, 3, 4]


def test_no_text_and_one_text() -> None:
    assert clusters(pl.Series([], dtype=pl.String), 0.8).first.tolist() == []
    assert clusters(pl.Series([""]), 0.8).first.tolist() == [0]


def test_very_many_alike_give_few_pairs_and_one_cluster() -> None:
    frame = "您好我的订单什么时候可以发货呢请尽快帮忙查询一下谢谢您的帮助祝工作顺利"
    keys = [frame + chr(0x4E00 + place) for place in range(3000)]
    bands = list(candidates(pl.Series(keys), 0.8))
    assert max(map(len, bands)) < 10 * len(keys)
    assert set(clusters(pl.Series(keys), 0.8).first.tolist()) == {0}


def test_only_texts_within_the_same_number_are_compared() -> None:
    keys = ["合同到期公司不续签怎么赔偿", "合同到期公司不续签怎么赔偿呢"] * 2
    within = np.array([0, 0, 1, 1])
    found = {tuple(p) for band in candidates(pl.Series(keys), 0.8, within) for p in band.tolist()}
    assert found == {(0, 1), (2, 3)}


def test_texts_of_very_different_length_in_one_call() -> None:
    draw = random.Random(0)
    keys = ["".join(draw.choices(HAN, k=size)) for size in (8, 9, 70_000, 30, 3, 70_100)]
    near = [key + "吧" for key in keys]
    assert clusters(pl.Series(keys + near), 0.8).first.tolist() == [
        *range(6),
        *[0, 1, 2, 3, 10, 5],
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_two_sets_are_compared_with_each_other(seed: int) -> None:
    draw = random.Random(seed)
    keys = texts(chinese, seed, 300)
    others = sorted({near_key(edited(key, draw)) for key in keys[:100]})
    wanted = {
        (one, other)
        for one, key in enumerate(keys)
        for other, held in enumerate(others)
        if jaccard(key, held) >= 0.8
    }
    found = {tuple(p) for band in cross_candidates(keys, others, 0.8) for p in band.tolist()}
    assert len(wanted) > 20
    assert len(wanted & found) >= 0.97 * len(wanted)


def test_nothing_depends_on_the_process() -> None:
    made = signatures(pl.Series(["合同到期公司不续签怎么赔偿"]), bands_for(0.8))
    assert made.sketch[0, :4].tolist() == [162, 64, 131, 186]


def test_batches_hold_every_pair_once() -> None:
    keys = ["x" * 500_000, "y" * 10, "z" * 3_000_000]
    pairs = np.array([(0, 1), (0, 2), (1, 2), (0, 1), (1, 1)])
    parts = list(batches(keys, pairs))
    assert len(parts) > 1
    assert np.concatenate(parts).tolist() == pairs.tolist()
