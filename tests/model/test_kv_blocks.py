"""The account of cache blocks: sharing, leaving, being needed again."""

from __future__ import annotations

import random

from tunewright.model.kv_blocks import BLOCK, Blocks, Extent


def text(length: int, seed: int = 0) -> list[int]:
    return [random.Random(f"{seed}:{place}").randrange(1000) for place in range(length)]


def read(blocks: Blocks, tokens: list[int], root: bytes = b"") -> Extent:
    """A row that has read all its tokens."""
    extent = blocks.open(root, tokens)
    assert blocks.grow(extent, len(tokens))
    blocks.note(extent, tokens, len(tokens))
    return extent


def test_texts_that_begin_alike_share_whole_blocks() -> None:
    blocks = Blocks(20)
    common = text(3 * BLOCK + 5)
    first = read(blocks, common + text(BLOCK, 1))
    second = blocks.open(b"", common + text(BLOCK, 2))
    assert second.blocks == first.blocks[:3]
    assert blocks.available == 20 - len(first.blocks)


def test_the_last_token_is_always_left_to_read() -> None:
    blocks = Blocks(20)
    tokens = text(2 * BLOCK)
    first = read(blocks, tokens)
    assert blocks.open(b"", tokens).blocks == first.blocks[:1]


def test_another_root_or_a_row_on_its_own_shares_nothing() -> None:
    blocks = Blocks(20)
    tokens = text(3 * BLOCK)
    read(blocks, tokens, b"adapter")
    assert blocks.open(b"", tokens).blocks == []
    assert blocks.open(b"adapter", tokens, shared=False).blocks == []
    assert len(blocks.open(b"adapter", tokens).blocks) == 2


def test_only_what_was_read_is_shared() -> None:
    blocks = Blocks(20)
    tokens = text(4 * BLOCK)
    extent = blocks.open(b"", tokens)
    blocks.grow(extent, len(tokens))
    blocks.note(extent, tokens, 2 * BLOCK + 3)
    assert len(blocks.open(b"", tokens).blocks) == 2


def test_what_is_left_stays_findable_until_its_place_is_needed() -> None:
    blocks = Blocks(12)
    old, new = text(3 * BLOCK, 1), text(3 * BLOCK, 2)
    for tokens in (old, new):
        blocks.close(read(blocks, tokens))
    assert blocks.available == 12
    again = blocks.open(b"", old)
    assert len(again.blocks) == 2
    blocks.close(again)
    # Now the new text is the longest unused; its end goes first, its beginning last.
    read(blocks, text(3 * BLOCK, 3))
    assert len(blocks.open(b"", new).blocks) == 1
    assert len(blocks.open(b"", old).blocks) == 2


def test_beginnings_are_remembered_in_one_half_of_the_memory() -> None:
    blocks = Blocks(12)
    written: set[int] = set()
    for seed in range(20):
        extent = read(blocks, text(2 * BLOCK, seed))
        written |= set(extent.blocks)
        blocks.close(extent)
    assert len(written) == 6
    # A row gets all of it, if it needs that much.
    assert blocks.grow(Extent(b""), 12 * BLOCK)


def test_what_somebody_holds_is_never_given_away() -> None:
    blocks = Blocks(4)
    held = read(blocks, text(3 * BLOCK))
    extent = blocks.open(b"", text(3 * BLOCK, 9))
    assert not blocks.grow(extent, 2 * BLOCK)
    assert extent.blocks == []
    assert blocks.grow(extent, BLOCK)
    assert not set(extent.blocks) & set(held.blocks)


def test_a_shared_block_is_free_when_its_last_holder_leaves() -> None:
    blocks = Blocks(8)
    tokens = text(2 * BLOCK + 1)
    rows = [read(blocks, tokens) for _ in range(3)]
    assert len({tuple(row.blocks[:2]) for row in rows}) == 1
    for row, free in zip(rows, (4, 5, 8), strict=True):
        blocks.close(row)
        assert blocks.available == free


def test_nothing_is_found_after_forgetting() -> None:
    blocks = Blocks(8)
    tokens = text(3 * BLOCK)
    blocks.close(read(blocks, tokens))
    blocks.forget()
    assert blocks.open(b"", tokens).blocks == []
    assert blocks.available == 8


def test_many_rows_come_and_go_and_nothing_is_lost() -> None:
    chance = random.Random(0)
    blocks = Blocks(64)
    rows: list[Extent] = []
    for step in range(3000):
        if rows and (chance.random() < 0.5 or blocks.available < 8):
            blocks.close(rows.pop(chance.randrange(len(rows))))
        else:
            rows.append(read(blocks, text(chance.randrange(1, 6 * BLOCK), step % 7)))
        held = {block for row in rows for block in row.blocks}
        assert len(held) + blocks.available == 64
    for row in rows:
        blocks.close(row)
    assert blocks.available == 64
