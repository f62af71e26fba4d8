"""``doctor``: what this machine can do and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tunewright.cli.display import size
from tunewright.cli.options import Common, common_options
from tunewright.core.errors import TunewrightError
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store

Finding = tuple[bool, str]
_ENOUGH_DISK = 2e9


@click.command()
@common_options
def doctor(common: Common) -> None:
    """Check Python, torch, processor, memory, disk, the store, the bundled base and the hubs."""
    console = Console(stderr=True, emoji=False, highlight=False)
    checks: list[dict[str, Any]] = []
    for name, check in _checks(common):
        try:
            ok, detail = check()
        except (TunewrightError, OSError, ImportError) as error:
            ok, detail = False, str(error)
        checks.append({"name": name, "ok": ok, "detail": detail})
        mark = "[green]ok[/green]     " if ok else "[red]missing[/red]"
        console.print(f"{mark}  {name:<10}", end=" ")
        console.print(detail, markup=False)
    common.finish({"checks": checks})
    required = {"python", "torch", "store", "disk", "nano"}
    if any(not check["ok"] for check in checks if check["name"] in required):
        sys.exit(1)


def _checks(common: Common) -> Iterator[tuple[str, Callable[[], Finding]]]:
    settings = common.settings()
    yield "python", lambda: (sys.version_info >= (3, 11), f"{platform.python_version()}")
    yield "torch", _torch
    yield "processor", _processor
    yield "memory", _memory
    yield "disk", lambda: _disk(settings.home)
    yield "store", lambda: _store(common.store())
    yield "nano", lambda: _nano(settings)
    yield "hub", lambda: _hub(settings)


def _torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        index = torch.cuda.current_device()
        memory = torch.cuda.get_device_properties(index).total_memory
        return True, f"{torch.__version__}, {torch.cuda.get_device_name(index)}, {size(memory)}"
    return True, f"{torch.__version__}, no GPU: training and serving run on the processor"


def _processor() -> Finding:
    import torch

    from tunewright.model.loading import pick_dtype

    dtype = pick_dtype("auto", torch.device("cpu"))
    return True, f"{os.cpu_count()} cores, trains in {str(dtype).removeprefix('torch.')}"


def _memory() -> Finding:
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return True, f"{size(pages * page)}"


def _disk(home: Path) -> Finding:
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    return free >= _ENOUGH_DISK, f"{size(free)} free for {home}"


def _store(store: Store) -> Finding:
    return True, f"{store.home}: {len(store.list(Model))} tuned models"


def _nano(settings: Settings) -> Finding:
    from tunewright.model.catalog import resolve_base

    base = resolve_base("nano", settings)
    return True, f"bundled, digest {base.digest[:12]}"


def _hub(settings: Settings) -> Finding:
    if settings.offline:
        return True, "offline by HF_HUB_OFFLINE; local folders and nano work"
    import httpx

    try:
        httpx.head(settings.huggingface_endpoint, timeout=3.0)
    except httpx.HTTPError as error:
        return False, (
            f"{settings.huggingface_endpoint} cannot be reached ({type(error).__name__}); "
            "local folders and nano work, HF_ENDPOINT names a mirror"
        )
    return True, f"{settings.huggingface_endpoint} answers"
