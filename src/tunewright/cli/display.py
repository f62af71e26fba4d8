"""What a person sees on stderr while a stage runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tunewright.core.events import Event

_SECONDS_BETWEEN_LINES = 5.0


class Terminal:
    """A listener that prints notes and keeps one live progress line.

    On a terminal the line is redrawn; elsewhere (a log file, CI) a plain line is printed every
    few seconds instead.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._printed = 0.0

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        data = event.data
        if event.kind == "note":
            self.say(str(data["text"]))
        elif event.kind == "progress":
            self._advance(str(data["stage"]), int(data["done"]), int(data["total"]), "")
        elif event.kind == "plan":
            for line in data.get("lines", ()):
                self.say(f"  {line}")
        elif event.kind == "step":
            self._advance("training", int(data["step"]), int(data["steps"]), _step_line(data))
        elif event.kind == "validation":
            self.say(f"  step {data['step']}: validation loss {data['loss']:.4f}")
        elif event.kind == "checkpoint" and data.get("best"):
            self.say(f"  step {data['step']}: best checkpoint so far, saved")

    def say(self, text: str) -> None:
        """Print one line of plain text above the progress line."""
        self.console.print(text, markup=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Without the live line, so that a question can be asked."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def _advance(self, stage: str, done: int, total: int, detail: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, detail="")
        self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(stage))
        if not self.console.is_terminal:
            self._print_sometimes(f"  {stage} {done}/{total} {detail}", last=done >= total)

    def _print_sometimes(self, line: str, *, last: bool) -> None:
        now = time.monotonic()
        if last or now - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = now
            self.say(line.rstrip())


def _step_line(data: dict[str, Any]) -> str:
    return (
        f"loss {data['loss']:.4f}  grad_norm {data['grad_norm']:.2f}  "
        f"lr {data['learning_rate']:.1e}  epoch {data['epoch']:.2f}  "
        f"{data['tokens_per_second']:.0f} tok/s  ETA {seconds(data['eta_seconds'])}"
    )


def seconds(value: float) -> str:
    """``75`` → ``1m15s``."""
    whole = round(value)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{left:02d}s" if minutes else f"{left}s"


def size(count: float) -> str:
    """Bytes in the unit that reads best: ``123456789`` → ``123 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
