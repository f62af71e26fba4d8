"""Reading a form with one file in it: the file goes to the disk as it comes, within bounds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tunewright.deployment.replies import RequestError
from tunewright.jobs.filestore import Spool

_SILENCE_SECONDS = 60.0
_MOST_FIELDS = 16
_LONGEST_VALUE = 4096
_PIECE = 1 << 20
_NAME = re.compile(r"[\w.\[\]-]{1,64}")


@dataclass
class Form:
    """What came.

    Attributes:
        values: the fields that are no files, by name.
        filename: what the client calls the file; None until it came.
    """

    values: dict[str, str] = field(default_factory=dict)
    filename: str | None = None


async def read_form(request: Request, spool: Spool, file_field: str, most: int) -> Form:
    """The form, its file written to ``spool``.

    Args:
        request: whose body is read.
        spool: gets the file.
        file_field: the name of the file's field.
        most: bytes that the file may have.

    Raises:
        RequestError: 415 for another type, 400 for what is no such form, 413 for too much,
            408 for a client that stops sending.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if media_type != b"multipart/form-data" or not boundary:
        raise RequestError(415, "the body must be sent as multipart/form-data with a boundary")
    reader = _Reader(spool, file_field, most)
    try:
        parser = MultipartParser(boundary, reader.callbacks(), max_header_count=8)
        async for piece in _pieces(request):
            # A piece is large: parsing and writing it would hold up other requests.
            await asyncio.to_thread(parser.write, piece)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(400, f"the form cannot be read: {error}") from None
    if not reader.ended:
        raise RequestError(400, "the form ends in the middle")
    if reader.form.filename is None:
        raise RequestError(400, f"the form has no file {file_field!r}", param=file_field)
    return reader.form


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in large pieces."""
    stream = request.stream()
    held = bytearray()
    while True:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                part = await anext(stream, None)
        except TimeoutError:
            raise RequestError(408, f"nothing came for {_SILENCE_SECONDS:g} s") from None
        if part is None:
            break
        held += part
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class _Reader:
    """Takes the parser's pieces."""

    def __init__(self, spool: Spool, file_field: str, most: int) -> None:
        self.form = Form()
        self.ended = False
        self._spool, self._file_field, self._most = spool, file_field, most
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._name: str | None = None
        self._value = bytearray()
        self._fields = 0

    def callbacks(self) -> Any:
        """As the parser wants them."""
        handlers: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._finish,
        }
        return handlers

    def _begin(self) -> None:
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise RequestError(400, f"the form has more than {_MOST_FIELDS} fields")
        self._disposition, self._name = b"", None
        self._value.clear()

    def _header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        if name.lower() == b"content-disposition":
            self._disposition = value
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not _NAME.fullmatch(name):
            raise RequestError(400, f"the form has a field of the name {name[:64]!r}")
        known = name in self.form.values or (
            name == self._file_field and self.form.filename is not None
        )
        if known:
            raise RequestError(400, f"the form has two fields {name!r}", param=name)
        self._name = name
        if name == self._file_field:
            self.form.filename = options.get(b"filename", b"upload").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file_field:
            if self._spool.size + end - start > self._most:
                raise RequestError(
                    413,
                    f"the file is larger than {self._most:,} bytes",
                    param=self._file_field,
                    code="file_too_large",
                )
            self._spool.write(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _LONGEST_VALUE:
            raise RequestError(400, f"field {self._name!r} is too long", param=self._name)

    def _end(self) -> None:
        if self._name is not None and self._name != self._file_field:
            self.form.values[self._name] = self._value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.ended = True
