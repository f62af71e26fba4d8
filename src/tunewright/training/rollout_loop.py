"""The loop of methods that draw what they learn from: answer, grade, compare, update.

A step is one draw and all updates from it, so that a run stands between two steps only where
nothing that was drawn has to be kept; checkpoints, requests and resuming are the shared loop's.
The dev split is answered greedily; minus its mean reward stands where other methods have their
validation loss, so that lower is better everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import EndpointError, TrainingError
from tunewright.core.events import Listener
from tunewright.core.store import Store
from tunewright.grading.results import Scorer
from tunewright.training.batches import Example, Unit, collate, pack
from tunewright.training.checkpoints import Checkpoint, TrainState
from tunewright.training.drawing import Drawing
from tunewright.training.job import Job
from tunewright.training.loop import Loop
from tunewright.training.methods.base import Outcome, Tally
from tunewright.training.methods.policy import (
    PolicyMethod,
    Prompt,
    Rollout,
    collate_rollouts,
    example_of,
)
from tunewright.training.parts import detached, fitting
from tunewright.training.rewards import scorer_of
from tunewright.training.rollout_log import RolloutLog
from tunewright.training.rollouts import Graded, graded
from tunewright.training.supervision import Supervision

_LOGGED = 2  # questions per step whose answers are written down


def open_loop(
    job: Job, run_folder: Path, listen: Listener, checkpoint: Checkpoint | None, store: Store
) -> Loop:
    """The loop that a job's method needs.

    Args:
        job: what to do.
        run_folder: the run's folder.
        listen: gets the events.
        checkpoint: where to go on from.
        store: holds reward models.
    """
    folder = run_folder / "checkpoints"
    if job.drawing is None:
        return Loop(job, folder, listen, checkpoint)
    return RolloutLoop(job, folder, listen, checkpoint, scorer_of(job.config, store))


class RolloutLoop(Loop):
    """One run that learns from its own graded answers."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        listen: Listener,
        checkpoint: Checkpoint | None,
        score: Scorer,
    ) -> None:
        super().__init__(job, folder, listen, checkpoint)
        self._draw = cast(Drawing, job.drawing)
        self._method = cast(PolicyMethod, job.method)
        self._score = score
        self._log = RolloutLog(folder.parent)
        self._samples: list[dict[str, Any]] = []

    def run(self, supervision: Supervision) -> TrainState:
        """As the shared loop; what the model is worth before the first step is told, too.

        Raises:
            EndpointError: a judge is gone; the steps so far are saved.
        """
        self._supervision = supervision
        try:
            if not self.state.step and self.job.dev:
                loss, metrics = self._valid_loss()
                self._emit("validation", step=0, loss=loss, metrics=metrics)
                self._show_answers()
            return super().run(supervision)
        except EndpointError as error:
            if self.state.step:
                self._save(supervision)
            again = f"Continue with: tunewright train --resume {self.folder.parent.name}"
            raise EndpointError(error.message, f"{error.hint} {again}".strip()) from error

    def _step(self, units: Sequence[Unit]) -> None:
        prompts = cast(Sequence[Prompt], units)
        begin = time.perf_counter()
        rate = self._begin_step()
        with self._memory_named():
            found = self._answered(prompts)
            rollouts = self._compared(found)
            loss, norm, numbers = self._learn(rollouts)
        tokens = sum(len(one.example) for one in rollouts)
        self._advance(tokens, loss, time.perf_counter() - begin)
        groups, step = list(found.groups(_LOGGED)), self.state.step
        self._supervision.disk(lambda: self._log.append(step, groups))
        self._report(loss, norm, rate, found.numbers() | numbers)

    # Answers -------------------------------------------------------------------------------------

    def _answered(self, prompts: Sequence[Prompt]) -> Graded:
        """A group of answers to each question; chance depends on seed and step alone."""
        rl = self.job.config.rl
        config = GenerationConfig(
            temperature=rl.temperature,
            top_p=rl.top_p,
            max_new_tokens=rl.max_new_tokens,
            seed=self.job.config.seed * 1_000_003 + self.state.step,
        )
        asked = [prompt.conversation for prompt in prompts for _ in range(rl.group)]
        return graded(prompts, self._draw(asked, config), self._score)

    def _compared(self, found: Graded) -> list[Rollout]:
        """The answers with their advantages, and what models said of them where that counts."""
        method, rl, device = self._method, self.job.config.rl, self.job.device
        size = len(found.answers) // len(found.prompts)
        examples = [
            example_of(found.prompts[number // size], answer.tokens)
            for number, answer in enumerate(found.answers)
        ]
        before: list[Tensor | None] = [None] * len(examples)
        start, divergence = list(before), None
        if rl.iterations > 1 or (rl.beta and method.divergence_in_reward):
            before = self._said(examples)
        if rl.beta:
            with self._as_it_began():
                start = self._said(examples)
        if rl.beta and method.divergence_in_reward:
            pairs = zip(before, start, strict=True)
            sums = [(one - other).sum() for one, other in cast(Any, pairs)]
            divergence = torch.stack(sums).view(len(found.prompts), -1)
        rewards = found.rewards.to(device)
        advantages = method.advantages(rewards, divergence).flatten().tolist()
        return [Rollout(*parts) for parts in zip(examples, advantages, before, start, strict=True)]

    def _said(self, examples: Sequence[Example]) -> list[Tensor | None]:
        """Log-probabilities ``(learnt,)`` of each answer's tokens."""
        job = self.job

        @torch.no_grad()
        def work(most: int) -> list[Tensor | None]:
            said: list[Tensor | None] = []
            for part in _parts(examples, most):
                with fitting(part):
                    batch = collate(part).to(job.device)
                    log_probs, _ = self._method.log_probs(job.model, batch)
                said += torch.split(log_probs, [example.learnt for example in part])
            return said

        job.model.eval()
        found = self._passes.within(work)
        job.model.train()
        return found

    @contextmanager
    def _as_it_began(self) -> Iterator[None]:
        """What is trained as it was before the run."""
        parameters, began = self.job.parameters, self.job.starting
        now = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = began[name]
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = now[name]

    # Updates -------------------------------------------------------------------------------------

    def _learn(self, rollouts: Sequence[Rollout]) -> tuple[float, float, dict[str, float]]:
        """Update the model: mean loss and gradient norm of the updates, and metrics."""
        config = self.job.config
        held = config.rl.beta and not self._method.divergence_in_reward
        learning = [one for one in rollouts if one.advantage or held]
        if not learning:
            # Every answer is as good as the others: there is no direction to go.
            return 0.0, 0.0, {}
        tokens = sum(one.example.learnt for one in rollouts)
        tally = Tally()
        sums = [0.0, 0.0]
        for _ in range(config.rl.iterations):
            outcomes = self._backward(learning, len(rollouts), tokens)
            loss = sum(one.loss.item() for one in outcomes)
            for outcome in outcomes:
                tally.add(outcome)
            norm = clip_grad_norm_(
                self.job.parameters.values(), config.optimizer.max_grad_norm
            ).item()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._unlearnable(learning, loss, norm)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            sums = [sums[0] + loss, sums[1] + norm]
        mean_loss, mean_norm = (total / config.rl.iterations for total in sums)
        return mean_loss, mean_norm, tally.numbers()

    def _backward(self, learning: Sequence[Rollout], answers: int, tokens: int) -> list[Outcome]:
        """Gradients of the whole step, gathered over parts that fit the memory; what they said."""
        job = self.job

        def work(most: int) -> list[Outcome]:
            outcomes = []
            for part in _parts(learning, most):
                with fitting([one.example for one in part]):
                    batch = collate_rollouts(part, answers, tokens).to(job.device)
                    outcome = job.method.loss(job.model, batch)
                    outcome.loss.backward()  # type: ignore[no-untyped-call]
                    outcomes.append(detached(outcome))
                del outcome
            return outcomes

        return self._passes.within(work)

    def _unlearnable(self, learning: Sequence[Rollout], loss: float, norm: float) -> TrainingError:
        rows = list(dict.fromkeys(one.example.row for one in learning))
        sources = [self.job.sources[row] for row in rows[:10]]
        named = ", ".join(f"{source.file} row {source.row}" for source in sources)
        return TrainingError(
            f"step {self.state.step + 1}: loss {loss}, gradient norm {norm}, which is not a number"
            f" to go on with; questions of this step: {named}",
            "Lower optimizer.learning_rate; checkpoints so far are kept.",
        )

    # Validation ----------------------------------------------------------------------------------

    def _valid_loss(self) -> tuple[float, dict[str, float]]:
        """Minus the mean reward of greedy answers, and what else is worth watching."""
        rl = self.job.config.rl
        prompts = cast(Sequence[Prompt], self.job.dev)[: rl.eval_prompts]
        config = GenerationConfig(temperature=0, max_new_tokens=rl.max_new_tokens)
        answers = self._draw([prompt.conversation for prompt in prompts], config)
        found = graded(prompts, answers, self._score)
        self._samples = [_sample(group) for group in found.groups(self.job.config.watch.preview)]
        numbers: Mapping[str, float] = found.numbers()
        return -numbers["reward"], dict(numbers)

    def _show_answers(self) -> None:
        """Answers to the same few questions each time, with what they are worth."""
        for number, sample in enumerate(self._samples):
            self._emit("sample", step=self.state.step, number=number, **sample)


Part = TypeVar("Part", Example, Rollout)


def _parts(whole: Sequence[Part], most: int) -> list[list[Part]]:
    """In parts of at most so many tokens; a longer one stands alone."""
    return [[whole[place] for place in part] for part in pack(list(map(len, whole)), most, None)]


def _sample(group: dict[str, Any]) -> dict[str, Any]:
    (answer,) = group["answers"]
    return {
        "question": group["question"],
        "reference": group["reference"],
        "answer": answer["text"],
        "finished": answer["finished"],
        "reward": answer["reward"],
        "scores": answer["scores"],
    }


def with_start(job: Job) -> Job:
    """The job with what is trained as it began, where its method compares answers with that."""
    if job.drawing is None or not job.config.rl.beta:
        return job
    kept = {name: one.detach().clone() for name, one in job.parameters.items()}
    return replace(job, starting=kept)
