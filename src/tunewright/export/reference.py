"""What a served model should answer: computed here, or kept by its newest evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress

import torch

from tunewright.config.export import ServedConfig
from tunewright.core.errors import ConfigError
from tunewright.core.records import Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.evaluate import read_outputs
from tunewright.evaluation.verdicts import newest_evaluation
from tunewright.export.formats import DTYPES, Arithmetic, load_tuned, memory_of
from tunewright.export.observation import Spoken, speak
from tunewright.export.prompts import Prompts
from tunewright.model.generation import TextModel
from tunewright.model.loading import pick_device
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.weights import stored_tensors, weight_files
from tunewright.training.machine import free_memory

LEAST_TOKENS = 16
"""Of an answer's limit; some endpoints take no smaller one."""


@dataclass(frozen=True)
class Reference:
    """The answers of a model before it was served.

    Attributes:
        prompts: that it answered.
        spoken: its answers, one per prompt; those that were kept have no tokens.
        limit: longest answer, in tokens.
        source: where they come from, in words.
        model: who gave them, where that was done here.
    """

    prompts: Prompts
    spoken: list[Spoken]
    limit: int
    source: str
    model: TextModel | None = None


def refer(
    found: Resolved, renderer: Renderer, prompts: Prompts, config: ServedConfig, store: Store
) -> Reference:
    """The model's greedy answers: computed, or where memory is short, those that were evaluated.

    Raises:
        ConfigError: too little memory, and no evaluation has kept such answers.
    """
    files = weight_files(found.base.folder)
    parameters = sum(
        torch.Size(tensor.shape).numel()
        for file in files
        for tensor in stored_tensors(file).values()
    )
    needed = memory_of(parameters, DTYPES[config.precision])
    place = next((one for one, free in _places(config) if needed <= free), None)
    if place is not None:
        model = load_tuned(found, place)
        spoken = speak(model, prompts.conversations, config.max_new_tokens)
        source = f"computed in {config.precision} on {place.device.type}"
        return Reference(prompts, spoken, config.max_new_tokens, source, model)
    kept = _kept(found, renderer, prompts, store)
    if kept is None:
        raise ConfigError(
            f"a copy of {found.name} takes {needed / 1e9:.2f} GB of memory, more than there is for"
            " it, and its newest evaluation keeps no greedy answers to these prompts",
            "Compare from a machine with room: tunewright parity"
            f" {found.name} --endpoint URL; --precision bfloat16 takes half of it.",
        )
    return kept


def _places(config: ServedConfig) -> Iterator[tuple[Arithmetic, float]]:
    """Where the model could be computed, the fastest first, with the bytes that it may take."""
    dtype = DTYPES[config.precision]
    most = float("inf") if config.memory_gb is None else config.memory_gb * 1e9
    first = pick_device(config.device)
    if first.type == "cuda":
        yield Arithmetic(first, dtype), min(most, torch.cuda.mem_get_info(first)[0])
    if first.type == "cpu" or config.device == "auto":
        yield Arithmetic(torch.device("cpu"), dtype), min(most, free_memory())


def _kept(found: Resolved, renderer: Renderer, prompts: Prompts, store: Store) -> Reference | None:
    """Answers of the newest evaluation that judged the model; it asks greedily."""
    evaluation = newest_evaluation(store, found.model) if found.model else None
    if evaluation is None or evaluation.dataset != prompts.dataset:
        return None
    limit = int(evaluation.config["max_new_tokens"])
    if limit < LEAST_TOKENS:
        return None
    answers = _outputs(found, evaluation, store)
    keys = [(c.prompt().question, c.answer or "") for c in prompts.conversations]
    there = [key in answers for key in keys]
    if not any(there):
        return None
    asked = replace(
        prompts,
        conversations=tuple(compress(prompts.conversations, there)),
        groups=tuple(compress(prompts.groups, there)),
    )
    spoken = [
        Spoken(tuple(renderer.prompt_ids(c.prompt())), (), *answers[key])
        for c, key in zip(asked.conversations, compress(keys, there), strict=True)
    ]
    return Reference(asked, spoken, limit, f"kept by evaluation {evaluation.id}")


def _outputs(
    found: Resolved, evaluation: Evaluation, store: Store
) -> dict[tuple[str, str], tuple[str, bool]]:
    """``{(question, reference): (answer, whether it ended by itself)}``; answers that were held
    to labels are no greedy ones."""
    names = {found.name, found.model.id if found.model else ""}
    answers: dict[tuple[str, str], set[tuple[str, bool]]] = defaultdict(set)
    for line in read_outputs(store.folder(Evaluation, evaluation.id)):
        if line["responder"] in names and "probability" not in line:
            key = line["question"], line["reference"]
            answers[key].add((line["answer"], line["finish_reason"] == "stop"))
    # The same last question after other turns may have another answer: of those none is known.
    return {key: next(iter(several)) for key, several in answers.items() if len(several) == 1}
