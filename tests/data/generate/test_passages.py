"""Documents → passages that know their place, and quotes found in them or not."""

from pathlib import Path

import pytest

from tunewright.core.errors import DataError
from tunewright.data.generate.passages import read_passages

from .conftest import RENT


def passages(path: Path, limit: int = 1200) -> list[tuple[str, str]]:
    return [(p.heading, p.text) for p in read_passages([str(path)], limit)]


def test_markdown_is_cut_at_headings_and_keeps_their_path(handbook: Path) -> None:
    assert passages(handbook) == [
        ("租房手册 > 押金", "押金应当在租期结束后七日内退还。\n出租人只能扣除有凭证的维修费。"),
        ("租房手册 > 试用期", "试用期最长不超过六个月，试用期工资不得低于约定工资的百分之八十。"),
        ("租房手册 > 备注", "略。"),
    ]


def test_every_line_of_a_passage_knows_its_number(tmp_path: Path) -> None:
    lines = [f"第{n}条 甲乙双方应当遵守第{n}项约定。" for n in range(1, 40)]
    path = tmp_path / "rules.txt"
    path.write_text("\r\n\r\n".join(lines), encoding="gb18030")
    found = list(read_passages([str(path)], 100))
    assert len(found) > 5
    assert all(len(p.text) <= 100 for p in found)
    assert "".join("".join(p.text.split("\n")) for p in found) == "".join(lines)
    for number, line in enumerate(lines):
        place = next(p.find(line) for p in found if p.find(line))
        assert place == (line, 2 * number + 1)


def test_long_lines_are_cut_at_sentences_and_only_then_inside(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("Pi is 3.14 here. " * 20 + "\n" + "无" * 250, encoding="utf-8")
    found = [text for _, text in passages(path, 100)]
    assert all(len(text) <= 100 for text in found)
    assert all(text.endswith("3.14 here.") for text in found[:-3])
    assert "".join(found[-3:]) == "无" * 250


def test_hashes_in_code_are_no_headings_and_comments_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "code.md"
    path.write_text("# Use\n<!-- draft -->\n```\n# a comment\n```\n", encoding="utf-8")
    assert passages(path) == [("Use", "```\n# a comment\n```")]


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("押金应当在租期结束后七日内退还", ("押金应当在租期结束后七日内退还", 8)),
        ("押金应当在租期结束后 七日内退还.", ("押金应当在租期结束后七日内退还。", 8)),
        ("七日内退还。 出租人只能扣除", ("七日内退还。\n出租人只能扣除", 8)),
        ("出租人只能扣除有凭证的维修费。", ("出租人只能扣除有凭证的维修费。", 9)),
        ("押金应当在租期结束后十日内退还", None),
        ("押金应当……退还", None),
        ("", None),
    ],
)
def test_quotes_are_found_word_for_word(
    handbook: Path, quote: str, found: tuple[str, int] | None
) -> None:
    assert next(read_passages([str(handbook)], 1200)).find(quote) == found


def test_folders_are_searched_and_files_named_apart(tmp_path: Path) -> None:
    for name in ("a/x.md", "b/x.md", "b/.hidden/y.md", "b/z.png"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RENT, encoding="utf-8")
    found = {p.file for p in read_passages([str(tmp_path / "docs")], 1200)}
    assert found == {"a/x.md", "b/x.md"}


def test_what_stands_before_the_text_is_no_passage(tmp_path: Path) -> None:
    path = tmp_path / "law.md"
    path.write_text(
        "# 租赁法\n\n二〇二〇年通过\n\n<!-- INFO END -->\n\n## 总则\n第一条 略。\n", "utf-8"
    )
    (found,) = read_passages([str(path)], 1200)
    assert (found.heading, found.text) == ("租赁法 > 总则", "第一条 略。")
    assert found.find("第一条") == ("第一条", 8)


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text("a,b\n1,2\n")
    for name, message in (
        ("x.png", "not a document"),
        ("empty", "holds no file that can be read"),
        ("tables", "no document here"),
        ("missing.md", "no such file"),
    ):
        with pytest.raises(DataError, match=message):
            list(read_passages([str(tmp_path / name)], 1200))
