"""Text from tokens: split characters, stop texts."""

import itertools

import pytest

from tunewright.deployment.text_stream import TextStream


def bytes_to_text(tokens: list[int]) -> str:
    """The simplest tokenizer: a token is a byte."""
    return bytes(tokens).decode("utf-8", "replace")


def pieces(text: str, *stops: str) -> tuple[list[str], bool]:
    stream = TextStream(bytes_to_text, stops)
    out = [stream.add(token) for token in text.encode()]
    return [*out, stream.finish()], stream.stopped


def test_characters_are_told_whole() -> None:
    told, stopped = pieces("试用期 is 😀 long")
    assert "".join(told) == "试用期 is 😀 long"
    assert not any("\ufffd" in piece for piece in told)
    assert not stopped


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", (" t",), "one"),
        ("one two three", ("three", "two"), "one "),
        ("aaab", ("aab",), "a"),
        ("abcabd", ("abd",), "abc"),
        ("never", ("x",), "never"),
        ("ends in hal", ("half",), "ends in hal"),
        ("试用期最长", ("期",), "试用"),
    ],
)
def test_nothing_of_a_stop_text_is_told(text: str, stops: tuple[str, ...], expected: str) -> None:
    told, stopped = pieces(text, *stops)
    assert "".join(told) == expected
    assert stopped == (expected != text)


def test_text_is_told_as_soon_as_it_is_certain() -> None:
    stream = TextStream(bytes_to_text, ("xy",))
    assert [stream.add(ord(c)) for c in "abxz"] == ["a", "b", "", "xz"]


def test_cut_characters_at_the_end_are_still_told() -> None:
    stream = TextStream(bytes_to_text)
    assert list(itertools.chain(map(stream.add, b"\xe8\xaf"), [stream.finish()]))[-1] == "\ufffd"


def test_a_tokenizer_that_drops_the_first_space_does_so_once() -> None:
    def words(tokens: list[int]) -> str:
        return "".join(f" w{token}" for token in tokens).removeprefix(" ")

    stream = TextStream(words)
    assert "".join(stream.add(n) for n in range(4)) + stream.finish() == "w0 w1 w2 w3"
