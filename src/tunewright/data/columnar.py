"""Parquet and Arrow files, batch by batch, as lines of JSON; runs in a process of its own."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from tunewright.core.errors import DataError
from tunewright.data.headers import MAX_COLUMNS
from tunewright.data.labels import Fact
from tunewright.data.lines import LineWriter, Order

_FIRST_ROWS = 8
_MOST_ROWS = 50_000
_BATCH_BYTES = 1 << 22


def read_columnar(order: Order, writer: LineWriter) -> Mapping[str, Any]:
    """Write every row as a line.

    Raises:
        DataError: the file is damaged, too wide, or of columns that are no data.
    """
    try:
        return _read(order, writer)
    except (PolarsError, PanicException, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(
            f"{order.label}: the {order.kind.capitalize()} file is damaged or of an unknown kind "
            f"({reason})",
            "The export or copy did not finish, or its program wrote something rare; make it "
            "again, or write it as JSONL.",
        ) from None


def _read(order: Order, writer: LineWriter) -> Mapping[str, Any]:
    frame = _opened(order)
    schema = frame.collect_schema()
    if len(schema) > MAX_COLUMNS:
        raise DataError(
            f"{order.label}: there are {len(schema):,} columns; at most {MAX_COLUMNS:,} are read",
            "Write it again with the columns that hold texts.",
        )
    texts, left_out = _bytes_columns(frame, schema)
    notes: list[Fact] = [{"kind": "binary column", "column": name} for name in left_out]
    wanted = [name for name in schema if name not in left_out]
    rows = 0
    for batch in _batches(frame.select(wanted).with_columns(texts), writer):
        rows += batch
    return {"columns": wanted, "rows": rows, "notes": notes}


def _opened(order: Order) -> pl.LazyFrame:
    """The file's rows; an Arrow stream, which has no index, is read as a whole."""
    if order.kind == "parquet":
        return pl.scan_parquet(order.path, glob=False, hive_partitioning=False)
    with open(order.path, "rb") as file:
        indexed = file.read(6) == b"ARROW1"
    if indexed:
        return pl.scan_ipc(order.path, glob=False, hive_partitioning=False)
    return pl.read_ipc_stream(order.path).lazy()


def _bytes_columns(frame: pl.LazyFrame, schema: pl.Schema) -> tuple[list[pl.Expr], set[str]]:
    """Columns of bytes: those that hold text, to be decoded, and those that do not."""
    left_out = {name for name, kind in schema.items() if "Binary" in str(kind)}
    plain = [name for name in left_out if schema[name] == pl.Binary]
    head = frame.select(plain).head(_FIRST_ROWS).collect() if plain else pl.DataFrame()
    texts = [name for name in plain if all(_is_text(value) for value in head[name])]
    return [pl.col(name).map_elements(_decoded, pl.String) for name in texts], left_out - {*texts}


def _is_text(value: bytes | None) -> bool:
    try:
        return value is None or bool(value.decode()) or True
    except UnicodeDecodeError:
        return False


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _batches(frame: pl.LazyFrame, writer: LineWriter) -> Iterator[int]:
    """Write batch after batch and give the rows of each; long rows make small batches."""
    start, count = 0, _FIRST_ROWS
    while True:
        batch = frame.slice(start, count).collect()
        if not batch.height:
            return
        mean = 1 + _size(batch) // batch.height
        fitting = max(1, _BATCH_BYTES // mean)
        for part in batch.iter_slices(fitting):
            buffer = io.BytesIO()
            part.write_ndjson(buffer)
            writer.write(buffer.getvalue())
        yield batch.height
        start += batch.height
        count = min(_MOST_ROWS, 8 * count, fitting)


def _size(batch: pl.DataFrame) -> int:
    """Bytes of a batch written out; one text that stands in many rows counts in each."""
    texts = batch.select(pl.col(pl.String).str.len_bytes().sum())
    written = sum(texts.row(0)) if texts.width else 0
    return int(batch.estimated_size()) + int(written)
