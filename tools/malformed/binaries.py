"""Malformed binary files, archives and things that only look like files."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tools.malformed import containers
from tools.malformed.classes import Malformed, csv_text, jsonl, pairs

_HUGE = 400 << 20


def _file(name: str, content: Callable[[Random], bytes]) -> Callable[[Path, Random], str]:
    def make(folder: Path, rng: Random) -> str:
        (folder / name).write_bytes(content(rng))
        return name

    return make


def _table(rng: Random) -> containers.Rows:
    return [["question", "answer"], *(list(row.values()) for row in pairs(rng))]


def _damaged(data: bytes, rng: Random, tail: int = 0) -> bytes:
    """Some bytes changed, anywhere or in the last ``tail`` bytes, or the end cut off."""
    changed = bytearray(data)
    start = max(0, len(data) - tail) if tail else 0
    for _ in range(rng.choice([1, 4, 16])):
        at = rng.randrange(start, len(changed))
        changed[at] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed[: rng.randrange(start, len(changed))] if rng.random() < 0.3 else changed)


def _zeros(size: int) -> bytes:
    """Gzip of ``size`` zero bytes, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, packer.flush()])


def _zip_bomb(rng: Random) -> bytes:
    block = b"question,answer\n" + b"x,y\n" * (4 << 20)
    return containers.zipped({f"{n}.csv": block for n in range(rng.randrange(20, 24))})


def _nested(rng: Random) -> bytes:
    inner = containers.zipped({"rows.csv": csv_text(pairs(rng))})
    for _ in range(rng.randrange(3)):
        inner = containers.zipped({"inner.zip": inner})
    return containers.zipped({rng.choice(["inner.zip", "rows.csv", "rows.gz"]): inner})


def _slip(rng: Random) -> bytes:
    name = rng.choice(
        ["../../rows.csv", "/etc/rows.csv", "a/../../rows.csv", "C:\\rows.csv", "..\\rows.csv"]
    )
    return containers.zipped({"good.csv": csv_text(pairs(rng)), name: csv_text(pairs(rng))})


def _zip_link(rng: Random) -> bytes:
    target = rng.choice(["/etc/passwd", "../../../etc/passwd", "rows.csv"])
    return containers.zipped({"rows.csv": target}, links=("rows.csv",))


def _lying_zip(rng: Random) -> bytes:
    archive = containers.zipped({"rows.csv": csv_text(pairs(rng))})
    return containers.claiming(archive, rng.choice([0, 17, 0x7FFFFFFF, 0xFFFFFFFE]))


def _extension(rng: Random) -> bytes:
    rows = [{**row, "image": rng.randbytes(9), "seen": {"bytes": b"\xff"}} for row in pairs(rng)]
    return containers.parquet(rows)


def _lying_rows(rng: Random) -> bytes:
    rows = [{"question": f"第{n}问是什么？", "answer": f"第{n}答。"} for n in range(777)]
    return containers.saying_rows(containers.parquet(rows), 777, rng.choice([64, 776, 900, 8191]))


def _parquet_bomb(rng: Random) -> bytes:
    """A few kilobytes that hold hundreds of megabytes of one text again and again."""
    text = rng.choice("押金合同") * 100_000
    rows = [{"question": f"第{n}问", "answer": text} for n in range(60)] * 20
    return containers.parquet(rows, compression="zstd", compression_level=19)


