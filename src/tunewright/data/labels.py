"""The words of the report in English and Chinese, and its warnings as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ENGLISH = {
    "language": "en",
    "title": "Data report",
    "ready": "Ready to train",
    "care": "Usable, with care",
    "verdict": "{kept} of {read} rows are kept: {train} to learn from, {dev} to watch the run, "
    "{test} locked away for the test.",
    "rows": "Where every row went",
    "kept": "kept",
    "read": "Rows read",
    "mixed": "general rows mixed into training",
    "train": "training",
    "dev": "validation",
    "test": "test",
    "share": "share",
    "files": "How the files were read",
    "file": "File",
    "encoding": "Encoding",
    "columns": "Columns",
    "test_file": "test file",
    "separator": "separator",
    "warnings": "Worth a look",
    "lengths": "Length in tokens",
    "lengths_note": "as {base} sees them; the longest row allowed is {limit} tokens",
    "median": "median",
    "p95": "95 % are at most",
    "longest": "longest",
    "total": "tokens in all",
    "learned": "of them learned",
    "row": "row",
    "slices": "Slices of the test",
    "example": "One row as the model sees it",
    "example_note": "The loss counts on the coloured tokens only: the answer and its end.",
    "dropped": "Rows left out, by reason",
    "none_dropped": "No row was left out.",
    "first_of": "first {shown} of {count}",
    "settings": "Settings",
    "groups": "different questions",
    "truncated": "cut short",
}
_CHINESE = {
    "language": "zh",
    "title": "数据报告",
    "ready": "可以训练",
    "care": "可用，但请留意",
    "verdict": "共 {read} 行，保留 {kept} 行：训练 {train} 行，验证 {dev} 行，锁定测试 {test} 行。",
    "rows": "每一行的去向",
    "kept": "保留",
    "read": "读入行数",
    "mixed": "混入训练的通用数据",
    "train": "训练",
    "dev": "验证",
    "test": "测试",
    "share": "占比",
    "files": "文件是怎样读取的",
    "file": "文件",
    "encoding": "编码",
    "columns": "列",
    "test_file": "测试文件",
    "separator": "分隔符",
    "warnings": "值得留意",
    "lengths": "长度（词元数）",
    "lengths_note": "按 {base} 的分词计；单行最长允许 {limit} 个词元",
    "median": "中位数",
    "p95": "95 % 的行不超过",
    "longest": "最长",
    "total": "词元总数",
    "learned": "其中参与学习",
    "row": "行",
    "slices": "测试集分组",
    "example": "模型看到的一行",
    "example_note": "只有着色的词元计入损失：回答及其结束符。",
    "dropped": "未采用的行，按原因",
    "none_dropped": "没有丢弃任何行。",
    "first_of": "共 {count} 行，列出前 {shown} 行",
    "settings": "设置",
    "groups": "个不同的问题",
    "truncated": "被截断",
}
_CHINESE_REASONS = {
    "duplicate": "重复",
    "contradicting answer": "同一问题的其他回答",
    "empty question": "问题为空",
    "empty answer": "回答为空",
    "not the best answer": "不是最佳回答",
    "does not match --where": "不符合 --where 条件",
    "question stands in the test set": "问题已在测试集中",
    "longer than the context": "超过上下文长度",
    "refused by the chat template": "对话模板不接受",
    "wrong number of fields": "字段数与表头不符",
    "not JSON": "不是有效的 JSON",
    "not a JSON object": "不是 JSON 对象",
    "not a message": "不是一条消息",
    "not text": "内容不是文本",
    "unknown role": "未知角色",
    "system message not first": "系统消息不在开头",
    "tool calls": "含工具调用",
}
_WARNINGS = {
    "en": {
        "garbled characters": "{rows} rows hold garbled characters (first: {file}, row {row}); "
        "the text was damaged before it came here.",
        "phone numbers": "{rows} rows hold what looks like a mobile phone number (first: {file}, "
        "row {row}); a model may repeat it.",
        "identity card numbers": "{rows} rows hold what looks like an identity card number (first: "
        "{file}, row {row}); a model may repeat it.",
        "few questions": "Only {groups} different questions: none was held back, so nothing can be "
        "measured. Ten are the least, a few hundred are better.",
        "no test": "No test rows: improvement cannot be measured.",
        "mostly dropped": "More than half of the rows were left out; look at the reasons below.",
        "near-equal": "{rows} rows ask nearly what another row asks (other punctuation, spacing or "
        "ending); each stays on the same side of the split as its twin.",
        "fewer general": "{wanted} general rows were asked for; the bundled set has {mixed}.",
        "base": "{text}",
        "file": "{file}: {text}",
    },
    "zh": {
        "garbled characters": "{rows} 行含有乱码（首见于 {file} 第 {row} 行）；"
        "文本在导入前已损坏。",
        "phone numbers": "{rows} 行疑似含有手机号码（首见于 {file} 第 {row} 行）；模型可能复述。",
        "identity card numbers": "{rows} 行疑似含有身份证号（首见于 {file} 第 {row} 行）；"
        "模型可能复述。",
        "few questions": "只有 {groups} 个不同的问题：没有留出验证和测试，无法衡量效果。"
        "至少需要十个，几百个更好。",
        "no test": "没有测试行：无法衡量提升。",
        "mostly dropped": "超过一半的行未被采用，请查看下面的原因。",
        "near-equal": "{rows} 行与另一行的问题几乎相同（标点、空格或结尾不同）；"
        "它们总在同一份数据中。",
        "fewer general": "请求混入 {wanted} 行通用数据，自带的只有 {mixed} 行。",
        "base": "{text}",
        "file": "{file}：{text}",
    },
}


def labels(language: str) -> Mapping[str, str]:
    """The report's words; English for every language but ``zh``."""
    return _CHINESE if language == "zh" else _ENGLISH


def reason_label(reason: str, language: str) -> str:
    """A reason for leaving a row out, in the reader's language."""
    return _CHINESE_REASONS.get(reason, reason) if language == "zh" else reason


def warning_text(warning: Mapping[str, Any], language: str) -> str:
    """A warning as a sentence."""
    texts = _WARNINGS["zh" if language == "zh" else "en"]
    return texts[str(warning["kind"])].format(**warning)
