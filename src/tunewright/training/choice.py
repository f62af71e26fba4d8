"""How a recipe fits a machine: parts of a step, recomputing, 4 or 8 bits, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from tunewright.config.training import TrainConfig
from tunewright.model.known_shapes import known_shapes
from tunewright.model.shapes import Shape
from tunewright.training.estimates import Batch, Estimate, estimate
from tunewright.training.machine import Machine
from tunewright.training.pace import timed
from tunewright.training.plan import readable_size
from tunewright.training.recipes import Default, Facts, Text

Quantize = Literal["none", "nf4", "int8"]
Checkpointing = Literal["none", "selective", "full"]
_USABLE = 0.92
"""Share of the free memory that a plan may take: estimates err, and others live there too."""
_FEWEST_TOKENS = 256
_CHEAP_HALVINGS = 2
"""Passes of a quarter of a step still fill a processor; recomputing is tried before less."""


@dataclass(frozen=True)
class Need:
    """What a run asks of a machine.

    Attributes:
        shape: of the base.
        facts: what there is to learn from.
        stored: bytes of the base's files, where known.
        divides: whether the method can learn a step's batch in parts.
        largest: the largest pass when parts have at most so many tokens; a full batch of average
            rows, or the longest row alone, where the batches are not known.
    """

    shape: Shape
    facts: Facts
    stored: int | None = None
    divides: bool = True
    largest: Callable[[int], Batch] | None = None

    def batch(self, tokens: int) -> Batch:
        """The largest pass."""
        return (self.largest or partial(batch_of, self.facts))(tokens)


@dataclass(frozen=True)
class Choice:
    """A recipe for a machine.

    Attributes:
        config: the recipe, with everything about memory decided.
        estimate: what it takes.
        fits: whether the machine has the memory for it.
        chosen: dotted knob → value and reason, for knobs that nobody set.
        instead: what would fit when it does not.
    """

    config: TrainConfig
    estimate: Estimate
    fits: bool
    chosen: dict[str, Default]
    instead: tuple[Text, ...] = ()

    @property
    def reasons(self) -> tuple[Text, ...]:
        """A sentence on each choice; when it does not fit, what would."""
        found = [
            Text(f"{key} {one.value}: {one.reason.en}", f"{key} {one.value}：{one.reason.zh}")
            for key, one in self.chosen.items()
        ]
        return (*found, *self.instead)


def choose(config: TrainConfig, need: Need, machine: Machine) -> Choice:
    """The first of a few ways, in the order of what they cost, that fits the free memory.

    Going through a step's batch in parts costs nearly nothing down to a quarter; recomputing the
    MLPs a fifth more time, recomputing everything a third; 4-bit weights cost time at every step
    and a little quality, and on a processor so much time that they are only proposed.

    Args:
        config: the recipe, with tokens per step and rank chosen; what is given in it stays.
        need: what it is for.
        machine: where.
    """
    planned: Choice | None = None
    for way in _ways(config, need, machine):
        planned = _planned(config, way, need, machine)
        if planned.fits:
            return planned
    if planned is None:
        raise ValueError("there is always at least one way")
    return replace(planned, instead=tuple(_instead(planned, need, machine)))


@dataclass(frozen=True)
class _Way:
    quantize: Quantize
    checkpointing: Checkpointing
    tokens: int


def _ways(config: TrainConfig, need: Need, machine: Machine) -> Iterator[_Way]:
    sizes = _sizes(config, need)
    given = config.memory.checkpointing
    kinds: tuple[Checkpointing, ...] = ("none", "selective", "full")
    if given != "auto":
        kinds = (given,)
    for quantize in _quantizations(config, machine):
        for kind in kinds:
            tried = sizes if kind == kinds[-1] else sizes[: _CHEAP_HALVINGS + 1]
            yield from (_Way(quantize, kind, tokens) for tokens in tried)


def _sizes(config: TrainConfig, need: Need) -> list[int]:
    """Most tokens of a part, from a whole step's downwards."""
    wanted = config.batch_tokens
    if not need.divides:
        return [wanted]
    if config.memory.micro_tokens is not None:
        return [min(config.memory.micro_tokens, wanted)]
    least = max(need.facts.longest, min(wanted, _FEWEST_TOKENS))
    sizes = [wanted]
    while sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    return sizes


