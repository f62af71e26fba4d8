"""Data-parallel workers on one machine, one thread each.

Two single-threaded processes share two cores better than one process with two threads: they wait
for each other once a step rather than at every operation, so a busy machine slows them far less.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Group:
    """Which of how many workers this process is."""

    rank: int = 0
    size: int = 1

    def join(self, meeting: Path) -> None:
        """Meet the other workers; `meeting` is a file that none has used before."""
        if self.size > 1:
            distributed.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=self.rank, world_size=self.size
            )

    def leave(self) -> None:
        """Part from the other workers."""
        if self.size > 1:
            distributed.destroy_process_group()

    def total(self, values: Tensor) -> Tensor:
        """The sum of `values` over all workers, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def share(self, count: int) -> slice:
        """This worker's part of `count` equal jobs."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.size > 1:
            distributed.barrier()


def flatten(tensors: list[Tensor], extra: int) -> Tensor:
    """One vector of all `tensors`, with `extra` zeros after them."""
    return torch.cat([t.reshape(-1) for t in tensors] + [torch.zeros(extra)])


def unflatten(vector: Tensor, tensors: list[Tensor]) -> None:
    """Copy the vector that `flatten` made back into `tensors`."""
    offset = 0
    for tensor in tensors:
        tensor.copy_(vector[offset : offset + tensor.numel()].view_as(tensor))
        offset += tensor.numel()
