"""Containers made by hand: XLSX workbooks, ZIP archives that lie, Parquet footers that lie."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import polars as pl

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

Rows = Sequence[Sequence[Any]]


def workbook(
    sheets: Mapping[str, Rows | str],
    hidden: Sequence[str] = (),
    extra: Mapping[str, bytes] | None = None,
) -> bytes:
    """An XLSX file.

    Args:
        sheets: name → rows of cells, or the XML of a worksheet as it is to stand in the file;
            None leaves a cell out, and a text that begins with ``=`` is a formula without value.
        hidden: names of sheets that are not shown.
        extra: further members.
    """
    relations = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="r{n}"'
        f"{' state=' + quoteattr('hidden') if name in hidden else ''}/>"
        for n, name in enumerate(sheets, start=1)
    )
    members = {
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship '
        f'Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f"{relations}</Relationships>",
    }
    for n, rows in enumerate(sheets.values(), start=1):
        members[f"xl/worksheets/sheet{n}.xml"] = rows if isinstance(rows, str) else sheet(rows)
    return zipped({**members, **(extra or {})})


def sheet(rows: Rows = (), body: str = "", doctype: str = "") -> str:
    """The XML of a worksheet that holds ``rows`` or, after them, a ``body`` of row elements."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(_cell(f"{_letters(n)}{number}", v) for n, v in enumerate(row))
        lines.append(f'<row r="{number}">{cells}</row>' if cells else "")
    data = "".join(lines) + body
    return f'{_XML}{doctype}<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>'


def _cell(place: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value}</v></c>'
    if value.startswith("="):
        return f'<c r="{place}"><f>{escape(value[1:])}</f></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def _letters(column: int) -> str:
    letters = chr(65 + column % 26)
    return letters if column < 26 else _letters(column // 26 - 1) + letters


def zipped(members: Mapping[str, str | bytes], links: Sequence[str] = ()) -> bytes:
    """A ZIP archive; members named in ``links`` are symbolic links to their content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def encrypted(archive: bytes) -> bytes:
    """The same archive with every member marked as encrypted (APPNOTE 4.4.4)."""
    data = bytearray(archive)
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + place] |= 1
            at = data.find(signature, at + 4)
    return bytes(data)


def claiming(archive: bytes, size: int) -> bytes:
    """The same archive with every member said to unpack to ``size`` bytes (APPNOTE 4.4.9)."""
    data = bytearray(archive)
    for signature, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = data.find(signature)
        while at >= 0:
            struct.pack_into("<I", data, at + place, size)
            at = data.find(signature, at + 4)
    return bytes(data)


def parquet(rows: Sequence[Mapping[str, Any]], **options: Any) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(list(rows)).write_parquet(buffer, **options)
    return buffer.getvalue()


def arrow(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """An Arrow (Feather 2) file."""
    buffer = io.BytesIO()
    pl.DataFrame(list(rows)).write_ipc(buffer)
    return buffer.getvalue()


def saying_rows(file: bytes, rows: int, said: int) -> bytes:
    """The same Parquet file with another number of rows in its footer.

    Counts are zigzag varints (Thrift's compact protocol); both must take as many bytes.
    """
    start = len(file) - 8 - struct.unpack("<I", file[-8:-4])[0]
    old, new = _varint(2 * rows), _varint(2 * said)
    if len(old) != len(new):
        raise ValueError(f"{rows} and {said} take {len(old)} and {len(new)} bytes")
    return file[:start] + file[start:].replace(old, new)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
