"""A step in parts learns what the whole step learns."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import make_rows
from tests.training.rated import keep, passages, preferences, ratings

from tunewright.config.training import TrainConfig
from tunewright.core.errors import Interrupted, TrainingError
from tunewright.core.events import Event, ignore
from tunewright.core.messages import RowKind
from tunewright.core.records import Dataset, Run
from tunewright.core.store import Store
from tunewright.model.references import resolve
from tunewright.training.assemble import Watch, build_job
from tunewright.training.batches import Example
from tunewright.training.history import read_history
from tunewright.training.job import Job
from tunewright.training.memory import out_of_memory
from tunewright.training.methods import METHODS
from tunewright.training.parts import Gathered, gather, parts_of
from tunewright.training.reference import with_reference
from tunewright.training.train import resume, train

Recipe = Callable[..., TrainConfig]
CPU = torch.device("cpu")
ROWS: dict[RowKind, Callable[[int], Sequence[Any]]] = {
    "conversation": make_rows,
    "preference": preferences,
    "rating": ratings,
    "text": passages,
}
CASES: list[tuple[str, RowKind, dict[str, Any]]] = [
    ("sft", "conversation", {}),
    ("pretrain", "text", {}),
    ("dpo", "preference", {}),
    ("dpo", "preference", {"dpo": {"rpo_alpha": 0.5}}),
    ("simpo", "preference", {}),
    ("orpo", "preference", {}),
    ("orpo", "preference", {"orpo": {"loss_on": "answer"}}),
    ("reward", "preference", {}),
    ("kto", "rating", {}),
]


def job_of(store: Store, base: Path, name: str, kind: RowKind, **options: Any) -> Job:
    """A job whose adapter already says something."""
    dataset = keep(store, kind, ROWS[kind](9))
    config = TrainConfig.build(
        {
            "dataset": dataset.id,
            "base": str(base),
            "method": name,
            "precision": "float32",
            "device": "cpu",
            "lora": {"rank": 4},
            **options,
        }
    )
    folder = store.folder(Dataset, dataset.id)
    watch = Watch(time.perf_counter(), ignore)
    job, _ = build_job(config, dataset, resolve(store, str(base)), folder, watch)
    job = with_reference(job, ignore)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in job.parameters.values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return job


def learnt(job: Job, most: int) -> tuple[Gathered, dict[str, torch.Tensor]]:
    """What a step of all units gives, and its gradients."""
    job.model.train()
    found = gather(job.method, job.model, job.train, most, CPU)
    gradients = {name: one.grad.clone() for name, one in job.parameters.items()}
    for parameter in job.parameters.values():
        parameter.grad = None
    return found, gradients


@pytest.mark.parametrize(("name", "kind", "options"), CASES)
def test_parts_add_up_to_the_gradient_of_the_whole(
    store: Store, tiny_base: Path, name: str, kind: RowKind, options: dict[str, Any]
) -> None:
    job = job_of(store, tiny_base, name, kind, **options)
    whole, expected = learnt(job, 10**9)
    largest = max(gradient.abs().max() for gradient in expected.values())
    assert largest > 1e-4
    for most in (1, 2 * max(map(len, job.train))):
        assert len(parts_of(job.train, most)) > 1
        found, gradients = learnt(job, most)
        assert found.tokens == whole.tokens
        assert found.outcome.loss.item() == pytest.approx(whole.outcome.loss.item(), abs=1e-6)
        assert found.outcome.numbers() == pytest.approx(whole.outcome.numbers(), abs=1e-5)
        for key, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "kind", "options"), CASES)
def test_counts_told_before_are_those_of_the_loss(
    store: Store, tiny_base: Path, name: str, kind: RowKind, options: dict[str, Any]
) -> None:
    job = job_of(store, tiny_base, name, kind, **options)
    batch = job.method.collate(job.train)
    counts = tuple(term.count for term in job.method.loss(job.model, batch).terms)
    if METHODS[name].divides():
        assert job.method.counts(batch) == counts
    else:
        with pytest.raises(TypeError, match="KtoMethod cannot be divided"):
            job.method.counts(batch)


def test_only_methods_that_look_at_a_whole_step_stay_whole() -> None:
    assert {name for name, one in METHODS.items() if not one.divides()} == {"kto"}


def test_parts_keep_the_order_and_their_bound() -> None:
    units = [Example(n, array("q", [1] * (3 + n)), array("b", [1] * (3 + n))) for n in range(6)]
    parts = parts_of(units, 9)
    assert [unit for part in parts for unit in part] == units
    assert all(sum(map(len, part)) <= 9 or len(part) == 1 for part in parts)


def history(store: Store, run: str) -> list[tuple[int, float, float]]:
    steps = read_history(store.folder(Run, run))
    return [(step["step"], step["loss"], step["grad_norm"]) for step in steps]


def test_a_run_in_parts_is_the_same_run_and_resumes_bit_for_bit(
    store: Store, recipe: Recipe
) -> None:
    divided = recipe(memory={"micro_tokens": 40})
    whole, parts = train(recipe(), store), train(divided, store)
    one, other = history(store, whole.run), history(store, parts.run)
    assert [step for step, *_ in one] == [step for step, *_ in other]
    for (_, loss, norm), (_, again, norm_again) in zip(one, other, strict=True):
        assert (again, norm_again) == pytest.approx((loss, norm), rel=1e-3)
    summaries = [store.get(Run, model.run).summary for model in (whole, parts)]
    assert summaries[0]["trained_tokens"] == summaries[1]["trained_tokens"]

    config = recipe(memory={"micro_tokens": 40}, lora={"rank": 4, "dropout": 0.3})
    expected = history(store, train(config, store).run)

    def press(event: Event) -> None:
        if event.kind == "step" and event.data["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(config, store, press)
    run = store.list(Run)[0]
    resume(run.id, store)
    assert history(store, run.id) == expected


def test_a_number_that_is_none_names_the_rows_of_the_step(
    store: Store, recipe: Recipe, dataset: Dataset
) -> None:
    config = recipe(memory={"micro_tokens": 16}, optimizer={"learning_rate": 1.0, "beta2": 0.0})
    spoilt = config.model_copy(update={"lora": config.lora.model_copy(update={"alpha": 1e38})})
    with pytest.raises(TrainingError, match=r"which is not a number.*rows\.csv row \d+"):
        train(spoilt, store)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
        (None, False),
    ],
)
def test_the_ways_to_say_that_memory_ran_out(error: BaseException | None, is_it: bool) -> None:
    assert out_of_memory(error) is is_it
