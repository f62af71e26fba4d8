"""Choosing a run's checkpoint: three best by loss, decided by what they answer.

Held-out loss and the quality of answers part ways (Zhou et al. 2023, "LIMA", arXiv 2305.11206:
perplexity on held-out data rose while answers became better). So loss makes the short list, and
answers to the dev questions decide. The locked test questions stay out of it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.errors import ConfigError, NotFoundError
from tunewright.core.records import Model, Run
from tunewright.core.store import Store
from tunewright.evaluation.asked import ALL
from tunewright.evaluation.gates.base import LEAST_GROUPS, Gate, comparison_numbers
from tunewright.evaluation.lineage import curve_of
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts, difference, points, shown, signed
from tunewright.model.references import resolve_responder

MOST = 3
_STEP = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Choice:
    """A run's short list.

    Attributes:
        run: whose checkpoints they are.
        losses: validation loss by step, the best first; None where none was measured.
    """

    run: Run
    losses: Mapping[int, float | None]

    def reference(self, step: int) -> str:
        """What a checkpoint is asked for as."""
        return f"{self.run.id}@{step}"


def short_list(store: Store, reference: str) -> Choice:
    """The three best checkpoints that a run has kept, by validation loss, later ones first.

    Raises:
        NotFoundError: no such run, or it kept no checkpoint.
        ConfigError: the run has not published a model yet.
    """
    run = store.get(Run, reference)
    folder = store.folder(Run, run.id) / "checkpoints"
    steps = [
        int(found[1])
        for path in folder.glob("step-*")
        if (found := _STEP.fullmatch(path.name)) and (path / "adapter").is_dir()
    ]
    if not steps:
        raise NotFoundError(f"run {run.id} has kept no checkpoint", "Train it further first.")
    if _published(store, run) is None:
        raise ConfigError(
            f"run {run.id} is {run.state} and has made no model yet",
            f"Finish it first: tunewright train --resume {run.id}",
        )
    curve = curve_of(store, run)
    measured = dict(curve.validation) if curve else {}
    losses = {step: measured.get(step) for step in steps}
    ranked = sorted(steps, key=lambda step: (_rank(losses[step]), -step))
    return Choice(run, {step: losses[step] for step in ranked[:MOST]})


def _rank(loss: float | None) -> float:
    return float("inf") if loss is None else loss


def choosing(config: EvaluateConfig, choice: Choice) -> EvaluateConfig:
    """The evaluation that chooses: the checkpoints alone, on dev questions, without probes."""
    return config.model_copy(
        update={
            "models": tuple(choice.reference(step) for step in choice.losses),
            "general": False,
            "probes": config.probes.model_copy(update={"safety": False, "seen": 0}),
        }
    )


def decide_checkpoint(
    store: Store, choice: Choice, results: Results, texts: Texts
) -> tuple[Gate, Model]:
    """Choose by the main metric, the lower loss among equals, and make it the run's newest model.

    The gate is open where there are too few questions to choose by.
    """
    metric = results.test.metric(results.headline)
    scores = {
        step: results.test.mean(choice.reference(step), metric.name) or 0.0
        for step in choice.losses
    }
    # Steps come in order of loss, and max keeps the first of equals.
    best = max(scores, key=lambda step: round(metric.sign * scores[step], 9))
    model = promote(store, choice.run, best)
    first = next(iter(choice.losses))
    seen = results.comparisons[choice.reference(best)][metric.name][ALL] if best != first else None
    margin = ""
    if seen is not None:
        bound = points if metric.share else signed
        margin = texts(
            "checkpoint.ahead",
            other=first,
            delta=difference(metric, seen.delta, texts),
            low=bound(seen.low),
            high=bound(seen.high),
        )
    listed = texts("join")
    evidence = texts(
        "checkpoint.evidence",
        losses=listed.join(f"{step}: {_loss(loss)}" for step, loss in choice.losses.items()),
        metric=texts.label("metric", metric.name),
        questions=len(results.test.questions),
        scores=listed.join(f"{step}: {shown(metric, score)}" for step, score in scores.items()),
        step=best,
        margin=margin,
        model=model.name,
    )
    if len(scores) == 1:
        evidence = texts("checkpoint.one", step=best)
    enough = len(set(results.test.groups())) >= LEAST_GROUPS and len(scores) > 1
    numbers = {
        "chosen": best,
        "model": model.id,
        "metric": metric.name,
        "losses": {str(step): loss for step, loss in choice.losses.items()},
        "scores": {str(step): score for step, score in scores.items()},
        **({"against_best_loss": comparison_numbers(seen)} if seen else {}),
    }
    prescription = texts(
        "checkpoint.do", base=choice.run.start or choice.run.base, model=model.name
    )
    gate = Gate("checkpoint", model.name, True if enough else None, evidence, prescription, numbers)
    return gate, model


def _loss(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.4f}"


def promote(store: Store, run: Run, step: int) -> Model:
    """The tuned model of a run's checkpoint; made now if it is not there yet.

    Raises:
        ConfigError: the run has not published a model yet.
        InputError: the checkpoint is gone, or does not fit its base.
    """
    newest = _published(store, run)
    if newest is None:
        raise ConfigError(f"run {run.id} has made no model yet")
    for known in store.list(Model):
        if known.run == run.id and known.step == step:
            return known
    checkpoint = resolve_responder(store, f"{run.id}@{step}").folders[-1]
    name = re.sub(r"-step\d+$", "", newest.name) + f"-step{step}"
    update = {"id": store.new_id(Model), "name": name, "step": step, "version": ""}
    model = Model.model_validate(newest.model_dump(exclude={"created", *update}) | update)
    with store.stage(Model, model.id) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    store.add(model)
    return store.get(Model, model.id)


def _published(store: Store, run: Run) -> Model | None:
    return next((model for model in store.list(Model) if model.run == run.id), None)
