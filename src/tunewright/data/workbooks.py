"""Sheets of Excel workbooks (XLSX) as lines of JSON; runs in a process of its own."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetVisibleEnum

from tunewright.core.errors import DataError
from tunewright.data.headers import column_names
from tunewright.data.labels import Fact
from tunewright.data.limits import EmptyFileError
from tunewright.data.lines import LineWriter, Order

_HEADER_ROWS = 20  # a title may stand above the header
_Row = tuple[int, list[Any]]


def read_workbook(order: Order, writer: LineWriter) -> Mapping[str, Any]:
    """Write each row of the chosen sheet as the line of its number.

    Formulas count as the value that was saved with them; nothing outside the file is looked at.

    Raises:
        DataError: the workbook is damaged, or has no such sheet, or none that holds a table.
    """
    try:
        workbook = CalamineWorkbook.from_path(order.path)
        sheet, others = _choose(workbook, order)
        header, above = _header(sheet)
        said = _write(order, sheet, header, writer)
    except (CalamineError, OSError, ValueError) as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
        raise DataError(
            f"{order.label}: the workbook is damaged or has a password ({reason})",
            "Open it in Excel and save it again as XLSX without a password, or as CSV UTF-8.",
        ) from None
    notes: list[Fact] = []
    if len(workbook.sheet_names) > 1:
        notes.append({"kind": "sheet", "sheet": sheet.name})
    if others:
        notes.append({"kind": "other sheets", "sheets": ", ".join(others)})
    if above:
        notes.append({"kind": "rows above header", "rows": above, "header": header[0]})
    return {**said, "notes": [*notes, *said["notes"]]}


def _choose(workbook: CalamineWorkbook, order: Order) -> tuple[CalamineSheet, list[str]]:
    """The sheet to read, and the names of the others."""
    names = workbook.sheet_names
    if order.sheet is not None:
        if order.sheet not in names:
            raise DataError(
                f"{order.label}: there is no sheet {order.sheet!r}",
                f"Its sheets: {', '.join(names)}.",
            )
        return workbook.get_sheet_by_name(order.sheet), []
    shown = [s.name for s in workbook.sheets_metadata if s.visible == SheetVisibleEnum.Visible]
    for name in shown:
        sheet = workbook.get_sheet_by_name(name)
        if next(_below(sheet, _header(sheet)[0][0] or sheet.total_height), None):
            return sheet, [other for other in shown if other != name]
    hidden = [name for name in names if name not in shown]
    raise EmptyFileError(
        f"{order.label}: no sheet holds a table, that is a row of names with rows below it",
        f"Its hidden sheets are read when named, as {hidden[0]!r}." if hidden else "",
    )


def _filled(sheet: CalamineSheet) -> Iterator[_Row]:
    """Rows that hold anything, with their numbers in the sheet, as plain values."""
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_value(cell) for cell in row]
        if any(cell != "" for cell in cells):
            yield number, cells


def _below(sheet: CalamineSheet, at: int) -> Iterator[_Row]:
    return (row for row in _filled(sheet) if row[0] > at)


def _header(sheet: CalamineSheet) -> tuple[_Row, int]:
    """The row of column names, and how many filled rows stand above it.

    It is the first with two names or more; a single cell above it is a title.
    """
    first = list(islice(_filled(sheet), _HEADER_ROWS))
    for above, (number, cells) in enumerate(first):
        if sum(cell != "" for cell in cells) > 1:
            return (number, cells), above
    return (first[0] if first else (0, [])), 0


def _write(order: Order, sheet: CalamineSheet, header: _Row, writer: LineWriter) -> dict[str, Any]:
    at, names = header
    place = f"{order.label}, sheet {sheet.name!r}, row {at}"
    columns, notes = column_names([str(cell) for cell in names], place)
    line, count = 1, 0
    for number, cells in _below(sheet, at):
        fields = dict(zip(columns, cells, strict=False))
        writer.write(b"\n" * (number - line) + orjson.dumps(fields) + b"\n")
        line, count = number + 1, count + 1
    return {"columns": columns, "rows": count, "notes": notes}


def _value(cell: Any) -> Any:
    """A cell as JSON knows it: whole numbers without a fraction, dates as text."""
    if isinstance(cell, str):
        return cell.strip() if cell.isspace() else cell
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < 1 << 53 else cell
    if isinstance(cell, datetime.datetime):
        return str(cell.date() if cell.time() == datetime.time() else cell)
    return cell if isinstance(cell, (int, bool)) else str(cell)
