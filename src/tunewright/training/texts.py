"""Every sentence about a run, in English and Chinese, declared once. Loads no torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tunewright.core.language import LANGUAGES, Sentences


class Texts(Sentences):
    """What is said of a run, in one language."""

    def __init__(self, language: str) -> None:
        super().__init__(SENTENCES, language)


def both(key: str, **values: object) -> dict[str, str]:
    """A sentence in every language: ``{"en": …, "zh": …}``."""
    return {language: Texts(language)(key, **values) for language in LANGUAGES}


SENTENCES: Final = MappingProxyType(
    {
        # Diagnoses: what is wrong …
        "diagnosis.spike": (
            "The loss jumped from about {before:.3g} to {now:.3g} and stayed there for {steps} "
            "steps: the learning rate is probably too high.",
            "损失从约 {before:.3g} 跳到 {now:.3g}，并持续了 {steps} 步：学习率很可能过高。",
        ),
        "diagnosis.divergence": (
            "The training loss has been rising, from {before:.3g} at its lowest to {now:.3g}: "
            "the run is diverging, most often from too high a learning rate.",
            "训练损失持续上升，从最低的 {before:.3g} 升到 {now:.3g}：训练正在发散，"
            "最常见的原因是学习率过高。",
        ),
        "diagnosis.memorising": (
            "The training loss is close to zero ({now:.2g}) after {epoch:.1f} passes over {rows} "
            "rows: the model is learning them by heart.",
            "在 {rows} 条数据上训练 {epoch:.1f} 遍后，训练损失已接近零（{now:.2g}）："
            "模型正在死记硬背。",
        ),
        "diagnosis.overfitting": (
            "Overfitting: the validation loss has risen from {best:.4g} at step {best_step} to "
            "{now:.4g}, while the training loss still falls. Step {best_step} is the best so far.",
            "过拟合：验证损失从第 {best_step} 步的 {best:.4g} 升到 {now:.4g}，而训练损失仍在下降。"
            "目前最好的是第 {best_step} 步。",
        ),
        "diagnosis.vanishing": (
            "The gradients have all but vanished (norm {now:.1e}) although the loss is still "
            "{loss:.3g}: nearly nothing is being learnt.",
            "损失仍有 {loss:.3g}，梯度却几乎消失（范数 {now:.1e}）：模型几乎学不到东西。",
        ),
        "diagnosis.exploding": (
            "The gradients have grown from a norm of {before:.3g} to {now:.3g}, far beyond the "
            "limit of {limit:g} they are cut to: every step points at random.",
            "梯度范数从 {before:.3g} 涨到 {now:.3g}，远超裁剪上限 {limit:g}："
            "每一步的方向已近乎随机。",
        ),
        "diagnosis.throughput": (
            "Speed has collapsed from {before:,.0f} to {now:,.0f} tokens per second.",
            "训练速度骤降：从每秒 {before:,.0f} 个 token 降到 {now:,.0f} 个。",
        ),
        "diagnosis.flat": (
            "After {steps} steps the loss has not fallen at all ({before:.3g} at first, {now:.3g} "
            "now).",
            "已训练 {steps} 步，损失毫无下降（起初 {before:.3g}，现在 {now:.3g}）。",
        ),
        "diagnosis.level": (
            "In {percent:.0f} % of the groups of the last {steps} steps all answers were worth the "
            "same (mean reward {reward:.3g}): such groups teach nothing.",
            "最近 {steps} 步中，{percent:.0f}% 的组里所有回答得分相同（平均奖励 {reward:.3g}）："
            "这样的组学不到任何东西。",
        ),
        # … and what to do
        "remedy.spike": (
            "If it does not come down again, start anew with half the learning rate "
            "(optimizer.learning_rate={half:.2g}) or a longer optimizer.warmup.",
            "如果降不回来，请把学习率减半（optimizer.learning_rate={half:.2g}）"
            "或延长预热（optimizer.warmup）后重新训练。",
        ),
        "remedy.divergence": (
            "Stop (tunewright runs stop RUN keeps the best checkpoint) and start anew with "
            "optimizer.learning_rate={half:.2g} or lower.",
            "请停止训练（tunewright runs stop RUN 会保留最好的检查点），"
            "以 optimizer.learning_rate={half:.2g} 或更低重新开始。",
        ),
        "remedy.memorising": (
            "Train fewer epochs, or add rows: several wordings per question help most. Compare "
            "with questions it has not seen (tunewright evaluate) before you trust it.",
            "请减少训练轮数，或增加数据（为每个问题补充多种问法最有效）。"
            "上线前先用没见过的问题检验（tunewright evaluate）。",
        ),
        "remedy.overfitting": (
            "Going on makes it worse. The checkpoint of step {best_step} becomes the model, so you "
            "may stop now (tunewright runs stop RUN); next time train fewer epochs or add rows.",
            "继续训练只会更差。第 {best_step} 步的检查点会成为最终模型，现在即可停止"
            "（tunewright runs stop RUN）；下次请减少轮数或增加数据。",
        ),
        "remedy.vanishing": (
            "Check what is trained (tuner, lora.targets) and the precision; if those are right, "
            "raise optimizer.learning_rate.",
            "请检查训练了哪些参数（tuner、lora.targets）以及数值精度；"
            "若都无误，请提高 optimizer.learning_rate。",
        ),
        "remedy.exploding": (
            "Lower optimizer.learning_rate to {half:.2g} or less and lengthen optimizer.warmup; "
            "look for rows of garbage or extreme length in the data.",
            "请把 optimizer.learning_rate 降到 {half:.2g} 以下并延长 optimizer.warmup；"
            "同时检查数据中是否有乱码或超长的行。",
        ),
        "remedy.throughput": (
            "Look for another program on this machine, for swapping (memory full), or for a hot, "
            "throttled processor; the run itself is unharmed.",
            "请检查本机是否有其他程序占用、内存是否用尽而在换页，或处理器是否过热降频；"
            "训练结果本身不受影响。",
        ),
        "remedy.flat": (
            "Raise optimizer.learning_rate ({rate:.2g} now) three- to tenfold, or train more "
            "parameters (lora.rank, lora.targets); check that answers depend on their questions.",
            "请把 optimizer.learning_rate（现为 {rate:.2g}）提高三到十倍，或增加可训练参数"
            "（lora.rank、lora.targets）；并检查数据里的答案是否真的与问题相关。",
        ),
        "remedy.level": (
            "If the reward is as high as it gets, the run is done. Otherwise let the grader tell "
            "more apart (partial credit, text_similarity, multi), draw more varied answers "
            "(rl.temperature, rl.group), or teach the form first with sft.",
            "如果奖励已接近上限，说明训练可以结束了。否则，请让评分更有区分度"
            "（部分得分、text_similarity、multi），让回答更多样（rl.temperature、rl.group），"
            "或先用 sft 教会基本形式。",
        ),
        # Memory
        "memory.divided": (
            "Step {step}: {before:,} tokens at once do not fit into the memory. From here on at "
            "most {tokens:,} go through the model at once; a step still learns from as many.",
            "第 {step} 步：内存放不下一次处理 {before:,} 个 token。此后每次最多处理 {tokens:,} 个，"
            "每步学习的总量不变。",
        ),
        "memory.rehearsed": (
            "Rehearsed in {seconds:.1f} s: the longest step ({tokens:,} tokens), the longest "
            "validation and a save fit; {size} at most.",
            "预演用时 {seconds:.1f} 秒：最长的一步（{tokens:,} 个 token）、最长的验证和一次保存"
            "都放得下，最多 {size}。",
        ),
        "memory.corrected": (
            "Measured: {speed:,.0f} tokens/s, {planned_speed} planned; {remaining} to go; "
            "{peak} at most, {planned_peak} planned.",
            "实测：每秒 {speed:,.0f} 个 token（计划 {planned_speed}）；还需 {remaining}；"
            "内存最多 {peak}（计划 {planned_peak}）。",
        ),
        # Comparison of runs
        "compare.title": ("Training runs side by side", "训练任务对比"),
        "compare.made": (
            "Made {when} by Tunewright {version}",
            "由 Tunewright {version} 生成于 {when}",
        ),
        "compare.best": (
            "{run} has the lowest validation loss: {loss} at step {step}.",
            "验证损失最低的是 {run}：第 {step} 步，{loss}。",
        ),
        "compare.apart": (
            "These runs learnt from different data, so their losses do not tell which is better; "
            "compare the models with tunewright evaluate.",
            "这些任务使用的数据不同，损失不能直接比较优劣；请用 tunewright evaluate 对比模型。",
        ),
        "compare.methods": (
            "These runs minimised different losses (method), so their values cannot be compared; "
            "compare the models with tunewright evaluate.",
            "这些任务的训练方法（method）不同，损失数值不可比；请用 tunewright evaluate 对比模型。",
        ),
        "compare.unwatched": (
            "None of these runs was validated; the training loss alone says little.",
            "这些任务都没有做过验证；仅凭训练损失说明不了多少问题。",
        ),
        "compare.results": ("Results", "结果"),
        "compare.settings": ("Settings that differ", "不同的设置"),
        "compare.same": ("All settings are the same.", "所有设置都相同。"),
        "compare.curve.train": ("Training loss (smoothed)", "训练损失（平滑）"),
        "compare.curve.validation": ("Validation loss", "验证损失"),
        "compare.step": ("Optimizer step", "优化步数"),
        "compare.nothing": ("Nothing was recorded yet.", "尚无记录。"),
        "compare.run": ("Run", "训练任务"),
        "fact.state": ("State", "状态"),
        "fact.steps": ("Steps done / planned", "已完成 / 计划步数"),
        "fact.train_loss": ("Training loss, smoothed, last", "最后的训练损失（平滑）"),
        "fact.valid_loss": ("Validation loss, last", "最后的验证损失"),
        "fact.best_loss": ("Validation loss, best", "最好的验证损失"),
        "fact.best_step": ("Best step", "最好的步"),
        "fact.token_accuracy": ("Token accuracy at the best step", "最好步的 token 准确率"),
        "fact.tokens": ("Tokens trained on", "训练的 token 数"),
        "fact.tokens_per_second": ("Tokens per second", "每秒 token 数"),
        "fact.memory": ("Peak memory", "内存峰值"),
        "state.running": ("running", "进行中"),
        "state.interrupted": ("interrupted", "已中断"),
        "state.succeeded": ("succeeded", "已完成"),
        "state.failed": ("failed", "失败"),
        "state.stopped": ("stopped", "已停止"),
    }
)
