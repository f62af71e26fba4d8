"""Rows → token ids → packed batches: no padding, no attention between documents.

Packing several documents into one sequence gives the same loss as training on each alone, as
long as position ids restart and attention stays inside a document (Krell et al. 2021,
arXiv 2107.02027); it saves the 60 % of a padded batch that would be padding on chat data.
"""

from __future__ import annotations

import hashlib
import math
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Row

_CHUNK = 1000  # rows rendered at once, between two reports of progress
Progress = Callable[[int, int], None]
"""Gets how many are done and how many there are."""


def unwatched(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


class Rendered(Protocol):
    """A row as ``ids`` and an equally long ``mask``: 1 where a token is learnt."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def mask(self) -> Sequence[int]: ...


class Renderer(Protocol):
    """What batches need of the renderer."""

    @property
    def context_length(self) -> int: ...
    def render_many(self, conversations: Sequence[Conversation]) -> Sequence[Rendered]: ...
    def render_texts(self, texts: Sequence[str]) -> Sequence[Rendered]: ...


class Unit(Protocol):
    """What a batch is made of and never divides: a document, a pair of answers, …

    ``len()`` is the number of tokens that it takes of a batch.
    """

    def __len__(self) -> int: ...
    @property
    def rows(self) -> tuple[int, ...]:
        """The rows that it was made of, as 0-based places in the split."""
        ...

    @property
    def documents(self) -> tuple[Example, ...]:
        """All that the model is to read for it."""
        ...

    @property
    def learnt(self) -> int:
        """Tokens that are learnt."""
        ...

    @property
    def marks(self) -> bytes:
        """What makes it what it is besides its documents."""
        ...


@dataclass(frozen=True)
class Example:
    """One document as the model sees it. ``row`` is its row's 0-based place in the split."""

    row: int
    ids: array[int]
    mask: array[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> tuple[int, ...]:
        """The row, as of a unit of its own."""
        return (self.row,)

    @property
    def documents(self) -> tuple[Example, ...]:
        """Itself."""
        return (self,)

    @property
    def learnt(self) -> int:
        """Tokens that are learnt; the first one has no predecessor to predict it from."""
        return sum(self.mask[1:])

    @property
    def marks(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True)
class PackedBatch:
    """Several documents end to end.

    Attributes:
        input_ids: ``(1, tokens)``.
        position_ids: ``(1, tokens)``, restarting at 0 with every document.
        cu_seqlens: where documents begin, and the end: ``(documents + 1,)``.
        positions: ``(supervised,)`` places whose *next* token is learnt.
        labels: ``(supervised,)`` those next tokens.
        documents: ``(supervised,)`` the document that each of them is in, counted from 0.
        rows: the row of every document, as a place in the split.
    """

    input_ids: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor
    positions: Tensor
    labels: Tensor
    documents: Tensor
    rows: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.input_ids.shape[1]

    @property
    def supervised(self) -> int:
        """Number of tokens that are learnt."""
        return self.labels.shape[0]

    @property
    def count(self) -> int:
        """Number of documents."""
        return self.cu_seqlens.shape[0] - 1

    def to(self, device: torch.device) -> Self:
        """The same batch on a device; ``cu_seqlens`` stays where attention reads it, on the CPU."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, PackedBatch):
                moved[field.name] = value.to(device)
            elif isinstance(value, Tensor) and field.name != "cu_seqlens":
                moved[field.name] = value.to(device, non_blocking=True)
        return replace(self, **moved)


_conversation: Callable[[Row], Conversation] = attrgetter("conversation")


def render_examples(
    rows: Sequence[Row],
    renderer: Renderer,
    progress: Progress = unwatched,
    conversation: Callable[[Row], Conversation] = _conversation,
) -> list[Example]:
    """Token ids and loss mask of every row that has something to learn.

    A row without any supervised token would add nothing but time and is left out.

    Args:
        rows: to render.
        renderer: of the base.
        progress: who watches.
        conversation: what of a row is rendered.

    Raises:
        DataError: for a row that does not fit the base's context, naming it.
    """
    every = render_rows(rows, renderer, progress, conversation)
    return [example for example in every if any(example.mask[1:])]


def render_rows(
    rows: Sequence[Row],
    renderer: Renderer,
    progress: Progress,
    conversation: Callable[[Row], Conversation] = _conversation,
) -> Iterator[Example]:
    """As ``render_examples``, but every row, also one that has nothing to learn."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        rendered = renderer.render_many([conversation(row) for row in chunk])
        for index, (row, item) in enumerate(zip(chunk, rendered, strict=True), start):
            if len(item.ids) > renderer.context_length:
                raise _too_long(row, len(item.ids), renderer.context_length)
            yield Example(index, array("q", item.ids), array("b", item.mask))
        progress(start + len(chunk), len(rows))


def _too_long(row: Row, tokens: int, limit: int) -> DataError:
    return DataError(
        f"{row.source.file}, row {row.source.row}: {tokens} tokens, but the base"
        f" reads at most {limit}",
        "Prepare the dataset again for this base: tunewright prepare … --base BASE",
    )


def examples_digest(units: Iterable[Unit]) -> str:
    """SHA-256 over ids and masks in order: it changes with the rows, tokenizer or template."""
    state = hashlib.sha256()
    for unit in units:
        for example in unit.documents:
            state.update(len(example).to_bytes(8, "little"))
            state.update(example.ids.tobytes())
            state.update(example.mask.tobytes())
        state.update(unit.marks)
    return state.hexdigest()


def pack(lengths: Sequence[int], batch_tokens: int, seed: int | None) -> list[list[int]]:
    """Divide documents into batches of at most ``batch_tokens``; a longer one stands alone.

    Args:
        lengths: tokens per document.
        batch_tokens: tokens per batch.
        seed: of the shuffle; ``None`` keeps the order.

    Returns:
        Batches of indices into ``lengths``; every index occurs exactly once.
    """
    order = list(range(len(lengths)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    batches: list[list[int]] = []
    room = 0
    for index in order:
        if lengths[index] > room:
            batches.append([])
            room = batch_tokens
        batches[-1].append(index)
        room -= lengths[index]
    return batches


@dataclass(frozen=True)
class Sampler:
    """Which rows form which batch of which epoch; a position ``(epoch, batch)`` says it all.

    The order depends on ``seed`` and the epoch alone, so a resumed run needs no other state.
    """

    lengths: tuple[int, ...]
    batch_tokens: int
    seed: int

    def epoch(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch, as indices into the examples."""
        return pack(self.lengths, self.batch_tokens, self.seed * 1_000_003 + epoch)

    def steps(self, epochs: float) -> int:
        """Optimizer steps in ``epochs`` passes; a started batch counts, and at least one."""
        whole = math.floor(epochs)
        steps = sum(len(self.epoch(epoch)) for epoch in range(whole))
        if epochs > whole:
            steps += math.ceil((epochs - whole) * len(self.epoch(whole)))
        return max(1, steps)


def collate(examples: Sequence[Example]) -> PackedBatch:
    """Lay documents end to end; labels shift within a document only."""
    return PackedBatch(**packed(examples))


def packed(examples: Sequence[Example]) -> dict[str, Any]:
    """The fields of a ``PackedBatch``, for batches that hold more than one."""
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    documents: list[int] = []
    places: list[Tensor] = []
    bounds = [0]
    for number, example in enumerate(examples):
        start = len(ids)
        ids.extend(example.ids)
        places.append(torch.arange(len(example)))
        bounds.append(len(ids))
        for offset in range(1, len(example)):
            if example.mask[offset]:
                positions.append(start + offset - 1)
                labels.append(example.ids[offset])
                documents.append(number)
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.cat(places).unsqueeze(0),
        "cu_seqlens": torch.tensor(bounds, dtype=torch.int32),
        "positions": torch.tensor(positions, dtype=torch.long),
        "labels": torch.tensor(labels, dtype=torch.long),
        "documents": torch.tensor(documents, dtype=torch.long),
        "rows": tuple(example.row for example in examples),
    }
