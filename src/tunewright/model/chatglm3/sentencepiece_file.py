"""Reading a SentencePiece ``tokenizer.model``: a protocol buffer with pieces and their scores.

The wire format is public (protobuf.dev/programming-guides/encoding) and the few fields needed are
in ``sentencepiece_model.proto``, so no library is: a field is a varint ``number << 3 | type``,
then a varint (type 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tunewright.core.errors import ModelError

_LARGEST = 64 * 2**20
_BPE = 2  # TrainerSpec.ModelType


class Kind(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class PieceModel:
    """A SentencePiece model of merged pairs.

    Attributes:
        pieces: in the order of their ids.
        merges: whether it merges pairs (BPE), rather than another algorithm.
        byte_fallback: whether unknown characters become bytes.
        normalizer: name of its normalisation; ``identity`` changes nothing.
        dummy_prefix: whether a space is put before every text.
        squeezes: whether several spaces become one.
        escapes: whether a space becomes ``▁``.
    """

    pieces: tuple[Piece, ...]
    merges: bool
    byte_fallback: bool
    normalizer: str
    dummy_prefix: bool
    squeezes: bool
    escapes: bool


_Value = int | bytes


def read_pieces(path: Path) -> PieceModel:
    """Read a model.

    Raises:
        ModelError: it is missing, too large, or no SentencePiece model.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path} is larger than {_LARGEST >> 20} MiB")
        return _model(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ModelError(f"{path} is no SentencePiece model: {error}") from None


def _model(data: bytes) -> PieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, _Value] = {}
    normalizer: dict[int, _Value] = {}
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_bytes(value)))
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer = dict(_fields(_bytes(value)))
    if not pieces:
        raise ValueError("it has no pieces")
    return PieceModel(
        pieces=tuple(pieces),
        merges=trainer.get(3, 1) == _BPE,
        byte_fallback=bool(trainer.get(35, 0)),
        normalizer=_bytes(normalizer.get(1, b"identity")).decode(),
        dummy_prefix=bool(normalizer.get(3, 1)),
        squeezes=bool(normalizer.get(4, 1)),
        escapes=bool(normalizer.get(5, 1)),
    )


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    score = struct.unpack("<f", _bytes(fields.get(2, b"\0\0\0\0")))[0]
    return Piece(_bytes(fields[1]).decode(), float(score), Kind(int(fields.get(3, 1))))


def _fields(data: bytes) -> Iterator[tuple[int, _Value]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        wire = tag & 7
        value: _Value
        if wire == 0:
            value, place = _varint(data, place)
        else:
            if wire == 2:
                size, place = _varint(data, place)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise ValueError(f"a field of type {wire}")
            value = data[place : place + size]
            place += size
            if place > len(data):
                raise ValueError("it ends in the middle of a field")
        yield tag >> 3, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _bytes(value: _Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field has the wrong type")
    return value
