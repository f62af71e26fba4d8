"""What a file is, recognised by its first bytes, whatever its name says."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

from tunewright.core.errors import DataError
from tunewright.data.encodings import HEAD


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: how it is read: ``text``, ``xlsx``, ``parquet``, ``arrow``, ``gzip`` or ``zip``;
            empty for what is not read.
        what: how messages call it.
        advice: what to do with a file that is not read.
    """

    name: str
    what: str
    advice: str = ""


TEXT = Kind("text", "a text file")
PARQUET = Kind("parquet", "a Parquet file")
ARROW = Kind("arrow", "an Arrow file")
XLSX = Kind("xlsx", "an Excel workbook (XLSX)")
GZIP = Kind("gzip", "a gzip archive")
ZIP = Kind("zip", "a ZIP archive")
_BAD_ZIP = Kind("", "a damaged ZIP archive", "The download or copy did not finish; make it again.")
_TAR = Kind("", "a tar archive", "Unpack it first and name the folder, or pack a ZIP archive.")
_HTML_PAGE = Kind(
    "", "an HTML page", "A download may have saved a login or error page; export it again."
)

# Longest-lived offenders first: what people rename to .csv or drop into a form.
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"%PDF-", Kind("", "a PDF document", "Export its questions and answers as CSV.")),
    (b"\x89PNG\r\n", Kind("", "a PNG image")),
    (b"\xff\xd8\xff", Kind("", "a JPEG image")),
    (b"GIF8", Kind("", "a GIF image")),
    (b"\x1f\x8b", GZIP),
    (b"BZh", Kind("", "a bzip2 archive", "Unpack it first: bunzip2 FILE.")),
    (b"\xfd7zXZ\x00", Kind("", "an xz archive", "Unpack it first: unxz FILE.")),
    (b"\x28\xb5\x2f\xfd", Kind("", "a Zstandard archive", "Unpack it first: unzstd FILE.")),
    (b"7z\xbc\xaf\x27\x1c", Kind("", "a 7-Zip archive", "Unpack it first.")),
    (b"Rar!\x1a\x07", Kind("", "a RAR archive", "Unpack it first.")),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        Kind("", "an old Excel or Word file, or one with a password", "Save it as XLSX or CSV."),
    ),
    (b"SQLite format 3\x00", Kind("", "a SQLite database", "Export the table as CSV.")),
    (b"PAR1", PARQUET),
    (b"PARE", Kind("", "an encrypted Parquet file", "Write it again without encryption.")),
    (b"ARROW1", ARROW),
    (b"FEA1", Kind("", "a Feather file of version 1", "Write it again as version 2 or Parquet.")),
    (b"\xff\xff\xff\xff", Kind("arrow", "an Arrow stream")),
    (b"Obj\x01", Kind("", "an Avro file", "Convert it to Parquet or JSONL.")),
    (b"\x7fELF", Kind("", "a program")),
    (b"{\\rtf", Kind("", "a rich-text (RTF) document", "Save it as CSV.")),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE: tuple[tuple[str, Kind], ...] = (
    ("xl/workbook.xml", XLSX),
    ("xl/", Kind("", "an Excel workbook of another kind (XLSB)", "Save it as XLSX or CSV.")),
    (
        "word/",
        Kind("", "a Word document (DOCX)", "Put its text into a table or a .txt file first."),
    ),
    ("ppt/", Kind("", "a PowerPoint file (PPTX)")),
    ("content.xml", Kind("", "an OpenDocument file", "Save it as XLSX or CSV.")),
)
_HTML = (b"<!doctype html", b"<html")
# A ZIP archive's list of members is read as a whole; ten thousand take less than one MiB.
_ZIP_LIST = 1 << 22
_TOO_MANY = Kind("", "a ZIP archive with far too many members", "Pack fewer files into one.")


def recognise(path: Path, head: bytes) -> Kind:
    """What a file is; ``TEXT`` for everything that nothing else claims.

    Args:
        path: the file, opened again only for ZIP containers.
        head: its first bytes.
    """
    if head.startswith(_ZIP):
        return _zip_kind(path)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return _TAR
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower().startswith(_HTML):
        return _HTML_PAGE
    return TEXT


def _zip_kind(path: Path) -> Kind:
    try:
        if _zip_list_bytes(path) > _ZIP_LIST:
            return _TOO_MANY
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return _BAD_ZIP
    for start, kind in _OFFICE:
        if any(name.lower().startswith(start) for name in names):
            return kind
    return ZIP


def _zip_list_bytes(path: Path) -> int:
    """How long a ZIP archive says its list of members is (APPNOTE 4.3.14 and 4.3.16)."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - 256))
        tail = file.read()
    said = 0
    for signature, place, form in ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q")):
        at = tail.rfind(signature)
        if at >= 0 and len(tail) >= at + place + struct.calcsize(form):
            said = max(said, *(n for n in struct.unpack_from(form, tail, at + place)), 0)
    return 0 if said == 0xFFFFFFFF else said


def read_head(path: Path, label: str) -> bytes:
    """A regular file's first bytes.

    Raises:
        DataError: missing, a folder, a pipe or device, or not readable.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(
                f"{label}: this is a pipe or a device, which can be read only once",
                "Save what it gives to a file first.",
            )
        with open(path, "rb") as file:
            return file.read(HEAD)
    except FileNotFoundError:
        raise DataError(f"{label}: there is no such file", _where_to_look(path)) from None
    except IsADirectoryError:
        raise DataError(f"{label}: this is a folder", "Name the files in it one by one.") from None
    except OSError as error:
        raise DataError(f"{label}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{label!r}: not a file's name ({error})") from None


def _where_to_look(path: Path) -> str:
    folder = path.absolute().parent
    if folder.is_dir():
        return f"Look at the names in {folder}."
    return f"The folder {folder} does not exist."
