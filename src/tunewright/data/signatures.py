"""Files that are not text, recognised by their first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

# Longest-lived offenders first: what people rename to .csv or drop into a form.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF document", "Export its questions and answers as CSV."),
    (b"\x89PNG\r\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first: gunzip FILE."),
    (b"BZh", "a bzip2 archive", "Unpack it first: bunzip2 FILE."),
    (b"\xfd7zXZ\x00", "an xz archive", "Unpack it first: unxz FILE."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it first: unzstd FILE."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", "Save it as CSV (UTF-8)."),
    (b"SQLite format 3\x00", "a SQLite database", "Export the table as CSV."),
    (b"PAR1", "a Parquet file", "Convert it to JSONL or CSV."),
    (b"ARROW1", "an Arrow file", "Convert it to JSONL or CSV."),
    (b"\x7fELF", "a program", ""),
    (b"{\\rtf", "a rich-text (RTF) document", "Save it as CSV."),
)
_ZIP = b"PK\x03\x04"
_OFFICE = (
    ("xl/", "an Excel workbook (XLSX)", "In Excel: Save As → CSV UTF-8, then give that file."),
    ("word/", "a Word document (DOCX)", "Put its questions and answers into a table; save as CSV."),
    ("ppt/", "a PowerPoint file (PPTX)", ""),
)
_HTML = (b"<!doctype html", b"<html")


def recognise(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a file that is no table of text is, and what to do; None for everything else.

    Args:
        path: the file, opened again only for ZIP containers.
        head: its first bytes.
    """
    if head.startswith(_ZIP):
        return _zip_kind(path)
    for magic, what, advice in _MAGIC:
        if head.startswith(magic):
            return what, advice
    if head.lstrip()[:16].lower().startswith(_HTML):
        return "an HTML page", "A download may have saved a login or error page; export it again."
    return None


def _zip_kind(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged ZIP archive", ""
    for folder, what, advice in _OFFICE:
        if any(name.startswith(folder) for name in names):
            return what, advice
    return "a ZIP archive", "Unpack it first."
