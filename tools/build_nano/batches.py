"""Turns examples into batches of token ids; rows of like length go together: little padding."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .corpus import Example
from .tokenizer import END, END_OF_TEXT, START, special_ids

POOL = 4096
MAX_LENGTH = 192


@dataclass(frozen=True)
class Batch:
    """`ids` (batch, seq) and the boolean `targets` (batch, seq) of what is to be predicted."""

    ids: Tensor
    targets: Tensor
    tokens: int
    """Tokens that are not padding."""


def segments(example: Example) -> list[tuple[str, bool]]:
    """The chat text in pieces, each with whether the model is to write it."""
    pieces = []
    for message in example.messages:
        ours = message["role"] == "assistant"
        pieces.append((f"{START}{message['role']}\n", False))
        pieces.append((f"{message['content']}{END}", ours))
        pieces.append(("\n", False))
    return pieces


def encode(tokenizer: Tokenizer, examples: list[Example]) -> list[tuple[list[int], list[bool]]]:
    """Token ids and target flags of each example, up to its last target."""
    pieces = [segments(example) for example in examples]
    flat = [text for row in pieces for text, _ in row]
    encoded = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
    rows = []
    for row in pieces:
        ids: list[int] = []
        flags: list[bool] = []
        for _, ours in row:
            part = next(encoded).ids
            ids += part
            flags += [ours] * len(part)
        end = len(flags) - flags[::-1].index(True)
        rows.append((ids[:end], flags[:end]))
    return rows


def _collate(rows: list[tuple[list[int], list[bool]]], pad: int) -> Batch:
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), pad)
    targets = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, (row, flags) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        targets[index, : len(row)] = torch.tensor(flags)
    return Batch(ids, targets, sum(len(row) for row, _ in rows))


def batches(
    tokenizer: Tokenizer, source: Iterable[Example], size: int, seed: int
) -> Iterator[Batch]:
    """Batches of at most `size` tokens with padding, in random order within each pool."""
    pad = special_ids(tokenizer)[END_OF_TEXT]
    source = iter(source)
    rng = random.Random(seed)
    while pool := list(islice(source, POOL)):
        rows = [row for row in encode(tokenizer, pool) if len(row[0]) <= MAX_LENGTH]
        rows.sort(key=lambda row: len(row[0]))
        cuts: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            if (len(cuts[-1]) + 1) * (len(row[0]) - 1) > size:
                cuts.append([])
            cuts[-1].append(row)
        rng.shuffle(cuts)
        for cut in cuts:
            yield _collate(cut, pad)
