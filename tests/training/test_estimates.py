"""The plan's numbers are those of what really happens: weights, kept tensors, operations."""

from __future__ import annotations

import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tunewright.config.training import TrainConfig
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.folders import read_json
from tunewright.model.known_shapes import known_shapes
from tunewright.model.shapes import Shape, shape_of
from tunewright.model.tunable import Start, Tunable, make_tunable
from tunewright.training.batches import Example, PackedBatch, collate
from tunewright.training.counts import trained_weights
from tunewright.training.estimates import (
    RUNTIME,
    Batch,
    Memory,
    block_activations,
    estimate,
    flops_per_token,
    mlp_activations,
)
from tunewright.training.losses import next_token_loss
from tunewright.training.pace import Draw, corrected, timed, timed_drawing
from tunewright.training.recompute import Checkpointing, recompute

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
LENGTH, ROWS = 32, 4  # a length that is not rounded up
RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"tuner": "lora", "lora": {"rank": 4}},
    "lora on attention": {"tuner": "lora", "lora": {"rank": 3, "targets": ["attention"]}},
    "lora but one": {"tuner": "lora", "lora": {"rank": 3, "exclude": ["down_proj"]}},
    "dora": {"tuner": "lora", "lora": {"rank": 4, "dora": True}},
    "full": {"tuner": "full"},
    "freeze": {"tuner": "freeze", "freeze": {"blocks": 1}},
    "ia3": {"tuner": "ia3"},
    "prefix": {"tuner": "prefix", "prefix": {"tokens": 5}},
    "projected prefix": {"tuner": "prefix", "prefix": {"tokens": 5, "projection": 7}},
    "bottleneck": {"tuner": "bottleneck", "bottleneck": {"size": 6, "placement": "both"}},
}


def recipe(base: Path, **values: Any) -> TrainConfig:
    return TrainConfig.build({"dataset": "any", "base": str(base), **values})


def tunable(base: Path, config: TrainConfig, offline: Settings, dtype: torch.dtype) -> Tunable:
    made = make_tunable(Start(resolve_base(str(base), offline)), config, CPU, dtype)
    made.model.train()
    return made


@pytest.fixture
def offline(home: Path) -> Settings:
    return Settings(home=home, offline=True)


@pytest.fixture
def shape(tiny_base: Path) -> Shape:
    return shape_of(read_json(tiny_base / "config.json"))


def packed() -> PackedBatch:
    """Four rows, half of their tokens learnt."""
    half = LENGTH // 2
    mask = array("b", [0] * half + [1] * half)
    ids = array("q", range(5, 5 + LENGTH))
    return collate([Example(row, ids, mask) for row in range(ROWS)])


