"""Events: how a running stage tells its faces what happens, and what a run leaves behind."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Event(BaseModel):
    """One fact at one time: ``kind`` such as ``progress``, ``step``, ``checkpoint``, ``note``.

    ``data`` by kind:
        note        {text}
        progress    {stage, done, total}
        plan        what a run is about to do (parameters, tokens, steps, …)
        rate_search {rate, steps, judged_by, trials [{rate, loss}], lines}: the learning rate found
        step        {step, steps, epoch, loss, smoothed_loss, grad_norm, learning_rate, tokens,
                     tokens_per_second, eta_seconds, memory_bytes, metrics {name: number}}
        validation  {step, loss, metrics {token_accuracy, …}}
        sample      {step, number, question, reference, answer, finished}; and {reward, scores}
                     of a run that learns from rewards
        diagnosis   {name, step, measure, values, text {en, zh}, remedy {en, zh}}
        checkpoint  {step, path, best}
        divided     {step, before, tokens, text {en, zh}}: memory ran out, parts are smaller now
        rehearsed   {tokens, memory_bytes, seconds, text {en, zh}}: before the first step
        corrected   {step, tokens_per_second, remaining_seconds, measured_peak, planned_peak, …,
                     text {en, zh}}: the plan beside what the first steps measured
        waiting     {reason, folder, needed_bytes, free_bytes, waited_seconds, minutes}: disk full
        asked       {action, step}: what another process asked for, honoured
        stopped_early  {step, best_step, validations}
        resumed     {step}: those after it, so far in the log, are void
        done        the stage's result, as its record
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    data: dict[str, Any] = Field(default_factory=dict)
    time: float = Field(default_factory=time.time)


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener for callers that watch nothing."""


class EventLog:
    """Append-only JSONL of events; a torn last line (after a kill) is skipped on reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Write one event and hand it to the operating system."""
        line = json.dumps(event.model_dump(), ensure_ascii=False) + "\n"
        with open(self.path, "ab") as file:
            # A kill can leave half a line; start afresh after it rather than gluing to it.
            if file.tell() and not _ends_with_newline(self.path):
                file.write(b"\n")
            file.write(line.encode())
            file.flush()

    def read(self) -> Iterator[Event]:
        """Every complete event, oldest first."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    yield Event(**json.loads(line))
                except (json.JSONDecodeError, UnicodeDecodeError):
                    continue


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
