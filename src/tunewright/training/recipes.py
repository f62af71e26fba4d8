"""Defaults of a run, each with its reason, from the base's size and what there is to learn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tunewright.config.training import TrainConfig
from tunewright.model.shapes import Shape
from tunewright.training.counts import trained_weights
from tunewright.training.schedule import default_learning_rate

SMALLEST_RANK, LARGEST_RANK = 8, 64
MOST_EPOCHS = 10.0
_STEPS_WANTED = 100
_LEAST_TOKENS, _MOST_TOKENS = 512, 16_384
_DOCUMENTS = 8
"""Rows that a step should hold at least: with fewer its gradient is mostly noise."""


@dataclass(frozen=True)
class Text:
    """A sentence in both languages."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """Chinese for ``zh``, else English."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class Default:
    """A knob's value and why it is this one."""

    value: Any
    reason: Text


@dataclass(frozen=True)
class Facts:
    """What there is to learn from.

    Attributes:
        rows: training rows.
        tokens: of all training rows, once.
        supervised: those of them that are learnt.
        longest: tokens of the longest row.
        usual: tokens of the middle row; the mean when not known.
    """

    rows: int
    tokens: int
    supervised: int
    longest: int
    usual: int

    @property
    def mean(self) -> float:
        """Tokens of a row."""
        return self.tokens / max(1, self.rows)

    @property
    def learnt_share(self) -> float:
        """Learnt tokens of all, 0..1."""
        return min(1.0, self.supervised / max(1, self.tokens))


@dataclass(frozen=True)
class Usual:
    """What a method and a tuner change about the defaults of sft with LoRA.

    Attributes:
        rate: learning rate as a multiple.
        rate_reason: why, in words, or nothing.
        epochs: the method's own number of passes; None leaves it to the rows.
        epochs_reason: why.
    """

    rate: float = 1.0
    rate_reason: str = ""
    epochs: float | None = None
    epochs_reason: str = ""


def usual(parameters: int, config: TrainConfig) -> Usual:
    """What the tables of methods and tuners say; loads torch, as they do."""
    from tunewright.model.tuners.table import TUNERS
    from tunewright.training.methods import METHODS

    chosen, tuner = METHODS[config.method], TUNERS[config.tuner]
    share, why = chosen.rate.at(parameters)
    reasons = [] if tuner.rate == 1 else [f"{tuner.rate:g} times that for {config.tuner}"]
    if share != 1:
        reasons.append(f"{share:.2g} times that for {config.method}: {why}")
    return Usual(
        rate=share * tuner.rate,
        rate_reason="; ".join(reasons),
        epochs=None if config.method == "sft" else chosen.epochs,
        epochs_reason=chosen.epochs_reason,
    )


def chosen(
    config: TrainConfig, shape: Shape | None, facts: Facts, rank_before: int | None = None
) -> tuple[TrainConfig, dict[str, Default]]:
    """The recipe with the knobs that nobody set, and why they are what they are.

    The learning rate is left out: it depends on the weights once they are loaded.

    Args:
        config: the recipe; what was given in it stays.
        shape: of the base, where it can be told.
        facts: what there is to learn from.
        rank_before: of the adapter that the run starts from, which it can only go on with.
    """
    found: dict[str, Default] = {}
    update: dict[str, Any] = {}
    if config.epochs is None and config.max_steps is None and config.method == "sft":
        found["epochs"] = epochs(facts, Usual())
        update["epochs"] = found["epochs"].value
    # Texts are cut to the size of a batch, which is therefore not chosen by their lengths.
    if "batch_tokens" not in config.model_fields_set and config.method != "pretrain":
        found["batch_tokens"] = batch_tokens(facts, config.batch_rows)
        update["batch_tokens"] = found["batch_tokens"].value
    if config.tuner == "lora" and "rank" not in config.lora.model_fields_set:
        found["lora.rank"] = rank(shape, facts, config)
        if rank_before is not None:
            found["lora.rank"] = Default(rank_before, _RANK_BEFORE)
        lora = config.lora.model_copy(update={"rank": found["lora.rank"].value})
        update["lora"] = lora
    return config.model_copy(update=update), found


def defaults(
    shape: Shape | None, parameters: int, facts: Facts, config: TrainConfig, of: Usual
) -> dict[str, Default]:
    """Dotted knob → value and reason, for every knob that the data and the base decide.

    Args:
        shape: of the base; without it the rank is not fitted to what there is to learn.
        parameters: weights of the base.
        facts: what there is to learn from.
        config: the recipe; method and tuner are read from it.
        of: what method and tuner change.
    """
    tokens = batch_tokens(facts)
    passes = epochs(facts, of)
    steps = max(1, math.ceil(passes.value * facts.tokens / tokens.value))
    found = {
        "epochs": passes,
        "batch_tokens": tokens,
        "optimizer.learning_rate": rate(parameters, of),
        "optimizer.warmup": warmup(steps),
    }
    if config.tuner == "lora":
        found["lora.rank"] = rank(shape, facts, config)
    return found


_RANK_BEFORE = Text("that of the adapter it goes on with", "与所接着训练的适配器相同")


