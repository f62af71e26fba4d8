"""Growing text: whole characters, no flicker, stop texts held back until certain."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.model.text_growth import TextGrowth


def decode(ids: Sequence[int]) -> str:
    """Tokens are single bytes here: the hardest case."""
    return bytes(ids).decode("utf-8", errors="replace")


def pieces(text: bytes, *stops: str) -> tuple[list[str], TextGrowth]:
    growth = TextGrowth(decode, stops)
    given = []
    for byte in text:
        given.append(growth.add(byte))
        if growth.stopped:
            break
    given.append(growth.finish())
    return [piece for piece in given if piece], growth


def test_characters_come_whole() -> None:
    text = "a期🙂é👩‍👧 end"
    given, growth = pieces(text.encode())
    assert given == list(text)
    assert growth.text == text


def test_broken_bytes_end_up_as_decoded() -> None:
    raw = b"ok\xff\xfe fine \xe6\x9c"
    given, growth = pieces(raw)
    assert "".join(given) == decode(raw) == growth.text


def test_stop_texts_never_show() -> None:
    given, growth = pieces(b"one\n\ntwo", "\n\n")
    assert "".join(given) == "one"
    assert growth.stopped
    given, growth = pieces(b"one\ntwo\n", "\n\n")
    assert "".join(given) == "one\ntwo\n"
    assert not growth.stopped


def test_the_earliest_of_several_stops_wins() -> None:
    given, growth = pieces(b"abcdef", "ef", "cd")
    assert "".join(given) == "ab"
    assert growth.stopped
    given, _ = pieces(b"aabaabx", "aabx")
    assert "".join(given) == "aab"
