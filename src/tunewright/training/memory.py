"""How much memory a run took, and what its end looks like."""

from __future__ import annotations

import gc
import resource
import sys

import torch

_SAYS = (
    "can't allocate memory",  # PyTorch's allocator on a processor
    "std::bad_alloc",
    "could not create a memory",  # oneDNN
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held at once: the GPU's on CUDA, this process's resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def out_of_memory(error: BaseException | None) -> bool:
    """Whether a failure means that memory ran out, on a GPU or on a processor.

    Only the GPU has an error type of its own; elsewhere libraries say it in a ``RuntimeError``.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS)


def give_back(device: torch.device) -> None:
    """Return what was freed, so that tensors of other sizes fit into it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
