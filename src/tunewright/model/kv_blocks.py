"""Blocks of a key-value cache: who holds which, and which beginnings of texts they keep.

A row's keys and values lie in blocks of a fixed number of tokens (Kwon et al. 2023, arXiv
2309.06180). A full block is named by a hash of all tokens up to its end, so that rows which begin
alike share blocks, and a block whose rows have gone answers for its beginning until its place is
needed. Loads no torch.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

BLOCK = 16
"""Tokens per block: what two texts must at least have in common to share anything."""
_KEY_BYTES = 16


@dataclass(eq=False)
class Extent:
    """The blocks of one row, in the order of its tokens.

    Attributes:
        root: what the keys and values depend on beside the tokens, such as an adapter.
        blocks: ids.
        keys: names of its full blocks that are known by now, as many as were noted.
    """

    root: bytes
    blocks: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)


class Blocks:
    """The account of all blocks.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._fresh = list(range(count - 1, -1, -1))
        self._holders = [0] * count
        self._names: list[bytes | None] = [None] * count
        self._found: dict[bytes, int] = {}
        # Blocks that nobody holds but whose content is known, the longest unused first.
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that a row could get now."""
        return len(self._fresh) + len(self._idle)

    @property
    def kept(self) -> int:
        """Those of them that nobody holds but that know how some text begins."""
        return len(self._idle)

    def open(self, root: bytes, tokens: Sequence[int], shared: bool = True) -> Extent:
        """A new row's extent, holding the blocks that already know how its text begins.

        At least the last token is left to be read, for its logits are wanted.
        """
        extent = Extent(root)
        key = root
        most = (len(tokens) - 1) // BLOCK if shared else 0
        for number in range(most):
            key = _name(key, tokens[number * BLOCK : (number + 1) * BLOCK])
            block = self._found.get(key)
            if block is None:
                break
            self._hold(block)
            extent.blocks.append(block)
            extent.keys.append(key)
        return extent

    def grow(self, extent: Extent, length: int) -> bool:
        """Give an extent room for ``length`` tokens; False, and nothing given, if there is none."""
        missing = -(-length // BLOCK) - len(extent.blocks)
        if missing > self.available:
            return False
        for _ in range(missing):
            block = self._take()
            self._hold(block)
            extent.blocks.append(block)
        return True

    def note(self, extent: Extent, tokens: Sequence[int], length: int) -> None:
        """Name full blocks after the first ``length`` tokens, which they hold or are about to."""
        for number in range(len(extent.keys), length // BLOCK):
            before = extent.keys[-1] if extent.keys else extent.root
            key = _name(before, tokens[number * BLOCK : (number + 1) * BLOCK])
            extent.keys.append(key)
            block = extent.blocks[number]
            if key not in self._found and self._names[block] is None:
                self._found[key] = block
                self._names[block] = key

    def close(self, extent: Extent) -> None:
        """Let go of a row's blocks; those with a name stay findable while there is room."""
        # The end of a text goes first when room is needed: its beginning is asked for more often.
        for block in reversed(extent.blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if self._names[block] is None:
                self._fresh.append(block)
            else:
                self._idle[block] = None
        extent.blocks, extent.keys = [], []

    def forget(self) -> None:
        """Drop every name, for the contents are in doubt."""
        self._found.clear()
        self._names = [None] * self.count
        self._fresh += self._idle
        self._idle.clear()

    def _hold(self, block: int) -> None:
        self._holders[block] += 1
        self._idle.pop(block, None)

    def _take(self) -> int:
        # Memory is taken when a block is first written: half of the blocks serve the memory of
        # beginnings, the others are for rows alone.
        if self._fresh and (not self._idle or self._fresh[-1] < self.count // 2):
            return self._fresh.pop()
        block, _ = self._idle.popitem(last=False)
        name, self._names[block] = self._names[block], None
        if name is not None:
            del self._found[name]
        return block


def _name(before: bytes, tokens: Sequence[int]) -> bytes:
    return blake2b(before + array("q", tokens).tobytes(), digest_size=_KEY_BYTES).digest()
