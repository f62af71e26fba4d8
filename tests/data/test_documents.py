"""Documents: what stands before the text, where long ones are cut, what is no document."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.data.documents import LIMIT
from tunewright.data.sources import Source, open_source

SENTENCE = "试用期包含在劳动合同期限内，劳动合同仅约定试用期的，试用期不成立。"


def document(tmp_path: Path, text: str, name: str = "note.md", **options: Any) -> Source:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return open_source(path, name, **options)


def records(source: Source) -> list[tuple[int, dict[str, Any]]]:
    return [(r.number, r.fields) for r in source.read() if isinstance(r.fields, dict)]


def test_a_short_document_is_one_record(tmp_path: Path) -> None:
    source = document(tmp_path, "# 试用期\n\n第一段。\n第二行。\n\n## 期限\n\n* 一月\n* 六月\n")
    assert (source.kind, source.encoding) == ("text", "UTF-8")
    text = "# 试用期\n\n第一段。\n第二行。\n\n## 期限\n\n* 一月\n* 六月"
    assert records(source) == [(1, {"text": text, "heading": "", "title": "试用期"})]


def test_front_matter_and_the_block_before_the_text_become_fields(tmp_path: Path) -> None:
    source = document(
        tmp_path,
        "---\ndate: 2024-04-26\ntags: [a]\nnested:\n  - x\ntext: no\n---\n\n# 关税法\n\n"
        "2024年4月26日 通过\n\n自12月1日起施行\n\n<!-- INFO END -->\n\n"
        "## 第一章 总则\n\n第一条。\n",
    )
    ((number, fields),) = records(source)
    assert number == 17
    assert fields == {
        "text": "## 第一章 总则\n\n第一条。",
        "heading": "第一章 总则",
        "title": "关税法",
        "date": "2024-04-26",
        "tags": "[a]",
        "info": "2024年4月26日 通过\n自12月1日起施行",
    }


def test_a_text_file_has_no_headings(tmp_path: Path) -> None:
    source = document(tmp_path, "# not a heading\n\n---\na: b\n---\n", "日志 3.txt")
    ((_, fields),) = records(source)
    assert fields["title"] == "日志 3"
    assert fields["text"].startswith("# not a heading\n\n---")


def test_long_documents_are_cut_at_headings(tmp_path: Path) -> None:
    parts = [f"## 第{n}章\n\n" + f"{SENTENCE}\n\n" * 70 for n in range(1, 6)]
    source = document(tmp_path, "# 法\n\n" + "".join(parts))
    found = records(source)
    assert all(len(fields["text"]) <= LIMIT for _, fields in found)
    assert [fields["heading"] for _, fields in found] == ["", *(f"第{n}章" for n in range(2, 6))]
    for number, fields in found[1:]:
        assert fields["text"].startswith(f"## {fields['heading']}")
        assert number == 3 + 142 * (int(fields["heading"][1]) - 1)
    assert {fields["title"] for _, fields in found} == {"法"}


def test_a_long_section_names_its_path_in_every_record(tmp_path: Path) -> None:
    source = document(
        tmp_path, f"# 法\n\n## 章\n\n### 节\n\n{f'{SENTENCE * 3}{chr(10)}{chr(10)}' * 90}"
    )
    headings = [fields["heading"] for _, fields in records(source)]
    assert headings == ["", "章 > 节", "章 > 节"]


@pytest.mark.parametrize("join", ["", "\n", " "])
def test_a_paragraph_without_end_is_cut_between_sentences(tmp_path: Path, join: str) -> None:
    rng = random.Random(0)
    sentences = [SENTENCE[: rng.randrange(5, 30)] + rng.choice("。！？；") for _ in range(900)]
    found = records(document(tmp_path, join.join(sentences), "a.txt"))
    assert len(found) > 3
    for _, fields in found:
        assert len(fields["text"]) <= LIMIT
        assert fields["text"][-1] in "。！？；"
    assert "".join(f["text"].replace(join, "") for _, f in found) == "".join(sentences)


def test_english_is_cut_between_sentences(tmp_path: Path) -> None:
    text = " ".join(f"Clause {n} costs 1.5 times as much, e.g. for rent." for n in range(400))
    found = [fields["text"] for _, fields in records(document(tmp_path, text, "a.txt"))]
    assert " ".join(found) == text
    assert all(part.startswith("Clause") and part.endswith("rent.") for part in found)


def test_lines_without_full_stops_are_cut_between_lines(tmp_path: Path) -> None:
    lines = [f"第{n}项　保证金" for n in range(2000)]
    found = [fields["text"] for _, fields in records(document(tmp_path, "\n".join(lines), "a.txt"))]
    assert "\n".join(found).splitlines() == lines
    assert all(len(part) <= LIMIT for part in found)


def test_a_sentence_longer_than_a_record_stays_whole(tmp_path: Path) -> None:
    text = "短句。" + "长" * (LIMIT + 50) + "。又一短句。"
    found = [fields["text"] for _, fields in records(document(tmp_path, text, "a.txt"))]
    assert found == ["短句。", "长" * (LIMIT + 50) + "。", "又一短句。"]


def test_nothing_of_a_document_is_lost(tmp_path: Path) -> None:
    rng = random.Random(1)
    blocks = []
    for n in range(400):
        kind = rng.randrange(5)
        body = SENTENCE[: rng.randrange(1, 33)] * rng.randrange(1, 40)
        fenced = f"```\n# {n}\n\nx\n```"
        heading = f"{'#' * rng.randrange(1, 5)} 标题{n}"
        blocks.append([heading, body, f"- {body}\n- b", fenced, body][kind])
    text = "\n\n".join([*blocks, "完。"])
    found = "".join(fields["text"] for _, fields in records(document(tmp_path, text)))
    assert "".join(found.split()) == "".join(text.split())


def test_signs_in_code_are_no_headings(tmp_path: Path) -> None:
    text = "# T\n\n```sh\n# comment\n\n## more\n```\n\n" + f"{SENTENCE}\n\n" * 200
    headings = {fields["heading"] for _, fields in records(document(tmp_path, text))}
    assert headings == {""}


@pytest.mark.parametrize("text", ["---\na: b\n---\n", "# Title only\n", "---\nx: y\n---\n# T\n\n"])
def test_a_document_without_text(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"note\.md: the document holds no text"):
        document(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("问题\t回答\n一\t二\n", "csv"),
        ("id;question;answer\n1;q;a\n", "csv"),
        ('{"question": "q", "answer": "a"}\n{"question": "r", "answer": "b"}\n', "jsonl"),
        ('[{"question": "q"}]', "json"),
        ("他问：这样，行吗？\n行，没问题。\n", "text"),
        ("[注] 本文仅供参考。\n", "text"),
        ("{占位符} 的用法\n第二行\n", "text"),
        ("a,b\n1,2\n", "text"),
    ],
)
def test_what_a_text_file_is_decides_its_content(tmp_path: Path, text: str, kind: str) -> None:
    assert document(tmp_path, text, "a.txt").kind == kind


def test_a_mapped_column_makes_a_text_file_a_table(tmp_path: Path) -> None:
    assert document(tmp_path, "a;b\n1;2\n", "a.txt", delimiter=";").kind == "csv"


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: longer than"):
        document(tmp_path, "Text.\n" + "x" * (1 << 25), "a.txt")
