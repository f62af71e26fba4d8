"""Which column is the question and which the answer: by usual names, by ``--map``, or refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import DataError
from tunewright.data.labels import Fact

# Usual names of each field, the likeliest first. Compared without case, spaces, _ and -.
NAMES: dict[str, tuple[str, ...]] = {
    "question": (
        *("question", "query", "prompt", "instruction", "问题", "提问", "咨询内容", "咨询", "问句"),
        *("问", "用户问题", "问题内容", "questions", "ask", "user", "q", "问题描述", "客户问题"),
        *("content", "内容", "description", "描述", "详细描述", "text", "文本"),
    ),
    "title": ("title", "标题", "主题", "问题标题", "subject"),
    "input": ("input", "输入"),
    "answer": (
        *("answer", "reply", "response", "output", "completion", "回答", "答复", "回复", "答案"),
        *("答", "回答内容", "回复内容", "标准答案", "answers", "assistant", "target", "a"),
        *("客服回复", "客服回答", "律师回复", "律师回答", "解答", "专家解答", "参考答案"),
        *("bestanswer", "最佳答案"),
    ),
    "system": ("system", "systemprompt", "系统", "系统提示", "系统提示词"),
    "history": ("history", "历史", "历史对话", "对话历史"),
    "best": ("isbest", "best", "最佳", "采纳", "是否最佳", "是否采纳", "最佳答案", "isaccepted"),
    "label": (
        *("labeltext", "labelname", "label", "标签", "sentiment", "情感", "情感倾向", "intent"),
        *("意图", "class", "classname", "category", "类别", "分类", "类目"),
    ),
    "slice": ("kind", "slice", "category", "类别", "分类", "topic", "话题", "领域", "所属领域"),
    "group": (
        *("group", "groupid", "clusterid", "situation", "分组", "组号", "分组编号", "情形编号"),
    ),
    "date": (
        *("updatedat", "updated", "updatetime", "更新时间", "修改时间", "回复时间", "回答时间"),
        *("createdat", "created", "createtime", "创建时间", "提问时间", "咨询时间", "发布时间"),
        *("date", "日期", "datetime", "timestamp", "time", "时间", "发送时间"),
    ),
    "required": (
        *("required", "requiredphrases", "mustsay", "mustmention", "必含", "必含短语", "必须包含"),
        *("必答要点",),
    ),
    "forbidden": (
        *("forbidden", "forbiddenphrases", "mustnotsay", "禁用", "禁用短语", "禁用词", "不得包含"),
    ),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "对话"),
    "chosen": ("chosen", "chosenresponse", "preferred", "优选", "优选回答", "好回答", "较好回答"),
    "rejected": (
        *("rejected", "rejectedresponse", "rejectedmessages", "nonpreferred"),
        *("拒绝", "拒绝回答", "差回答", "较差回答"),
    ),
    "desirable": ("label", "ktotag", "desirable"),
    "session": (
        *("sessionid", "session", "conversationid", "conversation", "dialogueid", "dialogid"),
        *("chatid", "threadid", "ticketid", "convid", "会话id", "会话编号", "会话", "会话号"),
        *("对话id", "对话编号", "对话", "工单号", "工单编号"),
    ),
    "role": (
        *("role", "speaker", "sender", "sendertype", "senderrole", "from", "author", "角色"),
        *("发言人", "发言者", "发送者", "发送人", "发送方", "说话人", "身份"),
    ),
    "content": (
        *("content", "message", "text", "utterance", "body", "msg", "value", "内容", "消息"),
        *("消息内容", "发言内容", "聊天内容", "对话内容", "发言", "文本"),
    ),
    "text": (
        *("text", "文本", "正文", "content", "内容", "document", "body", "sentence", "句子"),
        *("review", "评论", "评论内容", "评价内容", "comment", "utterance", "passage", "段落"),
    ),
}
FIELDS = tuple(NAMES)
QUESTION_FIELDS = ("question", "title", "input", "system", "history")
"""Fields that make up what is asked."""
EXTRA_FIELDS = ("slice", "group", "date", "required", "forbidden")
"""Fields that any format may have beside its own."""
ROW_FIELDS = ("question", "title", "input", "answer", "system", "history", "best", *EXTRA_FIELDS)
"""Fields that a table of questions and answers is searched for."""

# Names that mean the field only when its partner carries the other name.
_PAIRS: tuple[tuple[str, str], ...] = (
    ("content", "summary"),
    ("input", "output"),
    ("用户", "客服"),
    ("客户", "客服"),
)

TRUE = frozenset({"1", "1.0", "true", "yes", "y", "t", "是", "对", "√", "best", "最佳", "采纳"})
FALSE = frozenset({"", "0", "0.0", "false", "no", "n", "f", "否", "不是", "×", "none", "null"})


@dataclass(frozen=True)
class ColumnMap:
    """Field → column, and why."""

    fields: dict[str, str]
    reason: tuple[Fact, ...]

    def get(self, field: str) -> str | None:
        """The column of a field, or None."""
        return self.fields.get(field)


def find_columns(
    file: str,
    columns: Iterable[str],
    wanted: Mapping[str, str],
    sample: Iterable[Mapping[str, Any]] = (),
) -> ColumnMap:
    """Map the fields of a table of questions and answers to a file's columns.

    Args:
        file: for messages.
        columns: the file's columns in order.
        wanted: the user's own ``field → column``, which wins.
        sample: records to suggest columns from when names say nothing.

    Raises:
        DataError: an unknown field or column, or no question or answer column; the message
            lists the columns and the ``--map`` that would help.
    """
    columns = list(columns)
    given = given_columns(file, columns, wanted)
    found = {**_by_pair(columns), **usual_columns(columns, ROW_FIELDS)}
    if "question" not in {*found, *given} and "input" in found:
        found["question"] = found.pop("input")
    result = column_map(found, given)
    if not {"question", "title"} & set(result.fields) or "answer" not in result.fields:
        raise _not_found(file, columns, result.fields, list(sample))
    return result


def column_map(found: Mapping[str, str], given: Mapping[str, str]) -> ColumnMap:
    """Fields found by name and fields given by the user as one map; no column serves twice."""
    found = dict(found)
    if "question" in found and "title" in given and "question" not in given:
        del found["question"]  # who asks for the title wants the title
    fields = {**found, **given}
    _release(fields, given)
    ordered = {field: fields[field] for field in FIELDS if field in fields}
    return ColumnMap(ordered, _reason(ordered, given))


def given_columns(file: str, columns: Iterable[str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The user's own ``field → column``, each column spelled as the file does.

    Raises:
        DataError: an unknown field or column.
    """
    columns = list(columns)
    known = {plain(column): column for column in reversed(columns)}
    result = {}
    for field, column in wanted.items():
        if field not in NAMES:
            raise DataError(
                f"--map {field}={column}: there is no field {field!r}",
                f"Fields: {', '.join(FIELDS)}.",
            )
        if column not in columns and plain(column) not in known:
            raise DataError(
                f"{file}: there is no column {column!r} (--map {field}={column})",
                f"Its columns: {', '.join(columns)}.",
            )
        result[field] = column if column in columns else known[plain(column)]
    return result


