"""The stage: dataset + base → what to do, the recipe, and what it takes; no weight is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tunewright.config.advice import AdviseConfig
from tunewright.config.training import MethodName, TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import RowKind
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.model.catalog import find_config
from tunewright.model.folders import read_json
from tunewright.model.shapes import Shape, shape_of
from tunewright.training import recommend
from tunewright.training.choice import Choice, Need, choose
from tunewright.training.counts import trained_weights
from tunewright.training.machine import Machine, this_machine
from tunewright.training.recipes import LARGEST_RANK, Default, Facts, Text, defaults, usual

_METHODS: dict[RowKind, MethodName] = {
    "conversation": "sft",
    "preference": "dpo",
    "rating": "kto",
    "text": "pretrain",
}
_SAMPLE = 2000
_BYTES_PER_TOKEN = 3.5  # of JSON lines, where nobody counted tokens
# A GPU that is only imagined: dense bfloat16 of a common card of about that memory, per second.
_IMAGINED = ((16, 60e12), (24, 150e12), (48, 150e12), (80, 600e12), (math.inf, 700e12))


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        recommendation: in one word or two.
        reasons: why, and what else to know.
        how: those of them that are about the recipe rather than the recommendation.
        recipe: options of ``train``, ready to be saved as YAML.
        defaults: why each of them is what it is.
        choice: how it fits the machine.
        facts: what there is to learn from.
        shape: of the base.
        machine: that it is planned for.
        steps: of the run.
    """

    recommendation: recommend.Recommendation
    reasons: tuple[Text, ...]
    how: tuple[Text, ...]
    recipe: dict[str, Any]
    defaults: dict[str, Default]
    choice: Choice
    facts: Facts
    shape: Shape
    machine: Machine
    steps: int

    def data(self, language: str) -> dict[str, Any]:
        """As JSON values."""
        return {
            "recommendation": self.recommendation,
            "reasons": [reason.of(language) for reason in self.reasons],
            "recipe": self.recipe,
            "estimates": {
                "fits": self.choice.fits,
                "steps": self.steps,
                "parameters": self.shape.parameters,
                **self.choice.estimate.data(),
            },
            "defaults": {key: one.reason.of(language) for key, one in self.defaults.items()},
            "choices": [reason.of(language) for reason in self.choice.reasons],
        }


def advise(config: AdviseConfig, store: Store) -> Advice:
    """Look at a dataset's record and a base's config, and say what to do.

    Raises:
        InputError: an unknown dataset or base, or rows that the method cannot learn from.
        ModelError: a base whose sizes cannot be told from its config.
    """
    dataset = store.get(Dataset, config.dataset)
    method = _method(config, dataset)
    folder = find_config(config.base, store.settings)
    shape = shape_of(read_json(folder / "config.json"))
    rows = store.folder(Dataset, dataset.id)
    facts = facts_of(dataset, rows)
    sample = list(_answers(rows / "train.jsonl"))
    machine = _machine(config, store)
    recipe = TrainConfig(
        dataset=dataset.id, base=config.base, method=method, tuner=config.tuner or "lora"
    )
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors")) or None
    planned = _planned(recipe, shape, facts, machine, weights)
    reasons: list[Text] = []
    if config.tuner is None:
        planned, reasons = _full_or_lora(planned, recipe, shape, facts, machine, weights)
    said, why = recommend.recommendation(dataset.content, facts, sample)
    tokens = dataset.base and dataset.base != config.base
    if tokens:
        reasons.append(recommend.other_tokenizer(dataset.base, config.base))
    found, choice = planned
    return Advice(
        recommendation=said,
        reasons=(*why, *reasons),
        how=tuple(reasons),
        recipe=_recipe(choice, found, machine),
        defaults=found,
        choice=choice,
        facts=facts,
        shape=shape,
        machine=machine,
        steps=_steps(choice.config, facts),
    )


_Planned = tuple[dict[str, Default], Choice]


def _planned(
    recipe: TrainConfig, shape: Shape, facts: Facts, machine: Machine, weights: int | None
) -> _Planned:
    """The defaults, and how they fit the machine."""
    of = usual(shape.parameters, recipe)
    found = defaults(shape, shape.parameters, facts, recipe, of)
    update = {"epochs": found["epochs"].value, "batch_tokens": found["batch_tokens"].value}
    config = recipe.model_copy(update=update)
    if "lora.rank" in found:
        lora = config.lora.model_copy(update={"rank": found["lora.rank"].value})
        config = config.model_copy(update={"lora": lora})
    from tunewright.training.methods import METHODS

    need = Need(shape, facts, weights, METHODS[config.method].divides())
    return found, choose(config, need, machine)


