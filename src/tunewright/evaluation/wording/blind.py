"""What the pages of a blind comparison say."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tunewright.core.language import Declared

VOTING: Final[Declared] = MappingProxyType(
    {
        "title": ("Blind comparison", "盲评"),
        "hello": ("Which answer is better?", "哪个回答更好？"),
        "intro": (
            "You will see questions with two answers each. Two systems wrote them; you are not "
            "told which, and their sides change at random. Judge the answers alone.",
            "每道题有两个回答，由两个系统给出。页面不会告诉您哪个来自谁，左右位置随机。请只看回答本身。",
        ),
        "count": ("{n} questions", "共 {n} 题"),
        "name": ("Your name", "您的姓名"),
        "name.why": (
            "Kept with your votes, so that you can go on later and experts can be compared.",
            "与投票一起保存，方便您下次接着评，也用于比较各位专家的意见。",
        ),
        "start": ("Start", "开始"),
        "resume": ("Go on as {name}", "以“{name}”继续"),
        "other": ("I am somebody else", "换一个人"),
        "progress": ("{done} of {total}", "{done} / {total}"),
        "question": ("Question", "问题"),
        "before": ("What was said before", "此前的对话"),
        "role.system": ("Instruction", "系统指令"),
        "role.user": ("User", "用户"),
        "role.assistant": ("Assistant", "助手"),
        "role.tool": ("Tool", "工具"),
        "reference": ("Reference answer", "参考答案"),
        "reference.show": ("Show the reference answer", "显示参考答案"),
        "reference.hide": ("Hide the reference answer", "隐藏参考答案"),
        "answer.a": ("Answer A", "回答 A"),
        "answer.b": ("Answer B", "回答 B"),
        "empty": ("(no answer)", "（无回答）"),
        "vote.a": ("A is better", "A 更好"),
        "vote.b": ("B is better", "B 更好"),
        "vote.good": ("Both good", "都好"),
        "vote.bad": ("Both bad", "都不好"),
        "comment": ("Comment", "备注"),
        "comment.hint": ("optional; Esc returns to voting", "可不填；按 Esc 回到投票"),
        "back": ("Back", "上一题"),
        "next": ("Next", "下一题"),
        "undo": ("Take back", "撤回"),
        "keys": (
            "Keys: A, B, G both good, X both bad, C comment, R reference, ← → move, U take back",
            "按键：A、B 选择，G 都好，X 都不好，C 备注，R 参考答案，← → 翻题，U 撤回",
        ),
        "saved": ("Saved", "已保存"),
        "saving": ("Saving…", "正在保存…"),
        "unsaved": (
            "{n} votes are not saved yet; trying again",
            "有 {n} 票尚未保存，正在重试",
        ),
        "kept": (
            "Kept in this browser; save them to a file at the end",
            "已存于本浏览器，评完请保存为文件",
        ),
        "done": ("All done. Thank you!", "全部评完，谢谢！"),
        "done.online": (
            "Your votes are saved. You can close this page, or go back and change them.",
            "投票已保存。可以关闭页面，也可以返回修改。",
        ),
        "done.offline": (
            "Save your votes and send the file to whoever gave you this page.",
            "请保存投票，并把文件发回给评测负责人。",
        ),
        "save": ("Save votes", "保存投票"),
        "review": ("Look through them again", "再看一遍"),
        "failed": ("The session cannot be opened: {why}", "无法打开：{why}"),
        "private": (
            "This browser keeps nothing for this page; save your votes before you close it.",
            "本浏览器不为此页面保留数据，关闭前请先保存投票。",
        ),
    }
)
"""Of the page that experts vote on."""

RESULTS: Final[Declared] = MappingProxyType(
    {
        "title": ("Blind comparison", "盲评结果"),
        "made": ("{when} · Tunewright {version}", "{when} · Tunewright {version}"),
        "verdict.better": ("Better", "更好"),
        "verdict.worse": ("Worse", "更差"),
        "verdict.open": ("Not enough evidence", "证据不足"),
        "says.better": ("People prefer {model} to {base}.", "专家更认可 {model}，而不是 {base}。"),
        "says.worse": ("People prefer {base} to {model}.", "专家更认可 {base}，而不是 {model}。"),
        "says.open": (
            "These votes do not tell whether people prefer {model} or {base}.",
            "现有投票还不能说明专家更认可 {model} 还是 {base}。",
        ),
        "says.none": ("Nobody has voted yet.", "还没有人投票。"),
        "says.numbers": (
            "{model} is preferred in {share} of {questions} questions, ties counting half (95% "
            "interval {low} to {high}; {wins} better, {ties} as good, {losses} worse; sign test "
            "over {groups} independent groups p {p}).",
            "在 {questions} 道题中，{model} 的得票率为 {share}，平局算一半"
            "（95% 区间 {low} 至 {high}；优 {wins}，平 {ties}，劣 {losses}；"
            "按 {groups} 个独立题组做符号检验 p {p}）。",
        ),
        "says.more": (
            "About {more} more questions would show a difference of {gain} points four times out "
            "of five.",
            "要以八成把握看出 {gain} 个百分点的差别，大约还需 {more} 道题。",
        ),
        "experts": ("Experts", "各位专家"),
        "experts.lead": (
            "A question counts as better or worse by the mean of all its votes.",
            "每道题按全部投票的均值计优劣。",
        ),
        "expert": ("Expert", "专家"),
        "everybody": ("Everybody", "合计"),
        "questions": ("Questions", "题数"),
        "outcomes": ("Better / same / worse", "优 / 平 / 劣"),
        "share": ("Preferred (ties half)", "得票率（平局算一半）"),
        "interval": ("95% interval", "95% 区间"),
        "p": ("Sign test p", "符号检验 p"),
        "both": ("Both good / both bad", "都好 / 都不好"),
        "agreement": ("Agreement", "一致程度"),
        "agreement.two": (
            "{first} and {second} agree on {share} of {questions} questions (Cohen's kappa "
            "{kappa}).",
            "{first} 与 {second} 在 {questions} 道题中有 {share} 意见一致（Cohen κ = {kappa}）。",
        ),
        "agreement.many": (
            "All experts together: Fleiss' kappa {kappa} on {questions} questions with at least "
            "two votes.",
            "全部专家：至少有两票的 {questions} 道题上 Fleiss κ = {kappa}。",
        ),
        "agreement.judge": (
            "The judge {first} and the experts' majority agree on {share} of {questions} "
            "questions (Cohen's kappa {kappa}).",
            "评审模型 {first} 与专家多数意见在 {questions} 道题中有 {share} 一致"
            "（Cohen κ = {kappa}）。",
        ),
        "agreement.none": (
            "At least two have to vote on the same questions.",
            "至少要有两人评过相同的题目。",
        ),
        "agreement.scale": (
            "1 is full agreement, 0 that of chance. Below 0.4 the experts see different things in "
            "the answers; agree on what makes one better first.",
            "1 为完全一致，0 相当于随机。低于 0.4 说明专家看法不一，宜先统一评判标准。",
        ),
        "answers": ("Question by question", "逐题"),
        "question": ("Question", "问题"),
        "votes": ("Votes", "投票"),
        "outcome.1": ("better", "优"),
        "outcome.0": ("worse", "劣"),
        "outcome.good": ("both good", "都好"),
        "outcome.bad": ("both bad", "都不好"),
        "empty": ("(empty)", "（空）"),
        "background": (
            "Session {id} of evaluation {evaluation}: {questions} questions; {equal} more are not "
            "asked, since both gave the same answer.",
            "盲评 {id}，评测 {evaluation}：共 {questions} 题；"
            "另有 {equal} 题双方回答相同，未列入。",
        ),
    }
)
"""Of the page with the results."""