def _quantizations(config: TrainConfig, machine: Machine) -> tuple[Quantize, ...]:
    if "quantize" in config.model_fields_set or not _quantizable(config):
        return (config.quantize,)
    return ("none",) if machine.device == "cpu" else ("none", "nf4" if machine.nf4 else "int8")


def _quantizable(config: TrainConfig) -> bool:
    return config.tuner not in ("full", "freeze")


def _planned(config: TrainConfig, way: _Way, need: Need, machine: Machine) -> Choice:
    memory = {"checkpointing": way.checkpointing, "micro_tokens": way.tokens}
    decided = {"quantize": way.quantize, "memory": config.memory.model_copy(update=memory)}
    recipe = config.model_copy(update=decided)
    batch = need.batch(way.tokens)
    plan = estimate(need.shape, recipe, batch, machine.device, machine.precision, need.stored)
    passes = recipe.epochs or 1
    plan = timed(plan, round(passes * need.facts.tokens), machine.flops, machine.device)
    fits = plan.memory.peak <= _USABLE * machine.memory
    return Choice(recipe, plan, fits, _chosen(config, way, plan, machine))


def batch_of(facts: Facts, tokens: int) -> Batch:
    """A full batch of average rows, or of the longest row alone."""
    most = max(min(tokens, facts.tokens), facts.longest)
    return Batch(most, round(most * facts.learnt_share), facts.usual)


def _chosen(config: TrainConfig, way: _Way, plan: Estimate, machine: Machine) -> dict[str, Default]:
    """What nobody set, with reasons."""
    numbers: dict[str, Any] = {
        "free": readable_size(machine.memory),
        "weights": readable_size(plan.memory.weights),
        "activations": readable_size(plan.memory.activations),
        "tokens": way.tokens,
        "wanted": config.batch_tokens,
    }
    found: dict[str, tuple[Any, Text]] = {}
    if config.precision == "auto":
        found["precision"] = (machine.precision, _PRECISION[machine.precision])
    if config.memory.micro_tokens is None:
        divided = way.tokens < config.batch_tokens
        found["memory.micro_tokens"] = (way.tokens, _MICRO[divided])
    if config.memory.checkpointing == "auto":
        found["memory.checkpointing"] = (way.checkpointing, _CHECKPOINTING[way.checkpointing])
    if "quantize" not in config.model_fields_set and _quantizable(config):
        found["quantize"] = (way.quantize, _QUANTIZE[way.quantize])
    return {
        key: Default(value, Text(words.en.format(**numbers), words.zh.format(**numbers)))
        for key, (value, words) in found.items()
    }