def _full_or_lora(
    planned: _Planned,
    recipe: TrainConfig,
    shape: Shape,
    facts: Facts,
    machine: Machine,
    weights: int | None,
) -> tuple[_Planned, list[Text]]:
    """Everything is trained where LoRA would be too small and everything fits."""
    lora = recipe.lora.model_copy(update={"rank": LARGEST_RANK})
    largest = trained_weights(shape, recipe.model_copy(update={"lora": lora}))
    if facts.supervised <= largest or recipe.method != "sft":
        return planned, [recommend.lora_is_enough(facts, largest)]
    everything = recipe.model_copy(update={"tuner": "full"})
    full = _planned(everything, shape, facts, machine, weights)
    if not full[1].fits:
        return planned, [recommend.full_does_not_fit(full[1].estimate)]
    return full, [recommend.full_is_better(facts, largest)]


def _method(config: AdviseConfig, dataset: Dataset) -> MethodName:
    if config.method is None:
        return _METHODS[dataset.content]
    from tunewright.training.methods import require_rows_for

    require_rows_for(config.method, dataset)
    return config.method


def facts_of(dataset: Dataset, folder: Path) -> Facts:
    """What there is to learn from, by the dataset's record; its tokens count all splits.

    Raises:
        DataError: no training row.
    """
    rows = dataset.splits["train"] + dataset.mixed
    every = sum(dataset.splits.values()) + dataset.mixed
    if not rows:
        raise DataError(f"dataset {dataset.name} has no training rows")
    counted, share = dataset.tokens, rows / every
    if "total" not in counted:
        size = (folder / "train.jsonl").stat().st_size
        total = max(rows, round(size / _BYTES_PER_TOKEN))
        mean = math.ceil(total / rows)
        return Facts(rows, total, total, 4 * mean, mean)
    return Facts(
        rows=rows,
        tokens=max(1, round(counted["total"] * share)),
        supervised=max(1, round(counted["supervised"] * share)),
        longest=counted["max"],
        usual=counted["p50"],
    )


def _answers(path: Path) -> Iterator[str]:
    """Answers of the first rows."""
    with open(path, encoding="utf-8") as file:
        for line in islice(file, _SAMPLE):
            messages = json.loads(line).get("conversation", {}).get("messages", ())
            if messages and messages[-1]["role"] == "assistant":
                yield messages[-1]["content"]


def _machine(config: AdviseConfig, store: Store) -> Machine:
    from tunewright.model.loading import pick_device, pick_dtype

    device = pick_device()
    here = this_machine(device, pick_dtype("auto", device), store.settings.home)
    if config.memory is None:
        return here
    speed = next(speed for most, speed in _IMAGINED if config.memory <= most)
    return replace(
        here,
        device="cuda",
        name=f"GPU, {config.memory:g} GB",
        memory=round(config.memory * 1e9),
        precision="bfloat16",
        flops=speed,
        nf4=True,
    )


def _steps(config: TrainConfig, facts: Facts) -> int:
    """Optimizer steps; batches are packed to about 95 % of their size."""
    filled = max(1.0, min(config.batch_tokens, facts.tokens) - facts.mean / 2)
    return max(1, math.ceil((config.epochs or 1) * math.ceil(facts.tokens / filled)))


def _recipe(choice: Choice, found: dict[str, Default], machine: Machine) -> dict[str, Any]:
    """What a recipe file says."""
    config = choice.config
    recipe: dict[str, Any] = {
        "dataset": config.dataset,
        "base": config.base,
        "method": config.method,
        "tuner": config.tuner,
        "epochs": config.epochs,
        "batch_tokens": config.batch_tokens,
        "optimizer": {
            "learning_rate": found["optimizer.learning_rate"].value,
            "warmup": found["optimizer.warmup"].value,
        },
        "precision": machine.precision,
        "quantize": config.quantize,
        "memory": {
            "micro_tokens": config.memory.micro_tokens,
            "checkpointing": config.memory.checkpointing,
        },
    }
    if config.tuner == "lora":
        recipe["lora"] = {"rank": config.lora.rank, "alpha": config.lora.alpha}
    return recipe
