"""Packing: every row once per epoch, nothing padded, labels inside their own document."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, Row, Source, conversation
from tunewright.model.rendering import Renderer
from tunewright.training.batches import (
    Example,
    Sampler,
    collate,
    examples_digest,
    pack,
    render_examples,
)

LENGTHS = (5, 9, 3, 30, 7, 7, 2, 10, 4)


def example(row: int, ids: list[int], mask: list[int]) -> Example:
    return Example(row, array("q", ids), array("b", mask))


def test_every_document_is_packed_once_and_batches_keep_their_bound() -> None:
    batches = pack(LENGTHS, 16, seed=3)
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    for batch in batches:
        assert sum(LENGTHS[index] for index in batch) <= 16 or len(batch) == 1


def test_a_document_longer_than_a_batch_stands_alone() -> None:
    assert [3] in pack(LENGTHS, 16, seed=0)


def test_without_a_seed_the_order_is_kept() -> None:
    flat = [index for batch in pack(LENGTHS, 16, seed=None) for index in batch]
    assert flat == list(range(len(LENGTHS)))


def test_order_differs_by_epoch_and_seed_and_repeats_for_the_same() -> None:
    sampler = Sampler(LENGTHS, 16, seed=1)
    assert sampler.epoch(0) == Sampler(LENGTHS, 16, seed=1).epoch(0)
    assert sampler.epoch(0) != sampler.epoch(1)
    assert sampler.epoch(0) != Sampler(LENGTHS, 16, seed=2).epoch(0)


def test_steps_count_the_batches_of_every_epoch() -> None:
    sampler = Sampler(LENGTHS, 16, seed=1)
    batches = [len(sampler.epoch(epoch)) for epoch in range(3)]
    assert sampler.steps(3) == sum(batches)
    assert batches[0] < sampler.steps(1.5) < batches[0] + batches[1]
    assert sampler.steps(0.001) == 1


def test_collate_restarts_positions_and_shifts_labels_within_documents() -> None:
    batch = collate(
        [example(4, [10, 11, 12], [0, 0, 1]), example(7, [20, 21, 22, 23], [1, 1, 0, 1])]
    )
    assert batch.input_ids.tolist() == [[10, 11, 12, 20, 21, 22, 23]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 2, 3]]
    assert batch.cu_seqlens.tolist() == [0, 3, 7]
    # Token 20 opens its document: nothing before it may be asked to predict it.
    assert batch.positions.tolist() == [1, 3, 5]
    assert batch.labels.tolist() == [12, 21, 23]
    assert batch.rows == (4, 7)
    assert (batch.tokens, batch.supervised) == (7, 3)


def test_rows_without_anything_to_learn_are_left_out(tiny_base: Path, rows: list[Row]) -> None:
    mute = Conversation(
        messages=(
            Message(role="user", content="a"),
            Message(role="assistant", content="b", weight=0),
        )
    )
    silent = Row(conversation=mute, source=Source(file="x", row=1), group="m")
    examples = render_examples([rows[0], silent, rows[1]], Renderer(tiny_base))
    assert [e.row for e in examples] == [0, 2]


def test_a_row_beyond_the_context_is_named(tiny_base: Path) -> None:
    long = conversation(("user", "fox " * 300), ("assistant", "dog"))
    row = Row(conversation=long, source=Source(file="long.csv", row=12), group="l")
    with pytest.raises(DataError, match=r"long\.csv, row 12: \d+ tokens, .* at most 256"):
        render_examples([row], Renderer(tiny_base))


def test_the_digest_sees_every_token_and_mask() -> None:
    base = [example(0, [1, 2], [0, 1]), example(1, [3], [1])]
    variants = (
        [example(0, [1, 2], [0, 1])],
        [example(0, [1, 2], [1, 1]), example(1, [3], [1])],
        [example(0, [1, 4], [0, 1]), example(1, [3], [1])],
        [example(0, [1], [0]), example(1, [2, 3], [1, 1])],
        base[::-1],
    )
    assert len({examples_digest(each) for each in (base, *variants)}) == 1 + len(variants)