BATCH = Batch(LENGTH * ROWS, LENGTH * ROWS // 2, LENGTH)


@pytest.mark.parametrize("name", RECIPES)
def test_trained_weights_are_those_that_tuners_train(
    tiny_base: Path, shape: Shape, offline: Settings, name: str
) -> None:
    config = recipe(tiny_base, **RECIPES[name])
    made = tunable(tiny_base, config, offline, torch.float32)
    found = sum(p.numel() for p in made.trained.parameters.values())
    assert trained_weights(shape, config) == found


def kept_bytes(made: Tunable, batch: PackedBatch) -> int:
    """What autograd keeps of a forward pass besides the model's own weights."""
    own = {p.untyped_storage().data_ptr() for p in made.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next_token_loss(made.model, batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["lora", "lora on attention", "full", "freeze"])
def test_activations_are_what_autograd_keeps(
    tiny_base: Path,
    shape: Shape,
    offline: Settings,
    name: str,
    precision: str,
    checkpointing: Checkpointing,
) -> None:
    config = recipe(tiny_base, **RECIPES[name], memory={"checkpointing": checkpointing})
    made = tunable(tiny_base, config, offline, getattr(torch, precision))
    recompute(made.model, checkpointing)
    # The difference of two sizes: what does not grow with the tokens is no activation.
    once, twice = packed(), packed()
    mask = array("b", [0] * LENGTH + [1] * LENGTH)
    rows = [Example(row, array("q", range(5, 5 + 2 * LENGTH)), mask) for row in range(ROWS)]
    twice = collate(rows)
    found = kept_bytes(made, twice) - kept_bytes(made, once)
    plan = estimate(shape, config, BATCH, "cpu", precision)  # type: ignore[arg-type]
    # Cross-entropy keeps one float32 of the twelve bytes that its backward pass will take.
    expected = plan.memory.activations + plan.memory.logits / 3
    # What the backward pass makes again, one block or one MLP at a time, is not there yet.
    width = 4 if precision == "float32" else 2
    again = {"full": block_activations, "selective": mlp_activations}.get(checkpointing)
    expected -= again(shape, config, width) * BATCH.tokens if again else 0
    assert found == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
@pytest.mark.parametrize(
    "options",
    [
        {"lora": {"rank": 4, "dropout": 0.3}},
        {"tuner": "bottleneck", "bottleneck": {"placement": "both"}},
        {"tuner": "full"},
        {"quantize": "int8"},
    ],
)
def test_recomputing_changes_no_loss_and_no_gradient(
    tiny_base: Path, offline: Settings, options: dict[str, Any], checkpointing: Checkpointing
) -> None:
    made = tunable(tiny_base, recipe(tiny_base, **options), offline, torch.bfloat16)

    def learnt() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        torch.manual_seed(3)
        loss = next_token_loss(made.model, packed())
        loss.backward()
        parameters = made.trained.parameters
        found = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
        made.model.zero_grad(set_to_none=True)
        return loss, found

    plain, gradients = learnt()
    recompute(made.model, checkpointing)
    again, repeated = learnt()
    assert torch.equal(plain, again)
    assert gradients.keys() == repeated.keys()
    for name, gradient in repeated.items():
        assert torch.equal(gradient, gradients[name])


def test_recomputing_more_keeps_less(shape: Shape) -> None:
    kept, made = [], []
    for checkpointing in ("none", "selective", "full"):
        config = recipe(Path("x"), memory={"checkpointing": checkpointing})
        kept.append(estimate(shape, config, BATCH, "cpu", "float32").memory.activations)
        made.append(flops_per_token(shape, config, BATCH))
    assert kept == sorted(kept, reverse=True)
    assert made == sorted(made)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_operations_are_those_that_are_counted(
    tiny_base: Path, shape: Shape, offline: Settings, name: str
) -> None:
    config = recipe(tiny_base, **{**RECIPES[name], "lora": {"rank": 1}})
    made = tunable(tiny_base, config, offline, torch.float32)
    rows = [Example(0, array("q", range(5, 5 + LENGTH)), array("b", [1] * LENGTH))]
    with FlopCounterMode(display=False) as counter:
        next_token_loss(made.model, collate(rows)).backward()
    batch = Batch(LENGTH, LENGTH - 1, LENGTH)
    per_token = counter.get_total_flops() / LENGTH
    # The counter does not see into the adapter's own backward pass, nor this processor's attention.
    assert flops_per_token(shape, config, batch) == pytest.approx(per_token, rel=0.3)


def test_chatglm3_takes_what_its_own_demo_reports() -> None:
    """14,082 MiB by the fine-tuning demo's README; 5.6 to 6 GB in 4 bits, without the context."""
    shape = known_shapes()["ChatGLM3-6B"]
    batch = Batch(2048, 512, 2048)
    options = {"lora": {"rank": 8}, "memory": {"checkpointing": "full"}}
    lora = estimate(shape, recipe(Path("x"), **options), batch, "cuda", "bfloat16")
    assert lora.memory.peak == pytest.approx(14_082 * 2**20, rel=0.02)
    assert 13.9e9 <= lora.memory.peak - RUNTIME["cuda"] <= 14.2e9
    options["quantize"] = "nf4"
    small = estimate(shape, recipe(Path("x"), **options), batch, "cuda", "bfloat16")
    assert 5.6e9 <= small.memory.peak - RUNTIME["cuda"] <= 6e9


def test_the_peak_counts_gradients_and_activations_once() -> None:
    memory = Memory(10, 5, 3, 20, 4, 1)
    assert memory.peak == 10 + 3 + 1 + 24
    assert Memory(10, 50, 3, 20, 4, 1).peak == 10 + 3 + 1 + 50
    assert Memory(10, 5, 3, 20, 4, 1, loading=90).peak == 91
    assert memory.data()["peak"] == memory.peak


def test_time_comes_from_speed_and_is_corrected_by_measured_steps() -> None:
    shape = known_shapes()["Qwen3-0.6B"]
    config = recipe(Path("x"))
    plan = estimate(shape, config, Batch(1024, 512, 200), "cuda", "bfloat16")
    assert plan.seconds is None
    slow, fast = (timed(plan, 10**6, speed, "cuda") for speed in (1e13, 4e13))
    assert slow.seconds == pytest.approx(4 * (fast.seconds or 0))
    assert not slow.measured
    measured = corrected(slow, 500.0)
    assert (measured.measured, measured.seconds) == (True, 2000.0)
    assert measured.memory == slow.memory
    assert timed(plan, 10**6, None, "cuda").seconds is None


def test_drawing_answers_takes_its_time() -> None:
    shape = known_shapes()["Qwen3-0.6B"]
    plan = estimate(shape, recipe(Path("x")), Batch(1024, 512, 200), "cuda", "bfloat16")

    def seconds(drawn: int = 60_000, updates: int = 1, looks: int = 0) -> float:
        draw = Draw(100_000, drawn, updates, looks)
        return timed_drawing(plan, draw, 1e13, "cuda").seconds or 0

    learning = timed(plan, 100_000, 1e13, "cuda").seconds or 0
    assert seconds(drawn=0) == pytest.approx(learning)
    # A forward pass is half of a step of frozen weights.
    assert seconds(drawn=0, looks=2) == pytest.approx(2 * learning)
    assert seconds(updates=2) - seconds() == pytest.approx(learning)
    assert seconds() > 2 * learning
    unknown = timed_drawing(plan, Draw(100, 60, 1, 0), None, "cuda")
    assert (unknown.seconds, unknown.tokens, unknown.bound) == (None, 100, True)


def test_memory_grows_with_what_it_should() -> None:
    shape = known_shapes()["Qwen3-8B"]

    def peak(tokens: int = 1024, **options: Any) -> int:
        batch = Batch(tokens, tokens // 2, 300)
        return estimate(shape, recipe(Path("x"), **options), batch, "cuda", "bfloat16").memory.peak

    lora = peak()
    assert peak(tokens=4096) > lora > peak(quantize="int8") > peak(quantize="nf4")
    assert peak(lora={"rank": 64}) > lora > peak(memory={"checkpointing": "full"})
    assert peak(tuner="full") > 5 * lora


def test_weights_made_smaller_leave_holes_on_a_processor_if_they_are_small(shape: Shape) -> None:
    def overhead(one: Shape, kind: str, stored: int) -> int:
        config = recipe(Path("x"), lora={"rank": 1}, quantize=kind)
        memory = estimate(one, config, BATCH, "cpu", "float32", stored * one.parameters).memory
        return memory.overhead - 4 * max(linear.weights for linear in one.linears)

    usual = overhead(shape, "none", 2) + 4 * max(linear.weights for linear in shape.linears)
    assert overhead(shape, "int8", 2) == usual + 4 * shape.linear_weights
    assert overhead(shape, "int8", 4) == usual  # the file's own pages
    large = known_shapes()["ChatGLM3-6B"]
    usual = overhead(large, "none", 2) + 4 * max(linear.weights for linear in large.linears)
    # Only keys and values are small enough to be kept.
    assert overhead(large, "int8", 2) - usual < 0.02 * 4 * large.linear_weights


def test_planning_loads_no_torch() -> None:
    program = (
        "import sys, tunewright.training.estimates, tunewright.training.recipes,"
        " tunewright.training.choice, tunewright.training.advise, tunewright.model.shapes\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_documented_tables_are_in_step() -> None:
    command = [sys.executable, "-m", "tools.memory_table", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