def rank(shape: Shape | None, facts: Facts, config: TrainConfig) -> Default:
    """A rank with as many weights as there are tokens to learn, a power of two in bounds.

    A weight holds about as much as a token has to say, so LoRA falls behind full tuning when it
    has fewer weights than the learnt tokens (Schulman et al. 2025, "LoRA Without Regret").
    """
    if shape is None:
        return Default(16, Text("a rank that suits most data", "适合大多数数据的秩"))
    single = config.model_copy(update={"lora": config.lora.model_copy(update={"rank": 1})})
    needed = facts.supervised / max(1, trained_weights(shape, single))
    power = 2 ** math.ceil(math.log2(max(1.0, needed)))
    value = min(max(power, SMALLEST_RANK), LARGEST_RANK)
    weights = value * trained_weights(shape, single)
    numbers = {"learnt": facts.supervised, "weights": weights}
    return Default(value, _filled(_RANK[(value > power) - (value < power)], numbers))


_RANK = {
    0: Text(
        "{weights:,} weights for {learnt:,} learnt tokens: at least one each",
        "{weights:,} 个参数对应 {learnt:,} 个要学的 token，每个 token 至少一个",
    ),
    1: Text(
        "the smallest rank: its {weights:,} weights already outnumber {learnt:,} learnt tokens",
        "最小的秩：{weights:,} 个参数已经多于要学的 {learnt:,} 个 token",
    ),
    -1: Text(
        "the largest rank by default: {weights:,} weights for {learnt:,} learnt tokens; a higher"
        " rank or full tuning can learn more",
        "默认的最大秩：{weights:,} 个参数对应 {learnt:,} 个要学的 token；更高的秩或全参数微调"
        "能学到更多",
    ),
}


def rate(parameters: int, of: Usual) -> Default:
    """Peak learning rate; see ``default_learning_rate``."""
    value, reason = default_learning_rate(parameters)
    size = f"{parameters / 1e6:,.0f}M"
    english = reason + (f"; {of.rate_reason}" if of.rate_reason else "")
    chinese = f"{size} 参数基座的默认值，取自公开的对比试验和自带基座上的实测"
    if of.rate != 1:
        chinese += f"；这种方法和微调方式取其 {of.rate:.3g} 倍"
    return Default(float(f"{value * of.rate:.6g}"), Text(english, chinese))


# (most rows, epochs): few rows need several passes before they show, many need one or two.
_EPOCHS = ((50, 10.0), (200, 6.0), (1_000, 4.0), (10_000, 3.0), (100_000, 2.0), (math.inf, 1.0))


def epochs(facts: Facts, of: Usual) -> Default:
    """Passes over the rows, the fewer the more rows there are.

    The best of the validation losses decides which step is kept, so that a pass too many costs
    time and not quality.
    """
    if of.epochs is not None:
        reason = of.epochs_reason or "usual for this method"
        return Default(of.epochs, Text(reason, "这种方法的常用值"))
    value = next(passes for most, passes in _EPOCHS if facts.rows <= most)
    words = Text(
        "{rows:,} rows: the fewer rows, the more passes; the step with the lowest validation loss"
        " is kept",
        "{rows:,} 行：行数越少，遍数越多；最终保留验证损失最低的一步",
    )
    return Default(value, _filled(words, {"rows": facts.rows}))


def batch_tokens(facts: Facts, rows: int | None = None) -> Default:
    """Tokens per step: room for several rows, but enough steps in an epoch to learn in.

    LoRA loses more than full tuning to large batches (Schulman et al. 2025).

    Args:
        facts: what there is to learn from.
        rows: so many rows of mean length, when somebody said so.
    """
    if rows is not None:
        words = Text(
            "{rows:,} rows of {mean:,.0f} tokens", "{rows:,} 行，平均每行 {mean:,.0f} 个 token"
        )
        value = max(16, round(rows * facts.mean))
        return Default(value, _filled(words, {"rows": rows, "mean": facts.mean}))
    wanted = max(_DOCUMENTS * facts.mean, facts.tokens / _STEPS_WANTED, _LEAST_TOKENS)
    power = 2 ** round(math.log2(wanted))
    longest = 2 ** math.ceil(math.log2(max(1, facts.longest)))
    value = max(min(power, _MOST_TOKENS), longest)
    words = Text(
        "about {rows:,.0f} rows a step, {steps:,.0f} steps an epoch",
        "每步约 {rows:,.0f} 行，每遍约 {steps:,.0f} 步",
    )
    numbers = {
        "rows": max(1.0, value / max(1.0, facts.mean)),
        "steps": max(1.0, facts.tokens / value),
    }
    return Default(value, _filled(words, numbers))


def warmup(steps: int) -> Default:
    """Share of the steps over which the rate rises: about five steps at least."""
    if steps >= _STEPS_WANTED:
        return Default(0.05, Text("a twentieth of the steps", "总步数的二十分之一"))
    value = round(min(0.2, 5 / steps), 2)
    words = Text("about five of {steps:,} steps", "{steps:,} 步中的前五步左右")
    return Default(value, _filled(words, {"steps": steps}))


def _filled(words: Text, numbers: dict[str, Any]) -> Text:
    return Text(words.en.format(**numbers), words.zh.format(**numbers))
