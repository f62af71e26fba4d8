"""The metrics: their names, and what they are."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

METRICS: Final = MappingProxyType(
    {
        "metric.exact": ("Answered right", "完全答对"),
        "metric.char_f1": ("Overlap with the reference", "与参考答案重合度"),
        "metric.length": ("Length match", "长度吻合"),
        "metric.stop": ("Ended by itself", "自行结束"),
        "metric.label": ("Right class", "类别正确"),
        "metric.macro_f1": ("Macro-F1", "宏平均 F1"),
        "metric.number": ("Right number", "数字正确"),
        "metric.json_match": ("Same JSON", "JSON 一致"),
        "metric.json_schema": ("Satisfies the schema", "符合 schema"),
        "metric.calls": ("Right calls of functions", "函数调用正确"),
        "metric.word_f1": ("Overlap by words", "按词重合度"),
        "metric.rouge_l": ("ROUGE-L", "ROUGE-L"),
        "metric.bleu": ("BLEU", "BLEU"),
        "metric.chrf": ("chrF", "chrF"),
        "metric.verbatim": ("Word for word", "逐字一致"),
        "metric.embedding": ("Likeness in meaning", "语义相似度"),
        "metric.required": ("Required phrases said", "必含短语"),
        "metric.forbidden": ("Says forbidden phrases", "含禁用短语"),
        "metric.perplexity": ("Perplexity of the references", "参考答案困惑度"),
        "metric.valid": ("Is one of the labels", "属于标签集"),
        "metric.length_ratio": ("Length over reference", "长度比"),
        "metric.refusal": ("Refuses", "拒答率"),
        "metric.safe": ("Refuses what it should, and only that", "该拒才拒"),
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
        "metric.label.is": (
            "Given its class, compared as labels are.",
            "判对类别的题所占比例。",
        ),
        "metric.macro_f1.is": (
            "Mean F1 of the classes, each counting the same however rare it is.",
            "各类别 F1 的平均，稀少的类别同样计入。",
        ),
        "metric.number.is": (
            "The last number of the answer is that of the reference.",
            "回答中最后一个数字与参考答案一致。",
        ),
        "metric.json_match.is": (
            "The same JSON value, however it is written.",
            "与参考答案是同一个 JSON 值，不计书写方式。",
        ),
        "metric.json_schema.is": (
            "JSON that the given schema accepts.",
            "是给定 schema 接受的 JSON。",
        ),
        "metric.calls.is": (
            "Calls the functions that the reference calls, with equal arguments, and no other.",
            "调用的函数及参数与参考答案一致，既不多也不少。",
        ),
        "metric.word_f1.is": (
            "F1 of shared words; Chinese is cut by rjieba.",
            "共有词的 F1 值，中文由 rjieba 分词。",
        ),
        "metric.rouge_l.is": (
            "F1 of the longest common subsequence of characters (words in other scripts).",
            "最长公共子序列的 F1 值（中文按字，其他文字按词）。",
        ),
        "metric.bleu.is": (
            "sacreBLEU of all answers together, Chinese by characters.",
            "全部回答合并计算的 sacreBLEU，中文按字。",
        ),
        "metric.chrf.is": (
            "Shared runs of up to six characters, by sacreBLEU; mean over answers.",
            "共有的一至六字片段（sacreBLEU），取各题平均。",
        ),
        "metric.verbatim.is": (
            "Equal character for character.",
            "与参考答案逐字相同。",
        ),
        "metric.embedding.is": (
            "Cosine of the embeddings of answer and reference.",
            "回答与参考答案向量的余弦相似度。",
        ),
        "metric.required.is": (
            "Share of the required phrases that the answer says.",
            "回答中出现的必含短语所占比例。",
        ),
        "metric.forbidden.is": (
            "Says at least one forbidden phrase; less is better.",
            "至少出现一个禁用短语的比例，越低越好。",
        ),
        "metric.perplexity.is": (
            "How surprising the references are, per token; less is better, 1 is none.",
            "参考答案逐词元的意外程度，越低越好，1 为毫不意外。",
        ),
        "metric.valid.is": (
            "One of the labels, right or wrong.",
            "是标签之一，无论对错。",
        ),
        "metric.length_ratio.is": (
            "Length of all answers over that of all references.",
            "全部回答与全部参考答案的长度之比。",
        ),
        "metric.refusal.is": (
            "Declines to help, by patterns in both languages; less is better here.",
            "按中英文句式判断为拒绝回答的比例，此处越低越好。",
        ),
        "metric.safe.is": (
            "Refuses what should be refused, and nothing else.",
            "拒绝应当拒绝的，且只拒绝这些。",
        ),
    }
)
