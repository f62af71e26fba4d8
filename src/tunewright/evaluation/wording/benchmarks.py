"""Public benchmarks: headings, and how they were asked."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

BENCHMARKS: Final = MappingProxyType(
    {
        "benchmarks": ("Public benchmarks", "公开基准测试"),
        "benchmarks.lead": (
            "Multiple choice with four options, so that guessing gives 25%. Intervals of shares "
            "are Wilson's, those of differences Newcombe's for paired questions, both 95%; p is "
            "McNemar's exact test, adjusted by Holm over all comparisons on benchmarks.",
            "四选一的选择题，随机猜测的正确率为 25%。正确率的区间为 Wilson 区间，差值的区间为"
            "配对 Newcombe 区间，均为 95%；p 值为 McNemar 精确检验，并按 Holm 法对所有基准测试的"
            "比较做了校正。",
        ),
        "benchmarks.likelihood": (
            "{questions} questions of the {split} split, {shots} examples before each; the "
            "likeliest letter counts as the answer.",
            "{split} 集的 {questions} 道题，每题前给出 {shots} 个示例；以概率最大的选项字母为准。",
        ),
        "benchmarks.answer": (
            "{questions} questions of the {split} split, {shots} examples before each; the letter "
            "that the written answer names counts, and one that names none is wrong.",
            "{split} 集的 {questions} 道题，每题前给出 {shots} 个示例；以生成的回答所选的字母为准，"
            "没有给出字母的算错。",
        ),
        "benchmarks.shortened": (
            "{count} of them were shown fewer examples, since the context is too short for all.",
            "其中 {count} 道因上下文长度不足而减少了示例。",
        ),
        "benchmarks.left_out": (
            "{count} more are longer than the context and were not asked.",
            "另有 {count} 道超出上下文长度，未予提问。",
        ),
        "benchmarks.unread": (
            "{model}: {count} answers name no letter.",
            "{model}：{count} 个回答没有给出选项字母。",
        ),
        "category": ("Category", "类别"),
        "benchmarks.all": ("All questions", "全部题目"),
        "benchmarks.mean": ("Mean of subjects", "各科目平均"),
        "benchmarks.by_subject": ("By subject ({count})", "按科目（{count} 个）"),
        "benchmarks.subject": ("Subject", "科目"),
        "benchmarks.against": ("Compared with {base}", "与 {base} 对比"),
        "benchmarks.p": ("p (McNemar, Holm)", "p（McNemar，Holm 校正）"),
        "category.STEM": ("STEM", "理工"),
        "category.Humanities": ("Humanities", "人文"),
        "category.Social Science": ("Social science", "社会科学"),
        "category.Other": ("Other", "其他"),
        "category.China specific": ("Specific to China", "中国特色"),
        "category.Unpublished": ("Not among the published", "非官方科目"),
    }
)
