"""Trains the model: one loop, a schedule that can be ended at any moment, resumable checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from . import export, optimiser
from .batches import Batch, batches
from .corpus import Mix, default_mix, later_mix, stream
from .model import Nano, Shape
from .workers import Group, flatten, unflatten

AVERAGE = 0.995


@dataclass(frozen=True)
class Phase:
    """A part of training with its own data, until a share of the whole budget is used."""

    until: float
    mix: Mix
    flatten: float = 0.0
    """Each target token of an answer of n tokens weighs n ** -flatten: at 0, long answers take
    nearly all of the gradient and one-token sums are not learnt; at 1, each answer weighs alike."""


def phases() -> tuple[Phase, ...]:
    """The two phases of the bundled model."""
    return Phase(0.5, default_mix()), Phase(1.0, later_mix(), flatten=0.5)


@dataclass(frozen=True)
class Plan:
    """What training does; `control.json` in the folder may change `minutes` on the way."""

    minutes: float
    tokens: int = 0
    """Ends training after so many tokens instead; then the result depends on the seed alone."""
    seed: int = 1
    batch_tokens: int = 1500
    muon_lr: float = 0.01
    adam_lr: float = 3e-3
    warmup_steps: int = 60
    decay_share: float = 0.25
    save_minutes: float = 5.0
    phases: tuple[Phase, ...] = field(default_factory=phases)


class Clock:
    """Share of the time budget used; the budget may be changed while training."""

    def __init__(self, folder: Path, plan: Plan, spent: float) -> None:
        self.control = folder / "control.json"
        self.minutes, self.tokens = plan.minutes, plan.tokens
        self.start = time.monotonic() - spent

    @property
    def seconds(self) -> float:
        """Seconds trained, those before a resume included."""
        return time.monotonic() - self.start

    def progress(self, tokens: int) -> float:
        """0 at the start, 1 at the end; `tokens` is what has been seen."""
        if self.tokens:
            return tokens / self.tokens
        return self.seconds / (60 * self.minutes)

    def refresh(self) -> None:
        """Take over a budget that was changed from outside."""
        if self.control.exists():
            self.minutes = float(json.loads(self.control.read_text())["minutes"])


def factor(plan: Plan, step: int, progress: float) -> float:
    """Learning-rate factor: linear warm-up, constant, linear decay to zero (trapezoid)."""
    warm = min(1.0, (step + 1) / plan.warmup_steps)
    return warm * max(0.0, min(1.0, (1.0 - progress) / plan.decay_share))


class Trainer:
    """Model, optimisers and running average, in one place to save and resume."""

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, shape: Shape, plan: Plan, group: Group
    ) -> None:
        self.folder, self.tokenizer, self.plan, self.group = folder, tokenizer, plan, group
        torch.manual_seed(plan.seed)
        self.model = Nano(shape)
        self.optimisers = optimiser.build(self.model, plan.muon_lr, plan.adam_lr, group)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.state: dict[str, Any] = {
            "step": 0,
            "phase": 0,
            "phase_step": 0,
            "tokens": 0,
            "seconds": 0.0,
        }
        folder.mkdir(parents=True, exist_ok=True)

    def step(self, batch: Batch, progress: float) -> tuple[float, int, float]:
        """One update on the batches of all workers together.

        Returns the plain mean loss over target tokens, the tokens seen, and the first worker's
        `progress`, which decides the learning rate for all.
        """
        wanted = batch.targets[:, 1:]
        states = self.model.hidden_states(batch.ids[:, :-1], wanted)
        labels = batch.ids[:, 1:][wanted]
        losses = functional.cross_entropy(self.model.logits(states), labels, reduction="none")
        length = wanted.sum(1, keepdim=True).clamp(min=1).float()
        phase = self.plan.phases[self.state["phase"]]
        weights = (length**-phase.flatten).expand_as(wanted)[wanted]
        (losses * weights).sum().backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        vector = flatten(gradients, 5)
        told = progress if self.group.rank == 0 else 0.0
        sums = [losses.sum().item(), labels.numel(), weights.sum().item(), batch.tokens, told]
        vector[-5:] = torch.tensor(sums)
        total, targets, weight, tokens, progress = self.group.total(vector)[-5:].tolist()
        unflatten(vector / weight, gradients)
        scale = factor(self.plan, self.state["step"], progress)
        for one, base in zip(self.optimisers, (self.plan.muon_lr, self.plan.adam_lr), strict=True):
            one.param_groups[0]["lr"] = base * scale
            one.step()
            one.zero_grad(set_to_none=True)
        return total / targets, int(tokens), progress

    @torch.no_grad()
    def follow(self) -> None:
        """Move the running average towards the weights."""
        live = self.model.state_dict()
        weight = max(1 - AVERAGE, 8 / (self.state["step"] + 8))
        torch._foreach_lerp_(list(self.average.values()), [live[k] for k in self.average], weight)

    def save(self, final: bool = False) -> None:
        """Write a checkpoint to resume from, and the averaged (at the end: last) weights."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        names = {id(p): n for n, p in self.model.named_parameters()}
        for one in self.optimisers:
            for parameter, values in one.state.items():
                for key, value in values.items():
                    tensors[f"optimiser.{names[id(parameter)]}.{key}"] = value
        part = self.folder / "checkpoint.part"
        save_file({k: v.contiguous() for k, v in tensors.items()}, part)
        part.replace(self.folder / "checkpoint.safetensors")
        (self.folder / "state.json").write_text(json.dumps(self.state))
        weights = self.model.state_dict() if final else self.average
        export.write(self.folder / "export", weights, self.model.shape, self.tokenizer)

    def resume(self) -> bool:
        """Take up the checkpoint in the folder, if there is one."""
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return False
        tensors = load_file(path)
        self.model.load_state_dict(_under("model.", tensors))
        self.average = _under("average.", tensors)
        names = {id(p): n for n, p in self.model.named_parameters()}
        for one in self.optimisers:
            for weight in one.param_groups[0]["params"]:
                one.state[weight] = _under(f"optimiser.{names[id(weight)]}.", tensors)
        self.state = json.loads((self.folder / "state.json").read_text())
        return True


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _source(trainer: Trainer) -> Iterator[Batch]:
    """This worker's batches of the present phase, from where the phase stands."""
    plan, state, group = trainer.plan, trainer.state, trainer.group
    seed = plan.seed + state["phase"]
    examples = stream(seed, plan.phases[state["phase"]].mix)
    every = batches(trainer.tokenizer, examples, plan.batch_tokens, seed)
    mine = islice(every, group.rank, None, group.size)
    return islice(mine, state["phase_step"], None)


