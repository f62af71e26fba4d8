"""TensorBoard event files, written without the tensorboard package.

A file is a sequence of TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord):

    uint64 length | uint32 masked crc32c of those 8 bytes | data | uint32 masked crc32c of data

with little-endian numbers. The data is a protocol-buffer ``Event`` message (tensorflow's
core/util/event.proto): wall_time 1 (double), step 2 (int64), file_version 3 (string), summary 5,
session_log 7. A ``Summary`` repeats field 1, a ``Value``: tag 1 (string), simple_value 2 (float).
"""

from __future__ import annotations

import os
import struct
import time as clock
from io import BufferedWriter
from pathlib import Path

from tunewright.core.files import disk_errors
from tunewright.training.trackers.base import Ending, Tracked

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected: RFC 3720, appendix B.4
_MASK = 0xA282EAD8  # TensorFlow masks sums, so that files of sums do not sum to constants
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_SESSION_START = 1


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of ``data``."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C as a TFRecord holds it: rotated right by 15 bits, plus a constant."""
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """One TFRecord."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (
            length,
            struct.pack("<I", masked_crc32c(length)),
            data,
            struct.pack("<I", masked_crc32c(data)),
        )
    )


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _bytes(field: int, data: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(data)) + data


def _event(time: float, step: int, body: bytes) -> bytes:
    begin = _key(1, _DOUBLE) + struct.pack("<d", time)
    return begin + _key(2, _VARINT) + _varint(step) + body


def _scalars(values: dict[str, float]) -> bytes:
    """A ``Summary`` of scalars, as field 5 of an event."""
    summary = b"".join(
        _bytes(1, _bytes(1, tag.encode()) + _key(2, _FLOAT) + struct.pack("<f", value))
        for tag, value in values.items()
    )
    return _bytes(5, summary)


class EventFile:
    """Writes one event file; TensorBoard may read along.

    Args:
        folder: the run's own folder under TensorBoard's log directory.
        resumed_after: the last step that still counts; TensorBoard drops later ones of earlier
            files, as the run has forgotten them too.

    Raises:
        StorageError: when the disk refuses.
    """

    def __init__(self, folder: Path, resumed_after: int = 0) -> None:
        now = clock.time()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Read in the order of names; the process id keeps two of one second apart.
            name = f"events.out.tfevents.{int(now):010d}.tunewright.{os.getpid()}"
            self.path = _unused(folder / name)
            self._file: BufferedWriter = open(self.path, "xb")  # noqa: SIM115 - closed by close()
        self._write(_event(now, 0, _bytes(3, b"brain.Event:2")))
        if resumed_after:
            session = _key(1, _VARINT) + _varint(_SESSION_START)
            self._write(_event(now, resumed_after + 1, _bytes(7, session)))

    def log(self, step: int, values: dict[str, float], time: float) -> None:
        """Append the scalars of a step."""
        self._write(_event(time, step, _scalars(values)))

    def close(self, ending: Ending) -> None:
        """Nothing follows."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        with disk_errors(self.path):
            self._file.write(record(event))
            self._file.flush()


def _unused(path: Path) -> Path:
    number, candidate = 0, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def open_tracker(tracked: Tracked) -> EventFile:
    """An event file in a folder named after the run."""
    return EventFile(tracked.folder / tracked.run, tracked.step)
