"""Every sentence an evaluation says, in English and Chinese, declared once."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tunewright.core.language import Sentences


class Texts(Sentences):
    """What an evaluation says, in one language."""

    def __init__(self, language: str) -> None:
        super().__init__(SENTENCES, language)


def percent(value: float, digits: int = 1) -> str:
    """0.4567 → ``45.7%``."""
    return f"{100 * value:.{digits}f}%"


def points(value: float, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign: 0.123 → ``+12.3``."""
    rounded = round(100 * value, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


SENTENCES: Final = MappingProxyType(
    {
        # Page
        "title": ("Evaluation report", "评测报告"),
        "page.title": ("Evaluation of {models}", "评测：{models}"),
        "made": ("Made {when} by Tunewright {version}", "由 Tunewright {version} 生成于 {when}"),
        "verdict.pass": ("Pass", "通过"),
        "verdict.fail": ("Fail", "未通过"),
        "verdict.not enough evidence": ("Not enough evidence", "证据不足"),
        "says.better": (
            "{model} is better than {base}: {score} of the test questions answered right, "
            "up from {before}.",
            "{model} 优于 {base}：测试题答对率 {score}，此前为 {before}。",
        ),
        "says.better.overlap": (
            "{model} is better than {base}: its answers overlap the references by {score}, "
            "up from {before}.",
            "{model} 优于 {base}：回答与参考答案的重合度为 {score}，此前为 {before}。",
        ),
        "says.worse": (
            "{model} is not better than {base}: {score} against {before} before.",
            "{model} 没有优于 {base}：{score}，此前为 {before}。",
        ),
        "says.open": (
            "These questions cannot tell whether {model} is better than {base}: "
            "{score} against {before} before.",
            "这些题目还不足以判断 {model} 是否优于 {base}：{score}，此前为 {before}。",
        ),
        "says.alone": (
            "{model} was asked alone; name a model to compare it with for a verdict.",
            "仅评测了 {model}；要得到结论，请再指定一个用于对比的模型。",
        ),
        "says.blocked": (
            "It is not let through, because this gate said no: {gates}.",
            "但不予放行，未通过的关卡：{gates}。",
        ),
        "says.interval": (
            "Difference {delta} points, 95% interval {low} to {high}; {questions} questions "
            "in {groups} independent groups.",
            "差值 {delta} 个百分点，95% 区间 {low} 至 {high}；{questions} 道题，"
            "{groups} 个相互独立的题组。",
        ),
        # Gates
        "gates": ("Gates", "关卡"),
        "gate.improvement": ("Improvement", "效果提升"),
        "gate.forgetting": ("Forgetting", "灾难性遗忘"),
        "gate.stopping": ("Stopping", "正常结束"),
        "passed.True": ("passed", "通过"),
        "passed.False": ("failed", "未通过"),
        "passed.None": ("open", "待定"),
        "prescription": ("What to do", "建议"),
        "improvement.evidence": (
            "{metric}: {before} → {score}, {delta} points (95% interval {low} to {high}); "
            "{wins} better, {losses} worse, {ties} the same; sign test p\u00a0{p}.",
            "{metric}：{before} → {score}，{delta} 个百分点（95% 区间 {low} 至 {high}）；"
            "{wins} 题变好，{losses} 题变差，{ties} 题不变；符号检验 p\u00a0{p}。",
        ),
        "improvement.alone": (
            "Only {model} was asked, so there is nothing to compare it with.",
            "只评测了 {model}，没有可对比的对象。",
        ),
        "improvement.alone.do": (
            "Name the base model first and the tuned model after it.",
            "请先写基座模型，再写微调后的模型。",
        ),
        "improvement.few": (
            "{evidence} Only {groups} independent groups of questions, fewer than {least}: "
            "the interval cannot be trusted.",
            "{evidence}相互独立的题组只有 {groups} 个，少于 {least} 个，区间不可信。",
        ),
        "improvement.few.do": (
            "Hold back more questions for the test: at least {least} groups, better {needed}.",
            "请留出更多测试题：至少 {least} 个题组，最好 {needed} 个。",
        ),
        "improvement.worse.do": (
            "Do not serve it. Read the questions it now gets wrong below; lower the learning rate "
            "or the epochs, and check the training rows for contradictory answers.",
            "不要上线。请先看下方变差的题目；降低学习率或训练轮数，并检查训练数据中相互矛盾的答案。",
        ),
        "improvement.none.do": (
            "A gain of {gain} points or more is ruled out. Give it more or better rows, "
            "train longer, or start from a larger base.",
            "已可排除 {gain} 个百分点以上的提升。请增加或改进训练数据、延长训练，或换更大的基座。",
        ),
        "improvement.open.do": (
            "Ask about {needed} questions in all ({more} more): a difference of {gain} points "
            "would then show in four evaluations out of five.",
            "请把测试题增加到约 {needed} 道（再加 {more} 道）："
            "{gain} 个百分点的差异届时在五次评测中有四次可以看出。",
        ),
        "forgetting.evidence": (
            "General questions answered right: {before} → {score}, {delta} points "
            "(95% interval {low} to {high}, {questions} questions); {margin} points may be lost.",
            "通用问题答对率：{before} → {score}，{delta} 个百分点"
            "（95% 区间 {low} 至 {high}，{questions} 道题）；允许下降 {margin} 个百分点。",
        ),
        "forgetting.unasked": (
            "The general probe was not asked, so forgetting is unknown.",
            "没有询问通用问题，是否遗忘未知。",
        ),
        "forgetting.unasked.do": (
            "Evaluate again with general=true.",
            "请以 general=true 重新评测。",
        ),
        "forgetting.blind": (
            "{base} answers {before} of the general questions right: too few to see forgetting.",
            "{base} 对通用问题的答对率只有 {before}，太低，看不出是否遗忘。",
        ),
        "forgetting.blind.do": (
            "Try a few of your own everyday questions on both models before you serve.",
            "上线前，请用您自己的日常问题对比两个模型。",
        ),
        "forgetting.unmixed.do": (
            "This dataset holds no general rows. Prepare it again with --general 1 (as many "
            "general rows as own rows) and train on that; or train fewer epochs.",
            "该数据集没有混入通用数据。请用 --general 1（通用数据与业务数据等量）重新准备并训练，"
            "或减少训练轮数。",
        ),
        "forgetting.mixed.do": (
            "{mixed} general rows were mixed in and were too few: prepare again with a larger "
            "--general, lower the learning rate, or train fewer epochs.",
            "已混入 {mixed} 条通用数据，但仍不够：请用更大的 --general 重新准备，"
            "降低学习率，或减少训练轮数。",
        ),
        "stopping.evidence": (
            "{share} of {questions} answers ended by themselves; {least} are needed.",
            "{questions} 个回答中有 {share} 自行结束；要求至少 {least}。",
        ),
        "stopping.longer.do": (
            "Most of the answers that were cut off are still shorter than their references: "
            "evaluate again with a larger max_new_tokens ({tokens} now).",
            "被截断的回答大多仍短于参考答案：请增大 max_new_tokens（目前为 {tokens}）后重新评测。",
        ),
        "stopping.ramble.do": (
            "Answers run on past the length of their references: train longer, and check that "
            "the training answers are complete, so that the model learns where to end.",
            "回答超过了参考答案的长度仍不结束：请延长训练，并检查训练数据中的答案是否完整，"
            "让模型学会何时结束。",
        ),
        # Scores
        "scores": ("Scores on the locked test questions", "锁定测试集得分"),
        "scores.lead": (
            "The same {questions} questions to every model. Intervals are 95%, from {resamples} "
            "resamples of whole groups of related questions.",
            "所有模型回答相同的 {questions} 道题。区间为 95% 置信区间，"
            "由 {resamples} 次按题组重抽样得到。",
        ),
        "slice": ("Slice", "子集"),
        "slice.all": ("All questions", "全部题目"),
        "slice.reworded": ("Reworded", "改写"),
        "slice.synonyms": ("Synonyms", "同义词替换"),
        "slice.paraphrase": ("Paraphrase", "换说法"),
        "questions": ("Questions", "题数"),
        "model": ("Model", "模型"),
        "base": ("Before", "之前"),
        "tuned": ("After", "之后"),
        "delta": ("Difference", "差值"),
        "interval": ("95% interval", "95% 区间"),
        "outcomes": ("Better / same / worse", "变好 / 不变 / 变差"),
        "p": ("Sign test p", "符号检验 p"),
        "metric.exact": ("Answered right", "完全答对"),
        "metric.char_f1": ("Overlap with the reference", "与参考答案重合度"),
        "metric.length": ("Length match", "长度吻合"),
        "metric.stop": ("Ended by itself", "自行结束"),
        "metric.exact.is": (
            "Equal to the reference after folding case, width, spaces and final punctuation.",
            "忽略大小写、全半角、空格和句末标点后与参考答案一致。",
        ),
        "metric.char_f1.is": (
            "F1 of shared words; in Chinese, of shared characters.",
            "共有字（西文为词）的 F1 值。",
        ),
        "metric.length.is": (
            "Shorter length over longer length, answer against reference.",
            "回答与参考答案长度之比（短比长）。",
        ),
        "metric.stop.is": (
            "The answer ended before the token limit.",
            "在长度上限之前自行结束。",
        ),
        "all.metrics": ("All metrics", "全部指标"),
        "chart.scores": ("{metric}, with 95% intervals", "{metric}（含 95% 区间）"),
        # Classes
        "classes": ("Classes", "分类结果"),
        "classes.lead": (
            "Rows are the true class, columns the answer; the diagonal is right. {held}",
            "每行是真实类别，每列是回答的类别，对角线为答对。{held}",
        ),
        "classes.held": (
            "Answers were held to the {labels} labels of the dataset.",
            "回答限定在数据集的 {labels} 个标签之内。",
        ),
        "classes.free": (
            "Answers were not held to the labels.",
            "回答未限定在标签之内。",
        ),
        "classes.accuracy": ("Accuracy", "准确率"),
        "classes.accuracy.is": ("Share of the rows given their class.", "判对类别的行所占比例。"),
        "classes.macro_f1": ("Macro-F1", "宏平均 F1"),
        "classes.macro_f1.is": (
            "Mean F1 of the classes, each counting the same however rare it is.",
            "各类别 F1 的平均，稀少的类别同样计入。",
        ),
        "classes.true": ("True class", "真实类别"),
        "classes.other": ("no label", "非标签"),
        "classes.recall": ("Recall", "召回率"),
        "classes.f1": ("F1", "F1"),
        "classes.said": ("Answer", "回答"),
        "classes.rows": ("Rows", "行数"),
        "classes.mistakes": (
            "Too many classes for a matrix; the most frequent mistakes instead.",
            "类别太多，不便用矩阵表示；以下列出最常见的错误。",
        ),
        # General probe
        "general": ("General ability, before and after", "通用能力：微调前后"),
        "general.lead": (
            "{questions} everyday questions that have nothing to do with the test set, "
            "asked before and after tuning.",
            "与测试集无关的 {questions} 道通用问题，微调前后各问一遍。",
        ),
        "general.chart": (
            "General questions answered right, by kind",
            "各类通用问题答对率",
        ),
        "general.none": (
            "The general probe was not asked in this evaluation.",
            "本次评测没有询问通用问题。",
        ),
        "kind": ("Kind", "类别"),
        "kind.all": ("All kinds", "全部类别"),
        "kind.arithmetic": ("Arithmetic", "算术"),
        "kind.chat": ("Conversation", "多轮对话"),
        "kind.comparison": ("Comparison", "比较大小"),
        "kind.copying": ("Copying", "复述"),
        "kind.count": ("Counting", "计数"),
        "kind.facts": ("Facts", "常识"),
        "kind.knowledge": ("Knowledge", "知识"),
        "kind.meaning": ("Meaning", "语义理解"),
        "kind.other": ("Other", "其他"),
        "kind.smalltalk": ("Small talk", "闲聊"),
        "kind.translation": ("Translation", "翻译"),
        "replay.none": (
            "No general rows were mixed into this training set; --general 1 at prepare mixes in "
            "as many as there are own rows, which is the strongest cure for forgetting.",
            "训练集没有混入通用数据；在 prepare 时使用 --general 1 可混入与业务数据等量的通用数据，"
            "这是防止遗忘最有效的办法。",
        ),
        "replay.mixed": (
            "{mixed} general rows were mixed into the training set against forgetting.",
            "训练集混入了 {mixed} 条通用数据以防遗忘。",
        ),
        "beside": ("For comparison", "对照"),
        "beside.general": ("General questions answered right", "通用题答对率"),
        "beside.right": ("Test questions answered right", "测试题答对率"),
        "beside.change": ("{before}% → {after}%", "{before}% → {after}%"),
        # Seen and unseen
        "memory": ("Learned or memorised?", "学会了，还是背下来了？"),
        "memory.lead": (
            "The score on {questions} rows the model was trained on, beside the score on "
            "questions it never saw. A wide gap means rows were learned by heart.",
            "{questions} 条训练数据上的得分，与从未见过的题目得分对照。差距越大，越像是死记硬背。",
        ),
        "memory.seen": ("Seen in training", "训练中见过"),
        "memory.unseen": ("Never seen", "从未见过"),
        "memory.good": (
            "{model} answers questions it never saw nearly as well as those it was trained on.",
            "{model} 回答没见过的题目与训练过的题目几乎一样好。",
        ),
        "memory.gap": (
            "{model} knows its training rows {gap} points better than new questions: more varied "
            "wordings per answer will help more than more epochs.",
            "{model} 在训练数据上比新题高 {gap} 个百分点："
            "为每个答案补充更多不同问法，比增加训练轮数更有效。",
        ),
        "memory.low": (
            "{model} has not yet learned its own training rows: train longer or with a higher "
            "learning rate before you add data.",
            "{model} 连训练数据都还没学会：先延长训练或提高学习率，再考虑增加数据。",
        ),
        # Training curve
        "curve": ("Training curve", "训练曲线"),
        "curve.train": ("Training loss", "训练损失"),
        "curve.validation": ("Validation loss", "验证损失"),
        "curve.step": ("Optimizer step", "优化步数"),
        "curve.loss": ("Loss", "损失"),
        "curve.used": ("evaluated checkpoint, step {step}", "被评测的检查点：第 {step} 步"),
        # Answers
        "answers": ("Answers side by side", "逐题对照"),
        "answers.lead": (
            "Marked text is not in the reference. Differences count as better or worse by: "
            "{metric}.",
            "高亮部分为参考答案中没有的内容。变好与变差的依据：{metric}。",
        ),
        "answers.cut": (
            "{shown} of {questions} questions are shown, the changed ones first; all are in "
            "outputs.jsonl beside this page.",
            "显示 {questions} 道题中的 {shown} 道，有变化的优先；全部见同目录的 outputs.jsonl。",
        ),
        "question": ("Question", "问题"),
        "reference": ("Reference", "参考答案"),
        "filter.all": ("All", "全部"),
        "filter.win": ("Better", "变好"),
        "filter.tie": ("Same", "不变"),
        "filter.loss": ("Worse", "变差"),
        "search": ("Search the questions and answers", "搜索问题和回答"),
        "search.none": ("No question matches.", "没有符合条件的题目。"),
        "cut.off": ("cut off", "被截断"),
        "empty": ("(empty)", "（空）"),
        # Repeat
        "repeat": ("How to repeat this", "如何复现"),
        "repeat.command": ("Command", "命令"),
        "repeat.dataset": ("Dataset", "数据集"),
        "repeat.rows": ("Rows", "行数"),
        "repeat.rows.are": (
            "{train} train, {dev} dev, {test} test, {mixed} general mixed in",
            "训练 {train}，验证 {dev}，测试 {test}，混入通用数据 {mixed}",
        ),
        "repeat.files": ("Source files", "源文件"),
        "repeat.responder": ("Model asked", "被评测模型"),
        "repeat.base": ("Base", "基座"),
        "repeat.run": ("Run", "训练任务"),
        "repeat.recipe": ("Recipe", "训练配方"),
        "repeat.settings": ("Evaluation settings", "评测设置"),
        "repeat.outputs": ("Outputs (SHA-256)", "输出文件 (SHA-256)"),
        "join": (", ", "、"),
    }
)
