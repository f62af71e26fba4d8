"""A run's passes through its model: in parts that fit, and in smaller ones when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tunewright.core.errors import TrainingError
from tunewright.training.batches import Unit
from tunewright.training.checkpoints import TrainState
from tunewright.training.job import Job
from tunewright.training.memory import give_back
from tunewright.training.methods.base import Tally
from tunewright.training.parts import Gathered, TooLarge, gather, parts_of, tell
from tunewright.training.texts import both

_NAMED = 10  # rows in a message

Result = TypeVar("Result")


class Passes:
    """Learns and judges units of a job.

    Args:
        job: what is trained and how.
        state: remembers the size of parts, so that a resumed run goes on with it.
        emit: gets the kind of an event and its data.
    """

    def __init__(self, job: Job, state: TrainState, emit: Callable[..., None]) -> None:
        self._job = job
        self._state = state
        self._emit = emit

    @property
    def most(self) -> int:
        """Tokens of a part at most; a longer unit stands alone."""
        config = self._job.config
        if not type(self._job.method).divides():
            return config.batch_tokens
        return self._state.micro_tokens or config.memory.micro_tokens or config.batch_tokens

    def learn(self, units: Sequence[Unit], begin: Callable[[], Any]) -> Gathered:
        """Gradients of one step; when memory runs out, again from the start in smaller parts.

        Args:
            units: of the step.
            begin: sets chance as it is to be when the step begins.

        Raises:
            TrainingError: not even one row fits; it is named.
        """
        job = self._job

        def work(most: int) -> Gathered:
            begin()
            return gather(job.method, job.model, units, most, job.device)

        return self.within(work)

    def judge(self, units: Sequence[Unit]) -> Tally:
        """What the method says of units, without gradients.

        Raises:
            TrainingError: as ``learn``.
        """
        job = self._job

        def work(most: int) -> Tally:
            tally = Tally()
            for part in parts_of(units, most):
                tally.add(tell(job.method, job.model, part, job.device))
            return tally

        return self.within(work, "rows to validate on")

    def within(self, work: Callable[[int], Result], named: str = "") -> Result:
        """What work gives; when memory runs out, it is done again in smaller parts.

        Args:
            work: gets the most tokens of a part; may be called again from its start, when
                gradients are none. Its passes stand in ``parts.fitting``.
            named: what goes through the model; the rows' places where it is empty.

        Raises:
            TrainingError: not even one row fits; it is named.
        """
        while True:
            try:
                return work(self.most)
            except TooLarge as error:
                self._shrink(error, named or self._named(error.units))
            # Only here, after the failure and all that it held is gone.
            self._clear()

    def _shrink(self, error: TooLarge, named: str) -> None:
        """Halve the parts, by the one that did not fit."""
        tokens, step = sum(map(len, error.units)), self._state.step + 1
        alone, divides = len(error.units) == 1, type(self._job.method).divides()
        if alone or not divides:
            raise self._hopeless(tokens, named, alone=alone) from error.__cause__
        self._state.micro_tokens = tokens // 2
        numbers = {"step": step, "before": tokens, "tokens": tokens // 2}
        self._emit("divided", **numbers, text=both("memory.divided", **numbers))

    def _clear(self) -> None:
        for parameter in self._job.parameters.values():
            parameter.grad = None
        give_back(self._job.device)

    def _named(self, units: Sequence[Unit]) -> str:
        rows = list(dict.fromkeys(row for unit in units for row in unit.rows))
        sources = [self._job.sources[row] for row in rows[:_NAMED]]
        named = ", ".join(f"{source.file} row {source.row}" for source in sources)
        return f"{named} and {len(rows) - _NAMED} more" if len(rows) > _NAMED else named

    def _hopeless(self, tokens: int, named: str, *, alone: bool) -> TrainingError:
        config = self._job.config
        less = max(16, tokens // 2)
        ways = [f"prepare with --max-tokens {less}" if alone else f"set batch_tokens={less}"]
        if config.memory.checkpointing != "full":
            ways.insert(0, "set memory.checkpointing=full")
        if config.quantize == "none" and config.tuner not in ("full", "freeze"):
            ways.append("set quantize=int8")
        why = "even alone" if alone else f"and {config.method} cannot learn them in parts"
        return TrainingError(
            f"step {self._state.step + 1}: {self._job.device} is out of memory:"
            f" {named} ({tokens:,} tokens) cannot be held, {why}",
            f"Start again and {', or '.join(ways)}. Checkpoints so far are kept.",
        )
