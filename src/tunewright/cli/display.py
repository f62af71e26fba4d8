"""What a person sees on stderr while a stage runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tunewright.cli.live import TrainingView, diagnosis_lines, inert, sample_lines, waiting_text
from tunewright.cli.units import seconds, size
from tunewright.core.events import Event

__all__ = ["Terminal", "seconds", "size"]

_SECONDS_BETWEEN_LINES = 5.0
_LONGEST_BETWEEN_LINES = 60.0
_SHARE_BETWEEN_LINES = 1 / 60  # of the time so far: the log of a day is as readable as an hour's


class _Remaining(TimeRemainingColumn):
    """The time that is left; a training run tells its own, which also holds after a resume."""

    def render(self, task: Task) -> Text:
        return Text("") if task.description == "training" else super().render(task)


class _Bars(Progress):
    """Bars with a few lines of text below them."""

    below: tuple[str, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for line in self.below:
            yield Text(line, no_wrap=True, overflow="ellipsis")


class Terminal:
    """A listener that prints notes and keeps a live view of what goes on.

    On a terminal the view is redrawn; elsewhere (a log file, CI) plain lines are printed every
    few seconds instead.
    """

    def __init__(self, console: Console | None = None, language: str = "en") -> None:
        self.console = console or Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)
        self._language = "zh" if language == "zh" else "en"
        self._view = TrainingView()
        self._progress = _Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            _Remaining(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tellers: dict[str, Callable[[Event], None]] = {
            "note": self._on_note,
            "progress": self._on_progress,
            "plan": self._on_plan,
            "rate_search": self._on_plan,
            "step": self._on_step,
            "validation": self._on_validation,
            "sample": self._on_sample,
            "diagnosis": self._on_diagnosis,
            "checkpoint": self._on_checkpoint,
            "divided": self._on_told,
            "rehearsed": self._on_told,
            "corrected": self._on_told,
            "waiting": self._on_waiting,
            "asked": self._on_asked,
            "stopped_early": self._on_stopped_early,
        }
        self._begun = self._printed = time.monotonic()
        self._printed -= _SECONDS_BETWEEN_LINES

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
        tell = self._tellers.get(event.kind)
        if tell is not None:
            tell(event)

    def say(self, text: str) -> None:
        """Print one line of plain text above the progress line."""
        self.console.print(text, markup=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Without the live line, so that a question can be asked."""
        self._progress.stop()
        # Polars installs a handler after which reading goes on: Ctrl-C would wait for Enter.
        signal.siginterrupt(signal.SIGINT, True)
        try:
            yield
        finally:
            self._progress.start()

    def _on_note(self, event: Event) -> None:
        self.say(str(event.data["text"]))

    def _on_progress(self, event: Event) -> None:
        data = event.data
        stage, done, total = str(data["stage"]), int(data["done"]), int(data["total"])
        self._advance(stage, done, total, "", [f"  {stage} {done}/{total}"])

    def _on_plan(self, event: Event) -> None:
        for line in event.data.get("lines", ()):
            self.say(f"  {line}")

    def _on_step(self, event: Event) -> None:
        data = event.data
        self._view.feed(event)
        done, total = int(data["step"]), int(data["steps"])
        self._progress.below = () if done >= total else tuple(self._view.live())
        self._advance("training", done, total, f"epoch {data['epoch']:.2f}", self._view.logged())

    def _on_validation(self, event: Event) -> None:
        self._view.feed(event)
        self.say(f"  {self._view.validation()}")

    def _on_sample(self, event: Event) -> None:
        for line in sample_lines(event.data):
            self.say(line)

    def _on_diagnosis(self, event: Event) -> None:
        for line in diagnosis_lines(event.data, self._language, self.console):
            self.say(line)

    def _on_told(self, event: Event) -> None:
        """An event that brings its own sentence in every language."""
        self.say(f"  {event.data['text'][self._language]}")

    def _on_checkpoint(self, event: Event) -> None:
        if event.data.get("best"):
            self.say(f"  step {event.data['step']}: best checkpoint so far, saved")

    def _on_waiting(self, event: Event) -> None:
        self.say(waiting_text(event.data))

    def _on_asked(self, event: Event) -> None:
        says = {"save": "saved as asked", "stop": "stopped as asked, with the best checkpoint"}
        text = says.get(event.data["action"], inert(str(event.data["action"]), 20))
        self.say(f"  step {event.data['step']}: {text}")

    def _on_stopped_early(self, event: Event) -> None:
        self._progress.below = ()
        data = event.data
        self.say(
            f"  step {data['step']}: no better for {data['validations']} validations (patience);"
            f" stopped, step {data['best_step']} is the best"
        )

    def _advance(self, stage: str, done: int, total: int, detail: str, lines: list[str]) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, detail="")
        self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(stage))
        if not self.console.is_terminal:
            self._print_sometimes(lines, last=done >= total)

    def _print_sometimes(self, lines: list[str], *, last: bool) -> None:
        now = time.monotonic()
        share = (now - self._begun) * _SHARE_BETWEEN_LINES
        pause = min(max(_SECONDS_BETWEEN_LINES, share), _LONGEST_BETWEEN_LINES)
        if last or now - self._printed >= pause:
            self._printed = now
            for line in lines:
                self.say(line.rstrip())
