"""Rows that share forward passes: read a little further, draw, and give back memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunewright.deployment.drawing import Drawer, reported
from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Post, Row
from tunewright.model.kv_blocks import BLOCK, Blocks, Extent
from tunewright.model.kv_cache import KvCache, Part
from tunewright.model.kv_pass import Forward, Pass
from tunewright.model.kv_windows import Windows

# Reading prompts holds up the answers that are under way, so a pass reads about so much.
_PROMPT_TOKENS_BESIDE = 256
_PROMPT_TOKENS_ALONE = 1024
# Logits of a whole prompt are many: at most so many numbers at a time.
_MOST_LOGITS = 1 << 24


@dataclass
class Memory:
    """The cache that all groups of a base share.

    Attributes:
        forward: reads a pass.
        roots: by adapter, what its keys and values are known under; the bare base's is empty.
    """

    cache: KvCache
    blocks: Blocks
    forward: Forward
    roots: dict[str | None, bytes] = field(default_factory=lambda: {None: b""})


@dataclass(eq=False)
class _Held:
    """A row and its place in the cache, once it has one.

    ``read`` counts its tokens that are there.
    """

    row: Row
    extent: Extent | None = None
    read: int = 0

    @property
    def left(self) -> int:
        """Tokens to read before the next one can be drawn."""
        return len(self.row.ids) - self.read


class RowGroup:
    """The scheduler's group over a loaded model.

    Args:
        memory: shared with the base's other groups.
        activate: told before each pass whose adapter each token goes by.
        drawer: draws the tokens.
    """

    def __init__(
        self, memory: Memory, activate: Callable[[Sequence[str | None]], None], drawer: Drawer
    ) -> None:
        self._memory = memory
        self._activate = activate
        self._drawer = drawer
        self._windows = Windows(memory.cache)
        self._held: list[_Held] = []

    @property
    def rows(self) -> Sequence[Row]:
        """Those that have not ended."""
        return [held.row for held in self._held if not held.row.over]

    def turn(self, fresh: Sequence[Row], post: Post) -> Sequence[Row]:
        """One pass: a token for every row whose prompt has been read, and more of the others'."""
        self._drop_ended()
        for row in fresh:
            # It may have been unloaded while the request was on its way.
            if row.job.adapter in self._memory.roots:
                self._held.append(_Held(row))
            else:
                post.error(row.job, _gone(row.job.adapter))
        parts, back = self._plan()
        if parts:
            self._pass(parts, post)
        self._drop_ended()
        return back

    def close(self) -> None:
        """Give back all memory; what it holds is in doubt."""
        for held in self._held:
            self._close(held)
        self._held = []
        self._windows.clear()
        self._memory.blocks.forget()

    def _open(self, held: _Held) -> Extent:
        """The row's place; made only when it is about to read, to find what others have read."""
        if held.extent is None:
            row = held.row
            # Of a prompt that is echoed, every token's logits are wanted.
            root = self._memory.roots[row.job.adapter]
            held.extent = self._memory.blocks.open(root, row.ids, shared=not row.echoes)
            held.read = len(held.extent.blocks) * BLOCK
            if row.job.cached is None:
                row.job.cached = held.read
        return held.extent

    def _close(self, held: _Held) -> None:
        if held.extent is not None:
            self._memory.blocks.close(held.extent)

    def _drop_ended(self) -> None:
        for held in self._held:
            if held.row.over:
                self._close(held)
        self._held = [held for held in self._held if not held.row.over]
        if not self._held:
            self._windows.clear()

    # One pass ----------------------------------------------------------------------------------

    def _plan(self) -> tuple[list[tuple[_Held, Part]], list[Row]]:
        """What each row reads in this pass, and the rows that there is no memory for."""
        growing = any(held.left == 1 for held in self._held)
        budget = _PROMPT_TOKENS_BESIDE if growing else _PROMPT_TOKENS_ALONE
        planned: list[tuple[_Held, Part]] = []
        back: list[Row] = []
        waiting = list(self._held)
        while waiting:
            held = waiting.pop(0)
            if held.left > 1 and budget == 0:
                continue
            extent = self._open(held)
            count = self._count(held, budget)
            while not self._memory.blocks.grow(extent, held.read + count):
                last = waiting.pop() if waiting else held
                back.append(self._push_out(last))
                if last is held:
                    break
            else:
                budget -= count if held.left > 1 else 0
                planned.append((held, self._part(held, extent, count)))
        return planned, list(reversed(back))

    def _count(self, held: _Held, budget: int) -> int:
        """How many tokens a row reads."""
        if held.left == 1:
            return 1
        count = min(held.left, budget)
        if held.row.echoes:
            count = min(count, max(1, _MOST_LOGITS // self._drawer.vocabulary))
        return count

    def _push_out(self, held: _Held) -> Row:
        """Take a row's memory; it will read all its tokens again."""
        self._close(held)
        self._held.remove(held)
        return held.row

    def _part(self, held: _Held, extent: Extent, count: int) -> Part:
        row, start = held.row, held.read
        end = start + count
        self._memory.blocks.note(extent, row.ids, end)
        wanted = [count - 1] if end == len(row.ids) else []
        if row.echoes and start < len(row.job.prompt):
            wanted = list(range(count))
        return Part(row.ids[start:end], start, extent, wanted)

    @torch.inference_mode()
    def _pass(self, planned: Sequence[tuple[_Held, Part]], post: Post) -> None:
        plan = Pass(self._memory.cache, self._windows, [part for _, part in planned])
        self._activate([planned[part][0].row.job.adapter for part in plan.owners])
        logits = self._memory.forward(plan)
        if any(held.row.echoes for held, _ in planned):
            logits = self._echo(planned, logits, post)
        ready: list[Row] = []
        for held, part in planned:
            held.read = part.end
            if held.left == 0:
                ready.append(held.row)
        if ready:
            self._drawer.draw(ready, logits, post)

    def _echo(self, planned: Sequence[tuple[_Held, Part]], logits: Tensor, post: Post) -> Tensor:
        """Report prompts' tokens; returns the logits of those places where one is to be drawn."""
        kept: list[int] = []
        place = 0
        for held, part in planned:
            row, own = held.row, logits[place : place + len(part.wanted)]
            if row.echoes and part.start < len(row.job.prompt):
                known = row.job.prompt[part.start + 1 : part.end + 1]
                post.echo(row, reported(own[: len(known)], known, row.job.wishes.logprobs))
            if part.end == len(row.ids):
                kept.append(place + len(part.wanted) - 1)
            place += len(part.wanted)
        return logits[kept]


def _gone(adapter: str | None) -> RequestError:
    return RequestError(
        404, f"no adapter {adapter!r} is loaded", param="model", code="model_not_found"
    )
