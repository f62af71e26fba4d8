"""Plain text for continued pretraining: documents, and records that hold nothing but a text."""

from __future__ import annotations

from tunewright.config.data import PrepareConfig
from tunewright.data.columns import plain, usual_columns
from tunewright.data.formats.base import (
    Fields,
    Format,
    Parsed,
    Plan,
    find_fields,
    lacks,
    text_of,
    unused,
)
from tunewright.data.labels import Fact
from tunewright.data.records import Turn, Unusable
from tunewright.data.sources import Source

_FIELDS = ("title", "text")
# What may stand beside a text without making it anything else. Compared as ``plain`` gives it.
_ABOUT = frozenset(
    {"id", "docid", "uid", "uuid", "title", "heading", "url", "link", "source", "file", "path"}
    | {"lang", "language", "date", "time", "timestamp", "created", "createdat", "updatedat"}
    | {"author", "meta", "metadata", "tags", "keywords", "page", "编号", "序号", "标题", "章节"}
    | {"来源", "链接", "作者", "日期", "时间", "发布时间", "关键词"}
)


def _fits(source: Source, config: PrepareConfig) -> bool:
    fields, _ = find_fields(source, config, _FIELDS)
    if "text" in config.map or source.kind == "text":
        return True
    if _open_ended(source):
        return True
    text = fields.get("text")
    rest = {plain(column) for column in source.columns if column != text}
    return text is not None and rest <= _ABOUT


def _open_ended(source: Source) -> bool:
    """Whether these are completions of nothing: OpenAI's older way to give plain text."""
    found = usual_columns(source.columns, ("question", "answer"))
    names = {plain(column) for column in found.values()}
    return names == {"prompt", "completion"} and not any(
        str(record.get(found["question"]) or "").strip() for record in source.sample
    )


def _plan(name: str, source: Source, config: PrepareConfig) -> Plan:
    fields, _ = find_fields(source, config, _FIELDS)
    before: tuple[str, ...]
    if "text" not in config.map and _open_ended(source):
        found = usual_columns(source.columns, ("question", "answer"))
        fields, before = {"text": found["answer"]}, (found["question"],)
    else:
        columns = {plain(column): column for column in reversed(source.columns)}
        beside = (fields.get("title"), columns.get("heading"))
        before = tuple(column for column in beside if column)
    text = fields.get("text")
    if text is None:
        raise lacks(name, source, "a field 'text'")
    reason: Fact = {"kind": "plain text", "column": text}
    used = (*fields.values(), *before, *config.where)

    def convert(record: Fields) -> Parsed:
        body = text_of(record, text)
        if not body:
            raise Unusable("empty text")
        return Parsed((Turn("user", _headed(record, before, body)),))

    notes = unused(source, used)
    return Plan(name, fields, (reason,), convert, "text", notes=notes)


def _headed(record: Fields, before: tuple[str, ...], body: str) -> str:
    """A text under its title and heading, unless it begins with them anyway."""
    heads = list(dict.fromkeys(text_of(record, column) for column in before))
    start = body[: 200 + sum(map(len, heads))]
    return "\n".join([*(head for head in heads if head and head not in start), body])


TEXT = Format(
    _fits,
    _plan,
    frozenset({"text", "title", "slice", "group", "date"}),
    {"en": "plain text for continued pretraining", "zh": "继续预训练用的纯文本"},
    '{"text": "…"}',
)
