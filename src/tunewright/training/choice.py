"""How a recipe fits a machine: precision, tokens per step, recomputing, 4 or 8 bits, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from tunewright.config.training import TrainConfig
from tunewright.model.known_shapes import known_shapes
from tunewright.model.shapes import Shape
from tunewright.training.estimates import Batch, Estimate, estimate, timed
from tunewright.training.machine import Machine
from tunewright.training.recipes import Facts, Text

Quantize = Literal["none", "nf4", "int8"]
Checkpointing = Literal["none", "full"]
_USABLE = 0.92
"""Share of the free memory that a plan may take: estimates err, and others live there too."""
_FEWEST_TOKENS = 256


@dataclass(frozen=True)
class Choice:
    """A recipe for a machine.

    Attributes:
        config: the recipe.
        estimate: what it takes.
        fits: whether the machine has the memory for it.
        reasons: a sentence on each choice; when it does not fit, what would.
    """

    config: TrainConfig
    estimate: Estimate
    fits: bool
    reasons: tuple[Text, ...]


def choose(
    config: TrainConfig,
    shape: Shape,
    facts: Facts,
    machine: Machine,
    stored: int | None = None,
) -> Choice:
    """The first of a few ways, in the order of what they cost, that fits the free memory.

    Fewer tokens per step cost nearly nothing down to a quarter; recomputing activations costs a
    third more time; 4-bit weights cost time at every step and a little quality.

    Args:
        config: the recipe, with tokens per step and rank chosen; ``quantize`` stays when given.
        shape: of the base.
        facts: what there is to learn from.
        machine: where.
        stored: bytes of the base's files, where known.
    """
    wanted = config.batch_tokens
    given = config.quantize if "quantize" in config.model_fields_set else None
    planned: Choice | None = None
    for way in _ways(wanted, facts.longest, _kinds(config, machine, given)):
        planned = _planned(config, way, shape, facts, machine, stored)
        if planned.fits:
            return planned
    if planned is None:
        raise ValueError("there is always at least one way")
    return replace(planned, reasons=(*planned.reasons, *_instead(planned, facts, machine)))


@dataclass(frozen=True)
class _Way:
    quantize: Quantize
    checkpointing: Checkpointing
    tokens: int


def _kinds(config: TrainConfig, machine: Machine, given: Quantize | None) -> tuple[Quantize, ...]:
    if given is not None or config.tuner in ("full", "freeze"):
        return (config.quantize,)
    return ("none", "nf4" if machine.nf4 else "int8")


def _ways(wanted: int, longest: int, kinds: tuple[Quantize, ...]) -> Iterator[_Way]:
    least = max(longest, min(wanted, _FEWEST_TOKENS))
    halves = [wanted]
    while halves[-1] // 2 >= least:
        halves.append(halves[-1] // 2)
    for quantize in kinds:
        yield from (_Way(quantize, "none", tokens) for tokens in halves[:3])
        yield from (_Way(quantize, "full", tokens) for tokens in halves)


def _planned(
    config: TrainConfig,
    way: _Way,
    shape: Shape,
    facts: Facts,
    machine: Machine,
    stored: int | None,
) -> Choice:
    recipe = config.model_copy(
        update={
            "batch_tokens": way.tokens,
            "quantize": way.quantize,
            "memory": config.memory.model_copy(update={"checkpointing": way.checkpointing}),
            "precision": machine.precision,
        }
    )
    batch = batch_of(facts, way.tokens)
    plan = estimate(shape, recipe, batch, machine.device, machine.precision, stored)
    passes = recipe.epochs or 1
    plan = timed(plan, round(passes * facts.tokens), machine.flops, machine.device)
    fits = plan.memory.peak <= _USABLE * machine.memory
    return Choice(recipe, plan, fits, _reasons(config, way, plan, machine))


def batch_of(facts: Facts, tokens: int) -> Batch:
    """A full batch of average rows, or of the longest row alone."""
    most = max(min(tokens, facts.tokens), facts.longest)
    return Batch(most, round(most * facts.learnt_share), facts.usual)


def _reasons(config: TrainConfig, way: _Way, plan: Estimate, machine: Machine) -> tuple[Text, ...]:
    gigabytes = {
        "peak": plan.memory.peak / 1e9,
        "free": machine.memory / 1e9,
        "weights": plan.memory.weights / 1e9,
        "activations": plan.memory.activations / 1e9,
    }
    found = [_PRECISION[machine.precision]]
    if way.tokens < config.batch_tokens:
        found.append(_FEWER)
    found += [_CHECKPOINTING[way.checkpointing], _QUANTIZE[way.quantize]]
    numbers: dict[str, Any] = {**gigabytes, "tokens": way.tokens, "wanted": config.batch_tokens}
    return tuple(Text(one.en.format(**numbers), one.zh.format(**numbers)) for one in found)


_PRECISION = {
    "bfloat16": Text(
        "bfloat16: this machine multiplies in it directly, at half the memory of float32",
        "bfloat16：本机硬件直接支持，内存占用只有 float32 的一半",
    ),
    "float32": Text(
        "float32: this machine only emulates bfloat16, which would be many times slower",
        "float32：本机只能模拟 bfloat16，会慢很多倍",
    ),
}
_FEWER = Text(
    "{tokens:,} tokens a step instead of {wanted:,}: more would not fit in {free:.1f} GB",
    "每步 {tokens:,} 个 token，而不是 {wanted:,} 个：再多就超出 {free:.1f} GB",
)
_CHECKPOINTING = {
    "none": Text(
        "activations are kept ({activations:.1f} GB): recomputing them takes a third more time",
        "保留激活值（{activations:.1f} GB）：重算要多花约三分之一的时间",
    ),
    "full": Text(
        "activations are recomputed block by block: only so does it fit, for a third more time",
        "逐层重算激活值：只有这样才放得下，时间多约三分之一",
    ),
}
_QUANTIZE: dict[str, Text] = {
    "none": Text(
        "weights stay as they are: there is room for them ({weights:.1f} GB)",
        "权重不量化：放得下（{weights:.1f} GB）",
    ),
    "nf4": Text(
        "the base in 4 bits (QLoRA): its weights take {weights:.1f} GB, and 16 bits would not fit",
        "基座用 4 位（QLoRA）：权重占 {weights:.1f} GB，16 位放不下",
    ),
    "int8": Text(
        "the base in 8 bits: its weights take {weights:.1f} GB, and 16 bits would not fit",
        "基座用 8 位：权重占 {weights:.1f} GB，16 位放不下",
    ),
}


def _instead(planned: Choice, facts: Facts, machine: Machine) -> Iterator[Text]:
    """What would fit where nothing did."""
    peak, free = planned.estimate.memory.peak / 1e9, machine.memory / 1e9
    yield Text(
        f"even so it takes {peak:.1f} GB and {free:.1f} GB are free",
        f"即便如此也需要 {peak:.1f} GB，而可用的只有 {free:.1f} GB",
    )
    if planned.config.tuner in ("full", "freeze"):
        yield Text(
            "tuner=lora takes a fraction of it: no gradients and moments of all weights",
            "改用 tuner=lora 只需要其中一小部分：不必为全部权重保存梯度和动量",
        )
    half = facts.longest // 2
    if half >= _FEWEST_TOKENS:
        yield Text(
            f"rows of at most {half:,} tokens: prepare again with --max-tokens {half}",
            f"缩短样本：重新准备数据，加 --max-tokens {half}",
        )
    smaller = _largest_that_fits(planned, facts, machine)
    if smaller:
        yield Text(f"a smaller base, such as {smaller}", f"换更小的基座，例如 {smaller}")
    need = planned.estimate.memory.peak / _USABLE / 1e9
    yield Text(f"a machine with {need:.0f} GB of free memory", f"换可用内存有 {need:.0f} GB 的机器")


def _largest_that_fits(planned: Choice, facts: Facts, machine: Machine) -> str | None:
    fitting = None
    way = _Way(planned.config.quantize, "full", planned.config.batch_tokens)
    for name, shape in known_shapes().items():
        if _planned(planned.config, way, shape, facts, machine, None).fits:
            fitting = name
    return fitting