_ENTITY = '<!DOCTYPE w [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
_LAUGHS = (
    '<!DOCTYPE w [<!ENTITY a "lol">'
    + "".join(
        f'<!ENTITY {y} "{f"&{x};" * 10}">' for x, y in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)


def _entity(doctype: str, name: str) -> Callable[[Random], bytes]:
    def content(rng: Random) -> bytes:
        rows = [["question", "answer"], *(list(row.values()) for row in pairs(rng))]
        body = (
            f'<row r="{len(rows) + 1}"><c r="A99" t="inlineStr"><is><t>&{name};</t></is></c>'
            f'<c r="B99" t="inlineStr"><is><t>x</t></is></c></row>'
        )
        return containers.workbook({"s": containers.sheet(rows, body, doctype)})

    return content


def _far_cell(rng: Random) -> bytes:
    row = rng.choice([60_000, 1_048_576])
    body = f'<row r="{row}"><c r="XFD{row}"><v>1</v></c></row>'
    return containers.workbook({"s": containers.sheet(_table(rng), body)})


def _wrong_ending(folder: Path, rng: Random) -> str:
    content, name = rng.choice(
        [
            (b"%PDF-1.7\n" + rng.randbytes(99), "rows.csv"),
            (b"\x89PNG\r\n\x1a\n" + rng.randbytes(99), "rows.jsonl"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "rows.xlsx"),
            (b"SQLite format 3\0" + bytes(99), "rows.parquet"),
            (b"<!DOCTYPE html><html><body>Please log in</body></html>", "rows.csv"),
            (rng.randbytes(4096), "rows.csv"),
            (containers.zipped({"word/document.xml": "<w/>"}), "rows.csv"),
        ]
    )
    (folder / name).write_bytes(content)
    return name


def _circle(folder: Path, rng: Random) -> str:
    os.symlink(folder / "b.csv", folder / "a.csv")
    os.symlink(folder / "a.csv", folder / "b.csv")
    os.symlink(folder, folder / "deep")
    return rng.choice(["a.csv", "", "deep", "*.csv", "**/*.csv"])


def _pipe(folder: Path, rng: Random) -> str:
    os.mkfifo(folder / "rows.csv")
    return rng.choice(["rows.csv", "", "*.csv"])


def _nothing(folder: Path, rng: Random) -> str:
    (folder / ".hidden.csv").write_text(csv_text(pairs(rng)))
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return rng.choice(["", "*.csv", "none.csv", "no/rows.csv", "[a-"])


BINARIES = (
    Malformed("Parquet damaged", _file("rows.parquet", lambda rng: _damaged(
        containers.parquet(pairs(rng)), rng, rng.choice([0, 600]))), "either"),
    Malformed("Parquet with columns that are no text",
              _file("rows.parquet", _extension), "kept"),
    Malformed("Parquet that lies about its rows", _file("rows.parquet", _lying_rows), "either"),
    Malformed("Parquet bomb", _file("rows.parquet", _parquet_bomb), "refused"),
    Malformed("Arrow damaged", _file("rows.arrow", lambda rng: _damaged(
        containers.arrow(pairs(rng)), rng, rng.choice([0, 600]))), "either"),
    Malformed("gzip bomb", _file("rows.csv.gz", lambda rng: _zeros(_HUGE)), "refused"),
    Malformed("gzip damaged", _file("rows.csv.gz", lambda rng: gzip.compress(
        csv_text(pairs(rng)).encode())[: rng.randrange(12, 200)]), "refused"),
    Malformed("ZIP bomb", _file("rows.zip", _zip_bomb), "refused"),
    Malformed("ZIP in ZIP", _file("rows.zip", _nested), "refused"),
    Malformed("ZIP slip", _file("rows.zip", _slip), "refused"),
    Malformed("ZIP with a link", _file("rows.zip", _zip_link), "refused"),
    Malformed("ZIP with a password", _file("rows.zip", lambda rng: containers.encrypted(
        containers.zipped({"rows.csv": csv_text(pairs(rng))}))), "refused"),
    Malformed("ZIP that lies about sizes", _file("rows.zip", _lying_zip), "either"),
    Malformed("ZIP damaged", _file("rows.zip", lambda rng: _damaged(
        containers.zipped({"rows.jsonl": jsonl(pairs(rng))}), rng)), "either"),
    Malformed("XLSX damaged", _file("rows.xlsx", lambda rng: _damaged(
        containers.workbook({"s": _table(rng)}), rng)), "either"),
    Malformed("XLSX with an external entity", _file("rows.xlsx", _entity(_ENTITY, "e")), "refused"),
    Malformed("XLSX with a billion laughs", _file("rows.xlsx", _entity(_LAUGHS, "i")), "refused"),
    Malformed("XLSX with a cell far away", _file("rows.xlsx", _far_cell), "refused"),
    Malformed("a wrong ending", _wrong_ending, "refused"),
    Malformed("links in a circle", _circle, "refused"),
    Malformed("a pipe", _pipe, "refused"),
    Malformed("nothing to read", _nothing, "refused"),
)  # fmt: skip
