"""The report: headings, legends and leads."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

PAGE: Final = MappingProxyType(
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
        "says.better.metric": (
            "{model} is better than {base}: {metric} {score}, {before} before.",
            "{model} 优于 {base}：{metric} {score}，此前为 {before}。",
        ),
        "says.checkpoint": (
            "{model} was chosen from the run's checkpoints by its answers to the dev questions.",
            "已按验证题的回答从该任务的检查点中选出 {model}。",
        ),
        "says.worse": (
            "{model} is not better than {base}: {metric} {score}, {before} before.",
            "{model} 没有优于 {base}：{metric} {score}，此前为 {before}。",
        ),
        "says.open": (
            "These questions cannot tell whether {model} is better than {base}: {metric} {score}, "
            "{before} before.",
            "这些题目还不足以判断 {model} 是否优于 {base}：{metric} {score}，此前为 {before}。",
        ),
        "says.alone": (
            "{model} was asked alone; name a model to compare it with for a verdict.",
            "仅评测了 {model}；要得到结论，请再指定一个用于对比的模型。",
        ),
        "says.blocked": (
            "It is not let through, because this gate said no: {gates}.",
            "但不予放行，未通过的关卡：{gates}。",
        ),
        "says.waits": (
            "It is not let through yet, because this cannot be answered yet: {gates}.",
            "但暂不放行，还有关卡无法判断：{gates}。",
        ),
        "says.interval": (
            "Difference {delta}, 95% interval {low} to {high}; {questions} questions "
            "in {groups} independent groups.",
            "差值 {delta}，95% 区间 {low} 至 {high}；{questions} 道题，{groups} 个相互独立的题组。",
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
        "all.metrics": ("All metrics", "全部指标"),
        "metric": ("Metric", "指标"),
        "score": ("Score", "得分"),
        "p.holm": ("p (Holm)", "p（Holm 校正）"),
        "all.metrics.lead": (
            "Shares in percent, their differences in points. p is the exact sign test over groups, "
            "adjusted by Holm for reading several metrics at once; ties are left out.",
            "比例以百分比表示，差值为百分点。p 为按题组的精确符号检验（平局不计），"
            "并按 Holm 方法校正同时查看多个指标的影响。",
        ),
        "extremes": ("Where it changed most", "变化最大的题目"),
        "extremes.best": ("{model} gained most here", "{model} 进步最大的题目"),
        "extremes.worst": ("{model} lost most here", "{model} 退步最大的题目"),
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
            "No general rows were mixed into this training set; --mix general=50% at prepare "
            "mixes in "
            "as many as there are own rows, which is the strongest cure for forgetting.",
            "训练集没有混入通用数据；在 prepare 时使用 --mix general=50% "
            "可混入与业务数据等量的通用数据，"
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
            "Scores on what was trained on, on the same things in other words, on new questions "
            "and on a new topic. Where only the first is high, rows were learned by heart.",
            "训练原题、换了说法的同义问题、全新问题、全新主题上的得分。只有第一项高，"
            "就是死记硬背。",
        ),
        "memory.chart": (
            "{metric}, before and after, with 95% intervals",
            "{metric}：微调前后（含 95% 区间）",
        ),
        "memory.seen": ("Trained on ({questions})", "训练原题（{questions}）"),
        "memory.paraphrase": ("Other words ({questions})", "换了说法（{questions}）"),
        "memory.question": ("New questions ({questions})", "全新问题（{questions}）"),
        "memory.topic": ("New topic ({questions})", "全新主题（{questions}）"),
        "memory.seen.missing": (
            "Training wordings were not asked: probes.seen is 0, or there are none.",
            "没有询问训练原题：probes.seen 为 0，或没有可问的。",
        ),
        "memory.paraphrase.missing": (
            "No test question asks for the answer of a training row in other words. Make some: "
            "tunewright generate paraphrases latest, and prepare with --test-files.",
            "没有与训练数据同义、换了说法的测试题。可用 tunewright generate paraphrases latest "
            "生成，"
            "再以 --test-files 重新准备。",
        ),
        "memory.question.missing": (
            "Every test question asks for something that was trained on, so nothing here tells "
            "how new questions fare.",
            "所有测试题问的都是训练过的内容，看不出全新问题上的表现。",
        ),
        "memory.topic.missing": (
            "No test question is of a new topic. Where rows name their topics (--map "
            "slice=COLUMN), prepare with --split-topics 0.1 holds a tenth of them back whole; in "
            "test files the slice unseen_topic says so.",
            "没有全新主题的测试题。如果数据标有主题（--map slice=列名），prepare 时用 "
            "--split-topics 0.1 可将一成主题整体留出；测试文件则用子集名 unseen_topic 标明。",
        ),
        "memory.good": (
            "{model} answers questions that it never saw nearly as well as those it was "
            "trained on.",
            "{model} 回答没见过的题目与训练过的题目几乎一样好。",
        ),
        "memory.gap": (
            "{model} knows its training wordings {gap} points better than anything else: more "
            "varied wordings per answer will help more than more epochs.",
            "{model} 在训练原题上比其他问题高 {gap} 个百分点："
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