def usual_columns(columns: Iterable[str], fields: Iterable[str]) -> dict[str, str]:
    """Field → the column that carries one of its usual names, for those fields that have one."""
    known = {plain(column): column for column in reversed(list(columns))}
    found = {}
    for field in fields:
        match = next((known[name] for name in NAMES[field] if name in known), None)
        if match is not None:
            found[field] = match
    return found


def plain(name: str) -> str:
    """A column name for comparing: width, case, spaces, ``_`` and ``-`` do not matter."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character not in " \t_-.:：*")


def is_flag(values: Iterable[Any]) -> bool:
    """Whether values are yes/no marks, at least one of them yes."""
    marks = {mark(value) for value in values}
    return bool(marks & TRUE) and marks <= TRUE | FALSE


def mark(value: Any) -> str:
    """A cell as a yes/no mark or a value to compare: trimmed, without case."""
    return "" if value is None else str(value).strip().casefold()


def _by_pair(columns: list[str]) -> dict[str, str]:
    known = {plain(column): column for column in reversed(columns)}
    for question, answer in _PAIRS:
        if question in known and answer in known:
            return {"question": known[question], "answer": known[answer]}
    return {}


def _release(fields: dict[str, str], given: Mapping[str, str]) -> None:
    """A column that the user gave to one field, or that serves two, is taken from the others."""
    taken = {column: field for field, column in given.items()}
    for field in FIELDS:
        column = fields.get(field)
        if column is None or field in given:
            continue
        if column in taken:
            del fields[field]
        else:
            taken[column] = field


def _reason(fields: Mapping[str, str], given: Mapping[str, str]) -> tuple[Fact, ...]:
    own = [f"{field}={column}" for field, column in given.items()]
    usual = [f"{field}={column}" for field, column in fields.items() if field not in given]
    facts: list[Fact] = []
    if own:
        facts.append({"kind": "mapped as asked", "pairs": ", ".join(own)})
    if usual:
        facts.append({"kind": "mapped by name", "pairs": ", ".join(usual)})
    return tuple(facts)


def _not_found(
    file: str, columns: list[str], fields: dict[str, str], sample: list[Mapping[str, Any]]
) -> DataError:
    has_question = "question" in fields or "title" in fields
    missing = [
        name
        for name, there in (("question", has_question), ("answer", "answer" in fields))
        if not there
    ]
    lengths = {c: _mean_length(c, sample) for c in columns if c not in fields.values()}
    free = sorted((c for c in lengths if lengths[c] > 0), key=lambda c: -lengths[c])
    # Of two text columns the one further left is more often the question.
    likely = sorted(free[: len(missing)], key=columns.index)
    if len(likely) == len(missing):
        guess = [f"--map {m}={_quoted(c)}" for m, c in zip(missing, likely, strict=True)]
        hint = f"If they are there, name them: {' '.join(guess)}"
    elif has_question or "answer" in fields:
        hint = _nothing_left(missing[0], fields, lengths, sample)
    else:
        hint = "Does the first row hold the column names?"
    return DataError(
        f"{file}: no column looks like the {' or the '.join(missing)}; "
        f"its columns are: {', '.join(column[:60] for column in columns[:40])}",
        hint,
    )


def _nothing_left(
    missing: str, fields: Mapping[str, str], free: Iterable[str], sample: list[Mapping[str, Any]]
) -> str:
    """Why no free column can be the missing one, and the mapping that works once there is one."""
    held = ", ".join(f"{column[:60]} holds {_kind_of(column, sample)}" for column in free)
    there = " ".join(f"--map {f}={_quoted(c)}" for f, c in fields.items() if f in _ESSENTIAL)
    return (
        f"No other column holds text that could be the {missing}{f' ({held})' if held else ''}. "
        f"Add a column of {missing}s and name it: {there} --map {missing}=COLUMN"
    )


_ESSENTIAL = ("question", "title", "answer")
_KINDS = {dict: "objects", list: "lists", bool: "yes/no values", int: "numbers", float: "numbers"}


def _kind_of(column: str, sample: list[Mapping[str, Any]]) -> str:
    kinds = {_KINDS.get(type(value), "no text") for r in sample if (value := r.get(column))}
    return " and ".join(sorted(kinds)) or "nothing"


def _mean_length(column: str, sample: list[Mapping[str, Any]]) -> float:
    texts = [value for record in sample if isinstance(value := record.get(column), str)]
    if not texts:
        return 0.0
    wordy = [text for text in texts if not text.strip().replace(".", "", 1).isdigit()]
    return sum(len(text) for text in wordy) / len(sample)


def _quoted(column: str) -> str:
    return f"'{column}'" if not column.isidentifier() else column
