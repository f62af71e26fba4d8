"""Continued pretraining: learn every token of plain text."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from tunewright.core.dataset_io import read_passages
from tunewright.core.messages import Passage, RowKind, Split
from tunewright.training.batches import Example, Progress, Renderer
from tunewright.training.methods.sft import TokenMethod

_CHUNK = 1000  # texts rendered at once, between two reports of progress


class PretrainMethod(TokenMethod):
    """Learn text (Gururangan et al. 2020, "Don't Stop Pretraining", arXiv 2004.10964).

    A text that is longer than a batch or the base's context is cut into pieces. Neighbouring
    pieces share one token, so that every token but a text's first is learnt exactly once.
    """

    kinds: ClassVar[frozenset[RowKind]] = frozenset({"text"})
    epochs_reason: ClassVar[str] = "up to 4 passes teach nearly as much as new text (2305.16264)"

    def read(self, folder: Path, split: Split) -> tuple[Sequence[Passage], int]:
        """Every text."""
        return read_passages(folder, split), 0

    def examples(
        self, rows: Sequence[Passage], renderer: Renderer, progress: Progress
    ) -> list[Example]:
        """One document per piece of a text."""
        limit = min(renderer.context_length, self.config.batch_tokens)
        found: list[Example] = []
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            rendered = renderer.render_texts([row.text for row in chunk])
            for index, item in enumerate(rendered, start):
                found += _pieces(index, item.ids, limit)
            progress(start + len(chunk), len(rows))
        return found


def _pieces(row: int, ids: Sequence[int], limit: int) -> Iterator[Example]:
    for start in range(0, max(1, len(ids) - 1), limit - 1):
        piece = array("q", ids[start : start + limit])
        if len(piece) > 1:
            yield Example(row, piece, array("b", [1]) * len(piece))