_PRECISION = {
    "bfloat16": Text(
        "this machine multiplies in it directly, at half the memory of float32",
        "本机硬件直接支持 bfloat16，内存占用只有 float32 的一半",
    ),
    "float32": Text(
        "this machine only emulates bfloat16, which would be many times slower",
        "本机只能模拟 bfloat16，会慢很多倍，所以用 float32",
    ),
}
_MICRO = {
    False: Text(
        "a step goes through the model at once: there is room in {free}",
        "每步一次算完：{free} 放得下",
    ),
    True: Text(
        "a step of {wanted:,} tokens goes through the model in parts: more at once would not fit"
        " in {free}; what is learnt stays the same",
        "每步 {wanted:,} 个 token 分几次算，每次最多 {tokens:,} 个：再多就超出 {free}；"
        "学到的内容不变",
    ),
}
_CHECKPOINTING = {
    "none": Text(
        "activations are kept ({activations}): recomputing them would take longer",
        "保留激活值（{activations}）：重算要多花时间",
    ),
    "selective": Text(
        "the MLPs' activations are recomputed: keeping them would not fit; a fifth more time",
        "重算 MLP 的激活值：全部保留放不下；时间多约五分之一",
    ),
    "full": Text(
        "activations are recomputed block by block: only so does it fit; a third more time",
        "逐层重算激活值：只有这样才放得下；时间多约三分之一",
    ),
}
_QUANTIZE: dict[str, Text] = {
    "none": Text(
        "weights stay as they are: there is room for them ({weights})",
        "权重不量化：放得下（{weights}）",
    ),
    "nf4": Text(
        "the base in 4 bits (QLoRA): its weights take {weights}, and 16 bits would not fit",
        "基座用 4 位（QLoRA）：权重占 {weights}，16 位放不下",
    ),
    "int8": Text(
        "the base in 8 bits: its weights take {weights}, and 16 bits would not fit",
        "基座用 8 位：权重占 {weights}，16 位放不下",
    ),
}


def _instead(planned: Choice, need: Need, machine: Machine) -> Iterator[Text]:
    """What would fit where nothing did."""
    peak = readable_size(planned.estimate.memory.peak)
    free = readable_size(machine.memory)
    yield Text(
        f"even so it takes {peak}; of {free} that are free, {_USABLE:.0%} are planned with",
        f"即便如此也需要 {peak}，而可用的 {free} 只按 {_USABLE:.0%} 计划",
    )
    yield from _other_knobs(planned, need, machine)
    half = need.facts.longest // 2
    if half >= _FEWEST_TOKENS:
        yield Text(
            f"rows of at most {half:,} tokens: prepare again with --max-tokens {half}",
            f"缩短样本：重新准备数据，加 --max-tokens {half}",
        )
    smaller = _largest_that_fits(planned, need, machine)
    if smaller:
        yield Text(f"a smaller base, such as {smaller}", f"换更小的基座，例如 {smaller}")
    gigabytes = planned.estimate.memory.peak / _USABLE / 1e9
    yield Text(
        f"a machine with {gigabytes:.0f} GB of free memory",
        f"换可用内存有 {gigabytes:.0f} GB 的机器",
    )


def _other_knobs(planned: Choice, need: Need, machine: Machine) -> Iterator[Text]:
    """What the recipe itself could say."""
    config = planned.config
    if not _quantizable(config):
        yield Text(
            "tuner=lora takes a fraction of it: no gradients and moments of all weights",
            "改用 tuner=lora 只需要其中一小部分：不必为全部权重保存梯度和动量",
        )
    if not need.divides:
        half = max(16, config.batch_tokens // 2)
        yield Text(
            f"batch_tokens={half}: {config.method} looks at a step's rows together, so that a step"
            " cannot go through the model in parts",
            f"batch_tokens={half}：{config.method} 要同时看一步里的所有样本，不能分几次算",
        )
    if config.memory.checkpointing != "full":
        yield Text("memory.checkpointing=full", "memory.checkpointing=full（重算激活值）")
    if config.quantize == "none" and _quantizable(config) and machine.device == "cpu":
        way = _Way("int8", "full", config.memory.micro_tokens or config.batch_tokens)
        smaller = _planned(config, way, need, machine)
        if smaller.fits:
            size = readable_size(smaller.estimate.memory.peak)
            yield Text(
                f"quantize=int8 takes {size}; on a processor it is slower",
                f"quantize=int8 需要 {size}；在处理器上会更慢",
            )


def _largest_that_fits(planned: Choice, need: Need, machine: Machine) -> str | None:
    fitting = None
    config = planned.config
    way = _Way(config.quantize, "full", config.memory.micro_tokens or config.batch_tokens)
    for name, shape in known_shapes().items():
        other = replace(need, shape=shape, stored=None)
        if shape.parameters < need.shape.parameters and _planned(config, way, other, machine).fits:
            fitting = name
    return fitting
