"""Encodings: found when they can be, refused with the place when they cannot."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from tunewright.core.errors import ConfigError, DataError
from tunewright.data.text import MAX_LINE, open_text

CHINESE = "问题,回答\n" + "试用期最长多久？,试用期最长不得超过六个月，要写在劳动合同里。\n" * 20


def content(path: Path, encoding: str | None = None) -> str:
    with open_text(path, encoding).lines() as lines:
        return "".join(lines)


def written(tmp_path: Path, data: bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (CHINESE.encode(), "UTF-8"),
        (CHINESE.encode("utf-8-sig"), "UTF-8"),
        (CHINESE.encode("gb18030"), "GB18030"),
        (CHINESE.encode("gbk"), "GB18030"),
        (CHINESE.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + CHINESE.encode("utf-16-be"), "UTF-16"),
        (CHINESE.encode("utf-16-le"), "UTF-16-LE"),
        (CHINESE.encode("utf-16-be"), "UTF-16-BE"),
        (CHINESE.encode("utf-32"), "UTF-32"),
    ],
)
def test_chinese_is_read_in_every_usual_encoding(tmp_path: Path, data: bytes, name: str) -> None:
    path = written(tmp_path, data)
    assert open_text(path).encoding_name == name
    assert content(path) == CHINESE


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_english_is_read_with_and_without_wide_characters(tmp_path: Path, encoding: str) -> None:
    text = "question,answer\nHow long?,Six months.\n"
    assert content(written(tmp_path, text.encode(encoding))) == text


def test_four_byte_gb18030_characters_survive(tmp_path: Path) -> None:
    text = "问题,回答\n𠮷野家怎么走？,往左😀。\n"
    assert content(written(tmp_path, text.encode("gb18030"))) == text


def test_a_cut_off_utf8_file_is_refused_with_its_place(tmp_path: Path) -> None:
    data = CHINESE.encode()[:-5]
    with pytest.raises(DataError, match="line 21: ends in the middle of a character") as caught:
        open_text(written(tmp_path, data))
    assert "cut-off UTF-8" in caught.value.message
    assert f"byte {len(data) - 2}" in caught.value.message


def test_a_short_cut_off_utf8_file_is_not_taken_for_gb18030(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cut-off UTF-8"):
        open_text(written(tmp_path, "q,a\n你好,您".encode()[:-1]))


def test_a_damaged_utf8_file_is_not_taken_for_gb18030(tmp_path: Path) -> None:
    data = CHINESE.encode() + "谢谢,不客气\n".encode("gb18030") + CHINESE.encode()
    with pytest.raises(DataError, match=r"line 22: byte .* is not valid UTF-8, although"):
        open_text(written(tmp_path, data))


def test_damage_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    rows = CHINESE.encode() * 1200
    with pytest.raises(DataError, match="line 25201"):
        open_text(written(tmp_path, rows + b"\xff\xff" + CHINESE.encode()))


def test_a_cut_off_gb18030_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, CHINESE.encode("gb18030") + "完".encode("gb18030")[:1])
    with pytest.raises(DataError, match="cut-off GB18030"):
        content(path)


def test_gb18030_that_breaks_far_on_is_refused_while_reading(tmp_path: Path) -> None:
    rows = CHINESE.encode("gb18030") * 200
    path = written(tmp_path, rows + b"caf\xe9 ol\xe9\n" + rows)
    with pytest.raises(DataError, match=r"line 4201: the text is neither UTF-8 .* nor GB18030"):
        content(path)


def test_latin_text_is_refused_with_the_encoding_to_name(tmp_path: Path) -> None:
    path = written(tmp_path, "question,answer\nCafé très cher?,Déjà vu, à côté.\n".encode("cp1252"))
    with pytest.raises(DataError, match="neither UTF-8") as caught:
        open_text(path)
    assert "--encoding cp1252" in caught.value.hint
    assert "Café" in content(path, "cp1252")


TRADITIONAL = (
    "問題,回答\n試用期最長多久呢?,勞動契約法沒有規定試用期的長短，由雙方約定。\n",
    "客戶問,客服答\n我的信用卡掛失了怎麼辦？,請您立即撥打客服專線，我們會為您辦理停卡。\n",
    "題目,答案\n點解我部電話冇訊號？,你可以試下重新開機，或者打去客戶服務熱線查詢。\n",
    "question,answer\n台北今天天氣如何？,請上氣象局網站查詢。\n",
)
SIMPLIFIED = (
    "问题,回答\n租房合同提前终止要赔偿吗？,一般看合同的条款，也可以和房东协商。\n",
    "商品,描述\n连衣裙,蕾丝拼接袖口收腰显瘦雪纺面料\n",
    "型号,参数\n锂电池,容量三千毫安时额定电压\n",
    "问,答\n你好,您好\n",
)


@pytest.mark.parametrize("text", TRADITIONAL)
@pytest.mark.parametrize("codec", ["big5hkscs", "cp950", "gb18030", "utf-8", "utf-16"])
def test_traditional_chinese_is_read_in_big5_and_in_gb18030(
    tmp_path: Path, text: str, codec: str
) -> None:
    name = {"gb18030": "GB18030", "utf-8": "UTF-8", "utf-16": "UTF-16"}.get(codec, "Big5")
    for times in (1, 50):
        path = written(tmp_path, text.encode(codec) * times)
        assert open_text(path).encoding_name == name
        assert content(path).replace("\ufeff", "") == text * times


@pytest.mark.parametrize("text", SIMPLIFIED)
def test_simplified_chinese_is_never_taken_for_big5(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text.encode("gb18030"))
    assert open_text(path).encoding_name == "GB18030"
    assert content(path) == text


def test_every_part_of_a_simplified_text_is_told_from_big5(tmp_path: Path) -> None:
    text = "".join(SIMPLIFIED) + CHINESE
    for start in range(0, 200, 3):
        for length in (8, 20, 60):
            part = "甲,乙\n" + text[start : start + length]
            assert content(written(tmp_path, part.encode("gb18030"))) == part


def test_big5_that_was_asked_for_is_read_with_all_its_extensions(tmp_path: Path) -> None:
    path = written(tmp_path, "問,答\n點解𨋢唔郁,搵人整\n".encode("big5hkscs"))
    assert "𨋢" in content(path, "big5")


def test_an_encoding_that_was_asked_for_is_insisted_on(tmp_path: Path) -> None:
    path = written(tmp_path, CHINESE.encode("gb18030"))
    assert content(path, "GB2312") == CHINESE
    with pytest.raises(DataError, match="line 1: byte 0 is not valid UTF-8"):
        open_text(path, "utf8")
    with pytest.raises(ConfigError, match="'klingon' is not a text encoding"):
        open_text(path, "klingon")
    with pytest.raises(ConfigError, match="'base64' is not a text encoding"):
        open_text(path, "base64")


def test_stray_nul_bytes_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, CHINESE.replace("六", "六\0").encode())
    assert open_text(path).nul_bytes == 20
    assert content(path) == CHINESE


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (gzip.compress(b"question,answer", mtime=0), "a gzip archive"),
        (zip_of("xl/workbook.xml"), r"an Excel workbook \(XLSX\)"),
        (zip_of("xl/workbook.bin"), r"\(XLSB\)"),
        (zip_of("content.xml"), "an OpenDocument file"),
        (zip_of("word/document.xml"), "a Word document"),
        (zip_of("a.csv"), "a ZIP archive"),
        (b"PK\x03\x04broken", "a damaged ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), "an old Excel"),
        (b"SQLite format 3\0" + bytes(64), "a SQLite database"),
        (b"PAR1" + bytes(64), "a Parquet file"),
        (b"\n<!DOCTYPE html><title>Log in</title>", "an HTML page"),
        (bytes(range(256)) * 40, "binary data"),
        (
            random.Random(0).randbytes(4096).replace(b"PK", b"??"),
            "neither|binary data|not look like Chinese",
        ),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what):
        content(written(tmp_path, data))


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        open_text(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="there is no such file") as caught:
        open_text(tmp_path / "no" / "nothing.csv")
    assert "does not exist" in caught.value.hint
    with pytest.raises(DataError, match="this is a folder"):
        open_text(tmp_path)
    for empty in (b"", b"\xef\xbb\xbf", b"\r\n \n", b"\xff\xfe"):
        with pytest.raises(DataError, match="the file is empty"):
            open_text(written(tmp_path, empty))


def test_pipes_and_impossible_names_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        open_text(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"not a file.s name|no such file"):
        open_text(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = written(tmp_path, b"a,b\n")
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        open_text(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(tmp_path: Path, ends: str) -> None:
    text = open_text(written(tmp_path, ends.join(["a,b"] * 400_000).encode()))
    assert text.line_count == 399_999
    assert text.lone_returns == (ends == "\r")
    assert text.long_line == 0


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_a_line_without_end_is_given_as_nothing(tmp_path: Path, codec: str) -> None:
    long = "x" * (MAX_LINE + 9)
    text = open_text(written(tmp_path, f"a\n{long}\nb\n".encode(codec)))
    assert text.long_line == 2
    with text.lines() as lines:
        assert list(lines) == ["a\n", "", "b\n"]
    assert text.head(1) == ["a\n"]
