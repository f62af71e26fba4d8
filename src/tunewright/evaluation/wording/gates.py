"""The gates: what they saw, and what to do."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

GATES: Final = MappingProxyType(
    {
        # Gates
        "gates": ("Gates", "关卡"),
        "gate.improvement": ("Improvement", "效果提升"),
        "gate.forgetting": ("Forgetting", "灾难性遗忘"),
        "gate.memorisation": ("Learned, not recited", "学会而非背诵"),
        "gate.contamination": ("Contamination", "测试题泄漏"),
        "gate.safety": ("Safety", "安全性"),
        "gate.validity": ("Form of answers", "回答格式"),
        "gate.stopping": ("Stopping", "正常结束"),
        "gate.length": ("Length", "回答长度"),
        "gate.checkpoint": ("Checkpoint", "检查点选择"),
        "unit.points": ("{points} points", "{points} 个百分点"),
        "passed.True": ("passed", "通过"),
        "passed.False": ("failed", "未通过"),
        "passed.None": ("open", "待定"),
        "prescription": ("What to do", "建议"),
        "improvement.evidence": (
            "{metric}: {before} → {score}, {delta} (95% interval {low} to {high}); "
            "{wins} better, {losses} worse, {ties} the same; sign test p\u00a0{p}.",
            "{metric}：{before} → {score}，{delta}（95% 区间 {low} 至 {high}）；"
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
            "不要上线。请先看下方变差的题目；降低学习率或训练轮数，"
            "并检查训练数据中相互矛盾的答案。",
        ),
        "improvement.none.do": (
            "A gain of {gain} or more is ruled out. Give it more or better rows, "
            "train longer, or start from a larger base.",
            "已可排除 {gain} 以上的提升。请增加或改进训练数据、延长训练，或换更大的基座。",
        ),
        "improvement.open.do": (
            "Ask about {needed} questions in all ({more} more): a difference of {gain} "
            "would then show in four evaluations out of five.",
            "请把测试题增加到约 {needed} 道（再加 {more} 道）："
            "届时 {gain} 的差异在五次评测中有四次可以看出。",
        ),
        "forgetting.evidence": (
            "{title}: {before} → {score}, {delta} points "
            "(95% interval {low} to {high}, {questions} questions). {finding}",
            "{title}：{before} → {score}，{delta} 个百分点"
            "（95% 区间 {low} 至 {high}，{questions} 道题）。{finding}",
        ),
        "forgetting.between": (" ", " "),
        "forgetting.right": ("General questions answered right", "通用问题答对率"),
        "forgetting.probe": ("the general probe", "通用题"),
        "forgetting.out": (
            "A loss of {margin} points or more is ruled out.",
            "可以排除下降 {margin} 个百分点及以上。",
        ),
        "forgetting.shown": (
            "That is no chance, and more likely than not it is a loss of over {margin} points.",
            "这不是偶然，且下降很可能超过 {margin} 个百分点。",
        ),
        "forgetting.open": (
            "A loss of {margin} points cannot be ruled out yet.",
            "尚不能排除下降 {margin} 个百分点。",
        ),
        "forgetting.blind": (
            "{base} is so near the {floor} of a model that knows nothing that a loss could not "
            "be seen.",
            "{base} 的答对率太接近一无所知时的 {floor}，即使有遗忘也看不出来。",
        ),
        "forgetting.unasked": (
            "The general probe was not asked, so forgetting is unknown.",
            "没有询问通用问题，是否遗忘未知。",
        ),
        "forgetting.unasked.do": (
            "Evaluate again with general=true.",
            "请以 general=true 重新评测。",
        ),
        "forgetting.blind.do": (
            "Try a few of your own everyday questions on both models before you serve.",
            "上线前，请用您自己的日常问题对比两个模型。",
        ),
        "forgetting.shown.do": (
            "Train again so that it forgets less: {cure}.",
            "请重新训练以减少遗忘：{cure}。",
        ),
        "forgetting.losing.do": (
            "The loss seen is about as large as what must be ruled out, so more questions would "
            "sooner show it than rule it out. Train again so that it forgets less: {cure}.",
            "观察到的下降已接近上限，再加题目更可能证实而不是排除它。请重新训练以减少遗忘：{cure}。",
        ),
        "forgetting.open.do": (
            "Ask more: with {wants}, four evaluations out of five would rule it out. More general "
            "questions come from a public benchmark (--benchmark cmmlu=FOLDER) or from lines that "
            "you add to the base's own probe.jsonl. Or let it forget less: {cure}.",
            "请增加题目：{wants}时，五次评测中有四次可以排除。更多通用题可以来自公开基准测试"
            "（--benchmark cmmlu=FOLDER），或自行添加到基座目录的 probe.jsonl。"
            "也可以减少遗忘：{cure}。",
        ),
        "forgetting.more": (
            "about {needed} questions in all ({more} more) for {name}",
            "{name}共约 {needed} 道（再加 {more} 道）",
        ),
        "forgetting.and": (" and ", "，"),
        "forgetting.or": ("; or ", "；或"),
        "forgetting.unmixed": (
            "this dataset holds no general rows, so prepare it again with --mix general=50% (as "
            "many general rows as own rows)",
            "该数据集没有混入通用数据，请用 --mix general=50%（通用数据与业务数据等量）重新准备",
        ),
        "forgetting.mixed": (
            "{mixed} general rows ({share} of the training rows) were too few, so prepare again "
            "with --mix general={more}%",
            "已混入 {mixed} 条通用数据（占训练数据的 {share}）仍不够，请用 --mix "
            "general={more}% 重新准备",
        ),
        "forgetting.rate": (
            "halve the learning rate, from {now} to {less}",
            "学习率减半，从 {now} 降到 {less}",
        ),
        "forgetting.rate.unknown": ("halve the learning rate", "学习率减半"),
        "forgetting.epochs": (
            "train {less} epochs instead of {now}",
            "训练轮数从 {now} 减到 {less}",
        ),
        "stopping.evidence": (
            "{share} of {questions} answers ended by themselves (95% interval {low} to {high}); "
            "{least} are needed.",
            "{questions} 个回答中有 {share} 自行结束（95% 区间 {low} 至 {high}）；要求至少 "
            "{least}。",
        ),
        "stopping.longer.do": (
            "Most of the answers that were cut off are still shorter than their references: "
            "evaluate again with a larger max_new_tokens ({tokens} now).",
            "被截断的回答大多仍短于参考答案：请增大 max_new_tokens（目前为 {tokens}）后重新评测。",
        ),
        "stopping.broken.do": (
            "The answers that were cut off say hardly anything: they repeat signs or spaces. "
            "Training broke the model, or stopped far too early: lower the learning rate, or "
            "train longer.",
            "被截断的回答几乎没有内容，只是在重复符号或空白。训练把模型练坏了，或远没有练够："
            "请降低学习率，或延长训练。",
        ),
        "stopping.ramble.do": (
            "Answers run on past the length of their references: train longer, and check that "
            "the training answers are complete, so that the model learns where to end.",
            "回答超过了参考答案的长度仍不结束：请延长训练，并检查训练数据中的答案是否完整，"
            "让模型学会何时结束。",
        ),
        # Learned or recited
        "memorisation.evidence.paraphrase": (
            "{model} scores {seen} on {rows} training rows, and {other} on {questions} questions "
            "that ask the same things in other words. {share} of what it gained on the training "
            "wordings ({gained}) shows on the others (95% interval {low} to {high}).",
            "{model} 在 {rows} 条训练原题上得分 {seen}，在 {questions} 道换了说法的同义问题上"
            "得分 {other}。训练原题上的提升（{gained}）有 {share} 在其他说法上同样体现"
            "（95% 区间 {low} 至 {high}）。",
        ),
        "memorisation.evidence.question": (
            "{model} scores {seen} on {rows} training rows and {other} on {questions} new "
            "questions. {share} of what it gained on the training rows ({gained}) shows on new "
            "questions (95% interval {low} to {high}).",
            "{model} 在 {rows} 条训练数据上得分 {seen}，在 {questions} 道新问题上得分 {other}。"
            "训练数据上的提升（{gained}）有 {share} 在新问题上同样体现（95% 区间 {low} 至 "
            "{high}）。",
        ),
        "memorisation.evidence.none": (
            "{model} scores {seen} on {rows} training rows, against {before} before tuning, and "
            "{other} on {questions} other questions.",
            "{model} 在 {rows} 条训练数据上得分 {seen}（微调前 {before}），"
            "在 {questions} 道其他问题上得分 {other}。",
        ),
        "memorisation.recited.do": (
            "It recites: less than {least} carries over, and training rows score {gap} higher. "
            "Train fewer epochs or at a lower learning rate, and add other wordings of each "
            "question (tunewright generate paraphrases). If the questions ask for facts, a "
            "knowledge base answers new ones; tuning does not.",
            "模型在背诵：不足 {least} 的提升能迁移，训练数据的得分高出 {gap}。请减少训练轮数或降低"
            "学习率，并为每个问题补充不同问法（tunewright generate paraphrases）。"
            "如果问的是事实，新问题应交给知识库，微调做不到。",
        ),
        "memorisation.few.do": (
            "The interval reaches both sides of {least}: ask more training rows "
            "(--set probes.seen=256) and hold back more test questions.",
            "区间跨过了 {least}，无法判断：请多问一些训练数据（--set probes.seen=256），"
            "并留出更多测试题。",
        ),
        "memorisation.broken.do": (
            "It answers even its own training rows worse than before tuning: training broke it "
            "or stopped far too early. Look at the training curve, lower the learning rate, and "
            "train until the loss no longer falls.",
            "模型连训练数据都答得不如微调前：训练把它练坏了，或远没有练够。请查看训练曲线，降低学习率，"
            "并训练到损失不再下降为止。",
        ),
        "memorisation.nothing.do": (
            "It has hardly learned its own training rows, so there is nothing to recite: train "
            "longer or at a higher learning rate.",
            "模型连训练数据都几乎没学会，谈不上背诵：请延长训练或提高学习率。",
        ),
        # Test questions in the training rows
        "contamination.none": (
            "None of the {questions} test questions stands in the training rows, not even nearly.",
            "{questions} 道测试题都没有出现在训练数据中，近似的也没有。",
        ),
        "contamination.some": (
            "{met} of {questions} test questions stand in the training rows, word for word or "
            "nearly. The difference is {whole} with them and {without} without ({score} after).",
            "{questions} 道测试题中有 {met} 道原样或近似地出现在训练数据中。"
            "计入时差值为 {whole}，去掉后为 {without}（之后得分 {score}）。",
        ),
        "contamination.all": (
            "All of the {met} test questions (of {questions}) that could be compared stand in the "
            "training rows.",
            "可供比较的 {met} 道测试题（共 {questions} 道）全部出现在训练数据中。",
        ),
        "contamination.do": (
            "The improvement is not shown on questions that are really new. Prepare the data "
            "again with --checks-leakage drop, or with other test questions, and train on that.",
            "在真正没见过的题目上看不出提升。请用 --checks-leakage drop "
            "或换一批测试题重新准备数据，"
            "再训练。",
        ),
        # Safety
        "safety.evidence": (
            "Of {questions} requests to refuse it refuses {refused} (before: {refused_before}); "
            "of {ordinary} ordinary ones that sound alike it refuses {over} (before: "
            "{over_before}).",
            "{questions} 个应当拒绝的请求拒绝了 {refused}（此前 {refused_before}）；"
            "{ordinary} 个听起来相似的正常请求拒绝了 {over}（此前 {over_before}）。",
        ),
        "safety.blind": (
            "{base} refuses {refused_before} of {questions} requests that should be refused, so "
            "there is nothing to lose; after tuning {refused}. Of {ordinary} ordinary requests "
            "{over} are refused (before: {over_before}).",
            "{base} 对 {questions} 个应当拒绝的请求只拒绝了 {refused_before}，没有可失去的；"
            "微调后为 {refused}。{ordinary} 个正常请求拒绝了 {over}（此前 {over_before}）。",
        ),
        "safety.do": (
            "Tuning changed what it refuses. Mix in general rows (prepare with --mix "
            "general=50%), add "
            "a few dozen refusals in your own wording to the training rows, lower the learning "
            "rate or train fewer epochs.",
            "微调改变了模型的拒答行为。请混入通用数据（prepare 时使用 --mix general=50%），"
            "在训练数据中加入"
            "几十条自己措辞的拒答示例，并降低学习率或减少训练轮数。",
        ),
        "safety.blind.do": (
            "Put a filter of your own before it if strangers will use it: the base hardly "
            "refuses anything.",
            "如果面向外部用户，请在前面加一道自己的过滤：基座本身几乎不拒绝。",
        ),
        # Form
        "validity.label": (
            "{share} of {questions} answers are one of the labels (95% interval {low} to {high}); "
            "{least} are needed.",
            "{questions} 个回答中有 {share} 是标签之一（95% 区间 {low} 至 {high}）；要求至少 "
            "{least}。",
        ),
        "validity.label.do": (
            "Serve it with its answers held to the labels (choices, guided_choice), or train "
            "longer: the labels are not learned yet.",
            "上线时把回答限定在标签之内（choices、guided_choice），或延长训练：标签还没有学会。",
        ),
        "validity.json": (
            "{share} of {questions} answers are JSON (95% interval {low} to {high}); {least} are "
            "needed.",
            "{questions} 个回答中有 {share} 是合法的 JSON（95% 区间 {low} 至 {high}）；"
            "要求至少 {least}。",
        ),
        "validity.json.do": (
            "Check that every training answer is JSON and nothing else, and that answers are not "
            "cut off; then train longer.",
            "请检查训练数据中的答案是否全部是纯 JSON、评测时回答是否被截断，然后延长训练。",
        ),
        "validity.schema": (
            "{share} of {questions} answers satisfy the schema (95% interval {low} to {high}); "
            "{least} are needed.",
            "{questions} 个回答中有 {share} 符合 schema（95% 区间 {low} 至 {high}）；要求至少 "
            "{least}。",
        ),
        "validity.schema.do": (
            "Check the training answers against the same schema, and that answers are not cut "
            "off; then train longer.",
            "请用同一 schema 检查训练数据中的答案，确认回答没有被截断，然后延长训练。",
        ),
        # Length
        "length.evidence": (
            "Answers are {ratio} times as long as their references (95% interval {low} to {high}, "
            "{questions} questions); {least} to {most} is expected.",
            "回答总长度是参考答案的 {ratio} 倍（95% 区间 {low} 至 {high}，{questions} 道题）；"
            "预期在 {least} 至 {most} 之间。",
        ),
        "length.long.do": (
            "Answers are much longer than what was taught. Check that training answers end where "
            "they should, and train longer; long answers look better than they are.",
            "回答比所教的长得多。请检查训练答案是否在该结束处结束，并延长训练；"
            "长回答往往只是看起来更好。",
        ),
        "length.short.do": (
            "Answers are much shorter than what was taught. Check for a frequent short answer in "
            "the training rows (boilerplate), and whether long answers were cut off there.",
            "回答比所教的短得多。请检查训练数据中是否有大量重复的简短回答，以及长答案是否被截断。",
        ),
        # Choice of a checkpoint
        "checkpoint.evidence": (
            "By loss: {losses}. By {metric} on {questions} dev questions: {scores}. Step {step} is "
            "chosen{margin}; it is {model}.",
            "按损失：{losses}。按{metric}（{questions} 道验证题）：{scores}。选择第 {step} "
            "步{margin}，"
            "即 {model}。",
        ),
        "checkpoint.ahead": (
            ", ahead of step {other} by {delta} (95% interval {low} to {high})",
            "，比第 {other} 步高 {delta}（95% 区间 {low} 至 {high}）",
        ),
        "checkpoint.do": (
            "Dev questions chose it, so they cannot judge it: tunewright evaluate --models {base} "
            "--models {model}",
            "它由验证题选出，不能再由验证题评判：tunewright evaluate --models {base} --models "
            "{model}",
        ),
        "checkpoint.one": (
            "The run has kept a single checkpoint, step {step}; there is nothing to choose from.",
            "该任务只保留了一个检查点（第 {step} 步），没有可选的。",
        ),
    }
)
