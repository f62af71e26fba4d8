"""The spreadsheet as bytes, the way a company's office software exports it."""

import csv
import io

from tools.build_sample.draw import draw
from tools.build_sample.spreadsheet import Row

COLUMNS = ("title", "question", "reply", "is_best")
UNIX_LINES = 0.04  # share of rows that somebody pasted in from another system


def _line(cells: tuple[str, ...], ending: str) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator=ending).writerow(cells)
    return buffer.getvalue()


def to_csv(rows: list[Row], encoding: str) -> bytes:
    """Return a CSV with a header; most rows end in CRLF, a few in LF."""
    lines = [_line(COLUMNS, "\r\n")]
    for place, row in enumerate(rows):
        ending = "\n" if draw(f"ending/{place}") < UNIX_LINES else "\r\n"
        lines.append(_line((row.title, row.question, row.reply, row.is_best), ending))
    return "".join(lines).encode(encoding)