def run(trainer: Trainer, log_every: int = 20) -> None:
    """Train until the first worker's clock says the budget is spent; then save the last weights."""
    plan, state = trainer.plan, trainer.state
    first = trainer.group.rank == 0
    clock = Clock(trainer.folder, plan, state["seconds"])
    log = Log(trainer.folder / "log.jsonl", log_every)
    saved, progress, source = clock.seconds, 0.0, _source(trainer)
    while progress < 1.0:
        loss, tokens, progress = trainer.step(next(source), clock.progress(state["tokens"]))
        state["step"] += 1
        state["phase_step"] += 1
        state["tokens"] += tokens
        state["seconds"] = clock.seconds
        if plan.phases[state["phase"]].until <= progress < 1.0:
            state |= {"phase": state["phase"] + 1, "phase_step": 0}
            source = _source(trainer)
        if first:
            trainer.follow()
            log.add(state, loss, tokens, factor(plan, state["step"], progress))
            clock.refresh()
            if clock.seconds - saved > 60 * plan.save_minutes:
                saved = clock.seconds
                trainer.save()
    if first:
        trainer.save(final=True)


class Log:
    """One JSON line every few steps: means since the line before."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.losses: list[float] = []
        self.tokens = 0
        self.since = time.monotonic()

    def add(self, state: dict[str, Any], loss: float, tokens: int, scale: float) -> None:
        """Count one step, and write a line when it is time.

        Raises ArithmeticError when the loss is no longer finite.
        """
        self.losses.append(loss)
        self.tokens += tokens
        if len(self.losses) < self.every:
            return
        now = time.monotonic()
        row = {
            "step": state["step"],
            "minutes": round(state["seconds"] / 60, 2),
            "tokens": state["tokens"],
            "loss": round(sum(self.losses) / self.every, 4),
            "tokens_per_second": round(self.tokens / (now - self.since)),
            "lr": round(scale, 4),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if not math.isfinite(row["loss"]):
            raise ArithmeticError(f"loss is not finite at step {state['step']}")
        self.losses, self.tokens, self.since = [], 0, now
