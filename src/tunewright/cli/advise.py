"""``advise``: what to do with a dataset, how, and at what cost, before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.cli.units import seconds, size
from tunewright.config.advice import AdviseConfig
from tunewright.core.errors import Interrupted

if TYPE_CHECKING:
    from tunewright.core.store import Store
    from tunewright.evaluation.advice.decide import Measured
    from tunewright.training.advise import Advice

_WORDS: dict[str, tuple[str, str]] = {
    "fine-tune": ("fine-tune", "微调"),
    "knowledge base": ("a knowledge base rather than fine-tuning", "建知识库，而不是微调"),
    "both": ("fine-tune, and a knowledge base beside it", "微调，并配知识库"),
    "more data": ("more data first", "先收集更多数据"),
    "prompt only": ("no tuning: a prompt with examples does it", "不必微调：用带示例的提示词即可"),
    "nothing": ("nothing: the base is good enough already", "什么都不用做：基座已经够好"),
    "measured": ("measured", "实测"),
    "thumb": ("rule of thumb; --probe measures", "经验判断，--probe 可实测"),
    "recommendation": ("Recommendation", "建议"),
    "recipe": ("Recipe (save as recipe.yaml, then: tunewright train --recipe recipe.yaml)",
               "配方（存为 recipe.yaml，然后：tunewright train --recipe recipe.yaml）"),
    "memory": ("Memory on {name}", "内存（{name}）"),
    "weights": ("weights", "权重"),
    "gradients": ("gradients", "梯度"),
    "optimizer": ("optimizer", "优化器"),
    "activations": ("activations", "激活值"),
    "logits": ("logits", "logits"),
    "overhead": ("process and scratch", "进程与临时空间"),
    "peak": ("at most, at once", "同时最多"),
    "free": ("free now", "当前可用"),
    "trained": ("trained: {trained:,} of {all:,} weights ({share:.2%})",
                "训练 {trained:,} / {all:,} 个参数（{share:.2%}）"),
    "work": ("{rows:,} rows, {tokens:,} tokens a pass, {steps:,} steps",
             "{rows:,} 行，每遍 {tokens:,} 个 token，共 {steps:,} 步"),
    "time": ("about {time} at {speed:,.0f} tokens/s: an estimate, corrected by the first steps",
             "约 {time}，{speed:,.0f} token/s：估算值，前几步之后会按实测更正"),
    "disk": ("checkpoints: up to {disk}, {free} free", "检查点：最多 {disk}，可用 {free}"),
    "unfit": ("It does not fit. What would:", "放不下。可行的办法："),
}  # fmt: skip
_PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "overhead")


@click.command(epilog="Example: tunewright advise legal --base Qwen/Qwen3-4B --memory 24")
@click.argument("dataset", default="latest")
@config_options(AdviseConfig, skip=("dataset",))
@common_options
def advise(common: Common, dataset: str, values: dict[str, Any]) -> None:
    """Say what to do with DATASET: fine-tune, retrieve or both, the recipe, and what it takes.

    Reads the dataset's record and the base's config; no weights are downloaded or loaded. With
    --probe the base is loaded and asked a sample of the training questions, several times and
    without their answers: what it knows and what the answers teach decide then.
    """
    from tunewright.training.advise import advise as advice_on

    store = common.store()
    config = AdviseConfig.build({**values, "dataset": dataset})
    advice = advice_on(config, store)
    measured = _measured(config, store) if config.probe else None
    language = common.settings().language
    console = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)
    _print_decision(advice, measured, language, console)
    _print(advice, language, console)
    common.finish(_data(advice, measured, language))


def _measured(config: AdviseConfig, store: Store) -> Measured:
    from tunewright.evaluation.advice.decide import decide
    from tunewright.evaluation.advice.knowledge import probe

    with Terminal() as terminal:
        try:
            return decide(probe(config, store, terminal))
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped before everything was asked; the answers so far are kept",
                "Run the same command again to go on.",
            ) from None


def _data(advice: Advice, measured: Measured | None, language: str) -> dict[str, Any]:
    data = advice.data(language)
    if measured is None:
        return data
    found = measured.json(language)
    return {
        **data,
        "by_rule_of_thumb": data["recommendation"],
        "recommendation": found["recommendation"],
        "reasons": [*found["reasons"], *(reason.of(language) for reason in advice.how)],
        "probe": found,
    }


def _print_decision(
    advice: Advice, measured: Measured | None, language: str, console: Console
) -> None:
    words = {key: pair[language == "zh"] for key, pair in _WORDS.items()}
    said = measured.decision if measured else advice.recommendation
    how = words["measured" if measured else "thumb"]
    console.print(f"{words['recommendation']} ({how}): {words[said]}", markup=False)
    reasons = measured.texts(language) if measured else []
    planned = advice.how if measured else advice.reasons
    for reason in (*reasons, *(one.of(language) for one in planned)):
        console.print(f"  · {reason}", markup=False)


def _print(advice: Advice, language: str, console: Console) -> None:
    def word(key: str, **numbers: Any) -> str:
        return _WORDS[key][language == "zh"].format(**numbers)

    def say(text: str) -> None:
        console.print(text, markup=False)

    plan = advice.choice.estimate
    say(word("recipe"))
    say(yaml.safe_dump(advice.recipe, sort_keys=False, allow_unicode=True).rstrip())
    for key, one in advice.defaults.items():
        say(f"  · {key} {one.value:g}: {one.reason.of(language)}")
    console.print(_memory(advice, word))
    if not advice.choice.fits:
        say(word("unfit"))
    for choice in advice.choice.reasons:
        say(f"  · {choice.of(language)}")
    total = advice.shape.parameters
    say(word("trained", trained=plan.trained, all=total, share=plan.trained / total))
    say(word("work", rows=advice.facts.rows, tokens=advice.facts.tokens, steps=advice.steps))
    if plan.seconds is not None:
        say(word("time", time=seconds(plan.seconds), speed=plan.tokens_per_second))
    say(word("disk", disk=size(plan.disk), free=size(advice.machine.disk)))


def _memory(advice: Advice, word: Any) -> Table:
    memory = advice.choice.estimate.memory
    table = Table(title=word("memory", name=advice.machine.name), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for part in _PARTS:
        table.add_row(word(part), size(getattr(memory, part)))
    table.add_section()
    table.add_row(word("peak"), size(memory.peak))
    table.add_row(word("free"), size(advice.machine.memory))
    return table
