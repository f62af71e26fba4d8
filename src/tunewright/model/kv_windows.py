"""Rows that grow together, laid out side by side for the products of attention.

The cache keeps rows in scattered blocks. Collecting a row's blocks at every step would move more
memory than attention itself reads, so rows that grow in the same passes are collected once into a
window, which then grows along with them. Rows that end stay in it, unseen, until they are too
many; newcomers get a window of their own, until windows are too many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tunewright.model.capped_attention import cap
from tunewright.model.kv_blocks import BLOCK, Extent
from tunewright.model.kv_cache import KvCache, Part, put

_SPARE_BLOCKS = 4
_MOST_WINDOWS = 3
# Tokens that are laid side by side for one product: bounds the memory of a pass.
_MOST_TOKENS = 1 << 16


@dataclass(frozen=True)
class Look:
    """How a layer attends.

    Attributes:
        heads: of its keys.
        scale: what products of queries and keys are multiplied with.
        window: how many tokens are seen; None sees all.
        prefix: keys and values (1, heads, tokens, head_dim) that come before every row's.
        softcap: what scores are softly capped at; None caps nothing.
    """

    heads: int
    scale: float
    window: int | None
    prefix: tuple[Tensor, Tensor] | None
    softcap: float | None = None

    @property
    def before(self) -> int:
        """Length of the prefix."""
        return 0 if self.prefix is None else int(self.prefix[0].shape[2])


class Shelf:
    """Memory of windows that are gone, for new ones: fresh memory is slow to touch first."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, int], list[Tensor]] = {}

    def take(self, place: tuple[int, int], like: Tensor, count: int) -> Tensor:
        """Flat memory of ``count`` numbers, holding anything, for a layer and side."""
        free = self._free.get(place, [])
        for number, tensor in enumerate(free):
            if tensor.numel() >= count:
                return free.pop(number)[:count]
        # A little more than is needed, so that it serves for somewhat larger windows as well.
        free.clear()
        return like.new_empty(count + count // 4)[:count]

    def put(self, place: tuple[int, int], tensor: Tensor) -> None:
        """Give memory back."""
        whole = tensor.new_empty(0).set_(tensor.untyped_storage())
        self._free.setdefault(place, []).append(whole)

    def clear(self) -> None:
        """Give everything back to the system."""
        self._free.clear()


class Window:
    """Rows that grow by one token in every pass.

    Args:
        cache: where their keys and values are.
        shelf: where memory comes from.
        parts: their first pass in this window.
        kept: whether it is to outlast the pass.

    Attributes:
        rows: in their order in the window; those that have ended are None.
        size: tokens that it has room for, over all rows.
    """

    def __init__(self, cache: KvCache, shelf: Shelf, parts: Sequence[Part], kept: bool) -> None:
        self._cache = cache
        self._shelf = shelf
        self._kept = kept
        self.rows: list[Extent | None] = [part.extent for part in parts]
        self._lengths = [part.start for part in parts]
        width = -(-max(part.end for part in parts) // BLOCK)
        self._columns = (width + (_SPARE_BLOCKS if kept else 0)) * BLOCK
        self.size = self._columns * len(parts) if kept else 0
        table = [
            [*part.extent.blocks[:width], *([0] * (width - len(part.extent.blocks)))]
            for part in parts
        ]
        self._table = torch.tensor(table).to(cache.device)
        self._states: dict[int, tuple[Tensor, Tensor]] = {}

    def fits(self, parts: dict[Extent, Part]) -> bool:
        """Whether it can serve one more pass, with those of its rows that are in it."""
        left = 0
        for row, length in zip(self.rows, self._lengths, strict=True):
            part = parts.get(row) if row is not None else None
            if part is not None:
                left += 1
                if part.start != length or part.end > self._columns:
                    return False
        return 8 * left >= 7 * len(self.rows)

    def begin(self, parts: dict[Extent, Part], first: int) -> list[Part]:
        """Prepare a pass; the rows' tokens stand one after the other from place ``first`` on.

        Returns:
            What its rows contribute, in their order.
        """
        own: list[Part] = []
        places: list[int] = []
        self._grown: list[int] = []
        for place, row in enumerate(self.rows):
            part = parts.get(row) if row is not None else None
            if part is None:
                self.rows[place] = None
                places.append(first)
                continue
            places.append(first + len(own))
            self._grown.append(place * self._columns + part.start)
            self._lengths[place] = part.end
            own.append(part)
        device = self._cache.device
        self._all = len(own) == len(self.rows)
        live = [place for place, row in enumerate(self.rows) if row is not None]
        self._live = torch.tensor(live).to(device)
        self._places = torch.tensor(places).to(device)
        self._tokens = slice(first, first + len(own))
        self._written: dict[tuple[int, int], Tensor] = {}
        self._masks: dict[tuple[int | None, int], Tensor] = {}
        return own

    def attention(self, layer: int, query: Tensor, states: Sequence[Tensor], look: Look) -> Tensor:
        """Attend with this pass's tokens.

        Scores of single queries are products so small that fused attention kernels take three
        times as long on CPU as two batched products.

        Args:
            layer: which one.
            query: of all tokens of the pass, (heads, tokens, head_dim).
            states: their keys and values, (kv_heads, tokens, head_dim) each, in the cache already.
            look: how.

        Returns:
            (rows, heads, head_dim) of the rows that are still there.
        """
        keys, values = self._grow(layer, states, look)
        rows, length = len(self.rows), keys.shape[1]
        asked = query[:, self._tokens] if self._all else query.index_select(1, self._places)
        asked = asked.transpose(0, 1).reshape(rows * look.heads, -1, query.shape[-1])
        scores = torch.bmm(asked, keys.transpose(1, 2)).view(rows, -1, length)
        shares = self._masked(scores, look).softmax(-1)
        shares = shares.to(values.dtype).view(rows * look.heads, -1, length)
        mixed = torch.bmm(shares, values).view(rows, -1, values.shape[-1])
        return mixed if self._all else mixed.index_select(0, self._live)

    def _masked(self, scores: Tensor, look: Look) -> Tensor:
        """Scaled scores (rows, heads, columns) with minus infinity where a row does not look."""
        if look.softcap is None:
            return torch.add(self._mask(look), scores, alpha=look.scale)
        return self._mask(look) + cap(scores * look.scale, look.softcap)

    def _grow(self, layer: int, states: Sequence[Tensor], look: Look) -> tuple[Tensor, Tensor]:
        """Keys and values (rows * heads, columns, head_dim) with the pass's own."""
        if layer not in self._states:
            laid = (self._lay(layer, 0, look), self._lay(layer, 1, look))
            if self._kept:
                self._states[layer] = laid
            return laid
        shape = (look.heads, look.before)
        if shape not in self._written:
            grown = torch.tensor(self._grown).to(self._cache.device)
            row, column = grown // self._columns, grown % self._columns
            head = torch.arange(look.heads, device=grown.device)[:, None]
            length = self._columns + look.before
            rows = (row * look.heads + head) * length + column + look.before
            self._written[shape] = rows.flatten()
        for kept, new in zip(self._states[layer], states, strict=True):
            put(kept, self._written[shape], new[:, self._tokens])
        return self._states[layer]

    def _lay(self, layer: int, side: int, look: Look) -> Tensor:
        """Collect the rows' blocks, behind the prefix, with room to grow."""
        found = self._cache.gather(layer, self._table, side)
        rows, heads, held, size = found.shape
        if not self._kept and look.prefix is None:
            return found.view(rows * heads, held, size)
        shape = (rows, heads, look.before + self._columns, size)
        laid = self._shelf.take((layer, side), found, math.prod(shape)).view(shape)
        if look.prefix is not None:
            laid[:, :, : look.before] = look.prefix[side]
        laid[:, :, look.before : look.before + held] = found
        # Zeros: what is not a number would pass through the mask.
        laid[:, :, look.before + held :] = 0
        return laid.view(rows * heads, -1, size)

    def leave(self) -> None:
        """Give its memory to windows to come."""
        for layer, states in self._states.items():
            for side, state in enumerate(states):
                self._shelf.put((layer, side), state)
        self._states = {}

    def _mask(self, look: Look) -> Tensor:
        """Float32 (rows, 1, prefix + columns): 0 where a row looks, minus infinity elsewhere."""
        kind = (look.window, look.before)
        if kind not in self._masks:
            columns = torch.arange(self._columns, device=self._table.device)
            lengths = torch.tensor(self._lengths).to(columns.device)[:, None]
            hidden = columns >= lengths
            if look.window is not None:
                hidden |= columns < lengths - look.window
            mask = torch.zeros(hidden.shape, device=hidden.device)
            mask.masked_fill_(hidden, float("-inf"))
            self._masks[kind] = F.pad(mask, (look.before, 0))[:, None]
        return self._masks[kind]


class Windows:
    """The windows of rows that go through the same passes.

    Args:
        cache: where their keys and values are.
    """

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._shelf = Shelf()
        self._windows: list[Window] = []

    def arrange(self, parts: Sequence[Part]) -> list[Window]:
        """Windows that hold exactly the rows of these parts, which grow by one token each."""
        left = {part.extent: part for part in parts}
        for window in list(self._windows):
            if window.fits(left):
                for row in window.rows:
                    if row is not None:
                        left.pop(row, None)
            else:
                self._drop(window)
        if left and len(self._windows) >= _MOST_WINDOWS:
            self._drop_all()
            left = {part.extent: part for part in parts}
        passing: list[Window] = []
        for group in _alike(sorted(left.values(), key=lambda part: part.end)):
            window = Window(self._cache, self._shelf, group, kept=True)
            if window.size > self._cache.spare:
                passing.append(Window(self._cache, self._shelf, group, kept=False))
                continue
            self._cache.spare -= window.size
            self._windows.append(window)
        return [*self._windows, *passing]

    def clear(self) -> None:
        """Let go of all memory."""
        self._drop_all()
        self._shelf.clear()

    def _drop_all(self) -> None:
        for window in list(self._windows):
            self._drop(window)

    def _drop(self, window: Window) -> None:
        self._windows.remove(window)
        window.leave()
        self._cache.spare += window.size


def _alike(parts: Sequence[Part]) -> list[Sequence[Part]]:
    """Rows, shortest first, in groups where padding to the longest wastes less than half."""
    groups: list[Sequence[Part]] = []
    first = 0
    for place in range(1, len(parts) + 1):
        if place < len(parts):
            shortest, longest = parts[first].end, parts[place].end
            laid = (place + 1 - first) * longest
            if longest <= 2 * shortest + 4 * BLOCK and laid <= _MOST_TOKENS:
                continue
        groups.append(parts[first:place])
        first = place
    return groups
