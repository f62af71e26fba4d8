"""What a measured recommendation rests on."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

ADVICE: Final = MappingProxyType(
    {
        "known": (
            "asked {questions} of the training questions, {draws} times each, without showing any "
            "answer, the base knows {known}, may know {maybe} and does not know {unknown}",
            "抽取 {questions} 道训练问题、不给答案、每题问 {draws} 次：基座知道 {known} 道，"
            "可能知道 {maybe} 道，不知道 {unknown} 道",
        ),
        "nothing": (
            "{right} of the answers are right already (95% interval): tuning can hardly improve "
            "that, and may make it forget",
            "回答正确率已达 {right}（95% 区间）：微调很难再提升，还可能造成遗忘",
        ),
        "examples": (
            "with examples before each question {right} of the answers are right, without "
            "{before} (95% intervals)",
            "每题前给出示例时正确率为 {right}，不给时为 {before}（95% 区间）",
        ),
        "prompt only": (
            "a prompt with examples does it, and costs nothing to change; tune only if the "
            "examples make requests too long or too slow",
            "带示例的提示词就够了，而且随时可改；只有示例使请求过长、过慢时才需要微调",
        ),
        "teaches": (
            "of {rows} answers {factual} state facts that the question does not give ({kinds}); "
            "{uniform} begin or end alike, {brief} are only a few words long",
            "{rows} 条回答中，{factual} 含有问题里没有的事实（{kinds}）；{uniform} 的开头或结尾"
            "雷同，{brief} 只有几个字",
        ),
        "form": (
            "what is to be learned is form, tone or judgement rather than facts: that is what "
            "fine-tuning teaches",
            "要学的主要是格式、语气或判断，而不是事实：这正是微调所擅长的",
        ),
        "elicit": (
            "the base knows most of the facts and does not say them reliably: fine-tuning brings "
            "them out (Gekhman et al. 2024, arXiv 2405.05904)",
            "多数事实基座已经知道，只是说得不稳定：微调可以把它们引出来"
            "（Gekhman 等 2024，arXiv 2405.05904）",
        ),
        "knowledge base": (
            "the answers are facts that the base does not know: a knowledge base supplies them "
            "exactly and can be changed tomorrow; tuning on unknown facts teaches to make things "
            "up (arXiv 2405.05904), and retrieval beats it (arXiv 2312.05934: 0.88 against 0.50)",
            "答案多是基座不知道的事实：知识库能准确提供，明天也能改；用未知事实微调会教模型编造"
            "（arXiv 2405.05904），效果也不如检索（arXiv 2312.05934：0.88 对 0.50）",
        ),
        "both.part": (
            "{specific} of the answers hold dates, prices, articles or codes, and the base does "
            "not know what is asked: let a knowledge base supply those, and tune for how to "
            "answer, with the passages shown in the training rows",
            "{specific} 的回答含有日期、价格、条款或编号，而基座不知道所问的内容：这些交给知识库，"
            "微调学怎样回答，训练数据中要带上检索到的段落",
        ),
        "both.form": (
            "the answers are facts that the base does not know, in a form of their own ({uniform} "
            "alike): let a knowledge base supply the facts, and tune for the form, with the "
            "passages shown in the training rows",
            "答案是基座不知道的事实，又有自己的固定形式（{uniform} 雷同）：事实交给知识库，"
            "微调学形式，训练数据中要带上检索到的段落",
        ),
        "kind.dates": ("dates and terms", "日期与期限"),
        "kind.prices": ("prices", "价格金额"),
        "kind.shares": ("percentages", "百分比"),
        "kind.articles": ("articles and titles", "条款与文件名"),
        "kind.codes": ("codes and addresses", "编号与网址"),
        "kind.figures": ("figures", "数字"),
        "kind.none": ("none of one kind often", "没有某一类占多数"),
        "kind.join": (", ", "、"),
    }
)
