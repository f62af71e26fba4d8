"""What this machine offers a run: memory, the type it computes fast in, and how fast."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.training.estimates import DeviceName, Precision

if TYPE_CHECKING:
    import torch

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
# Large enough for full speed, small enough for a few milliseconds.
_SIZES = {"cpu": (512, 1024, 1024), "cuda": (8192, 8192, 8192)}
_PROBE_SECONDS = 0.06


@dataclass(frozen=True)
class Machine:
    """Where a run would take place.

    Attributes:
        device: ``cpu`` or ``cuda``.
        name: of the GPU, or the number of cores.
        memory: bytes that are free now.
        precision: the type that it computes fast in.
        disk: bytes free where runs are kept.
        flops: operations per second of a matrix product; None when not measured.
        nf4: whether 4-bit weights can be used.
    """

    device: DeviceName
    name: str
    memory: int
    precision: Precision
    disk: int
    flops: float | None = None
    nf4: bool = True


def this_machine(device: torch.device, dtype: torch.dtype, home: Path) -> Machine:
    """This machine as it is now; loads torch and multiplies matrices for a moment."""
    import torch

    bfloat16 = dtype == torch.bfloat16
    cuda = device.type == "cuda"
    cores = os.cpu_count() or 1
    return Machine(
        device="cuda" if cuda else "cpu",
        name=torch.cuda.get_device_name(device) if cuda else f"{cores} cores",
        memory=torch.cuda.mem_get_info(device)[0] if cuda else free_memory(),
        precision="bfloat16" if bfloat16 else "float32",
        disk=shutil.disk_usage(_existing(home)).free,
        flops=multiplying_speed(device, dtype),
        nf4=importlib.util.find_spec("bitsandbytes") is not None,
    )


def multiplying_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a matrix product: the best of a few, after one to warm up."""
    import torch

    rows, inner, columns = _SIZES[device.type]
    # Random numbers: zeros would multiply faster on a GPU that is held to a power limit.
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inner, generator=generator).to(device, dtype)
    right = torch.randn(columns, inner, generator=generator).to(device, dtype)
    left @ right.t()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < _PROBE_SECONDS:
        start = time.perf_counter()
        left @ right.t()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best


def free_memory() -> int:
    """Bytes that this process may still take, by the kernel's account and its group's limit."""
    return min([_free_of_all(), *_free_of_group(_CGROUP)])


def _free_of_all() -> int:
    if _MEMINFO.is_file():
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # Elsewhere all that is built in: what others hold of it is not told in one way.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_of_group(folder: Path) -> list[int]:
    """Nothing where there is no limit."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        held = (folder / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return []
    return [max(0, int(limit) - int(held))] if limit.isdigit() and held.isdigit() else []


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
