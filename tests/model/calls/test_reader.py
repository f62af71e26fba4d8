"""What a family's template writes for calls is read back, however the answer arrives."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.model.calls.bases import taught, write_bases

from tunewright.core.messages import ToolCall
from tunewright.model.calls.forms import CallForm
from tunewright.model.calls.reader import CallReader, read_calls
from tunewright.model.rendering import Renderer

FAMILIES = (
    "nano",
    "qwen2",
    "qwen3",
    "llama3",
    "mistral",
    "glm",
    "glm4",
    "glm_metadata",
    "glm_message_tools",
    "deepseek31",
    "chatglm3",
)
SINGLE = ("llama3",)
"""Their templates write one call a turn."""
SILENT = ("llama3", "mistral", "glm", "glm4")
"""Their templates leave out words beside a call."""


class Family(NamedTuple):
    """A base that writes calls."""

    renderer: Renderer
    form: CallForm


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    found = {}
    for name, folder in write_bases(tmp_path_factory.mktemp("families"), FAMILIES).items():
        renderer = Renderer(folder)
        form = CallForm.learn(renderer)
        assert form is not None, name
        found[name] = Family(renderer, form)
    return found


def answer(family: Family, calls: list[ToolCall], words: str = "") -> str:
    """The text that the template teaches for an answer, its end left out."""
    ids = taught(family.renderer, calls, words)
    return family.renderer.tokenizer.decode(ids, skip_special_tokens=False)


def read(form: CallForm, names: set[str], pieces: list[str]) -> tuple[str, list[ToolCall]]:
    reader = CallReader(form, names)
    words, calls = "", []
    for piece in pieces:
        plain, found = reader.feed(piece)
        words += plain
        calls += found
    words += reader.finish()
    assert calls == reader.calls
    return words, calls


def values(calls: list[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, json.dumps(call.parsed())) for call in calls]


def _kept(character: str) -> bool:
    """Characters that the tokenizers keep as they are, alone and beside others."""
    return character != "\u2581" and unicodedata.is_normalized("NFC", character)


_CHARACTERS = st.characters(exclude_categories=["Cs", "Co", "Cn", "Mn", "Mc", "Lo"]).filter(_kept)
_TEXTS = st.lists(
    _CHARACTERS
    | st.sampled_from(
        ["'", '"', "\\", "\n", "}", "]", ")", "```", "</tool_call>", "你好", "试用期", "🙂", "\\n",
         ")\n```", '", "arguments": {', "tool_call(", " ", "\u3000", "\x00", "\x7f"]
    ),
    max_size=6,
).map("".join)  # fmt: skip
_ARGUMENTS = st.dictionaries(
    st.from_regex(r"\A[a-z_][a-z0-9_]{0,6}([ -][a-z]{1,3})?\Z") | st.sampled_from(["城市", "天数"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | _TEXTS
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)  # fmt: skip
_CALLS = st.builds(
    lambda name, arguments: ToolCall(name=name, arguments=json.dumps(arguments), id="abc123XYZ"),
    st.from_regex(r"\A[a-zA-Z_][a-zA-Z0-9_-]{0,12}\Z") | st.sampled_from(["查询天气", "get"]),
    _ARGUMENTS,
)
_QUICKLY = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("name", FAMILIES)
@_QUICKLY
@given(data=st.data())
def test_calls_are_read_back(name: str, families: dict[str, Family], data: st.DataObject) -> None:
    family = families[name]
    calls = data.draw(st.lists(_CALLS, min_size=1, max_size=1 if name in SINGLE else 3))
    words = (
        "" if name in SILENT else data.draw(st.sampled_from(["", "Let me see.", "看一下：\n1. x"]))
    )
    text = answer(family, calls, words)
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=20))})
    pieces = [text[first:last] for first, last in pairwise(cuts)]
    said, found = read(family.form, {call.name for call in calls} | {"get_more"}, pieces)
    assert values(found) == values(calls)
    assert said.replace("<think>\n\n</think>\n\n", "") == words


@pytest.mark.parametrize("name", FAMILIES)
def test_every_character_may_come_alone(name: str, families: dict[str, Family]) -> None:
    family = families[name]
    calls = [
        ToolCall(name="get", arguments='{"city": "北京\'\\"", "n": [1, {"a": null}]}', id="a" * 9)
    ]
    text = answer(family, calls)
    said, found = read(family.form, {"get", "get_more"}, list(text))
    assert (said, values(found)) == ("", values(calls))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_no_call_is_text(name: str, families: dict[str, Family]) -> None:
    family = families[name]
    call = ToolCall(name="get", arguments='{"city": "Paris"}', id="a" * 9)
    text = answer(family, [call])
    # A function that is not on offer; one cut off anywhere before its arguments end.
    assert read_calls(family.form, {"other"}, text) == (text, ())
    whole = text.index("Paris") + len('Paris"' if '"Paris"' in text else "Paris'")
    for end in range(1, whole):
        said, found = read(family.form, {"get"}, list(text[:end]))
        assert not found
        assert said.strip() == text[:end].strip()
    # Arguments that cannot be read.
    for wrong in ("Paris", "\\"):
        broken = text.replace('"Paris"', wrong).replace("'Paris'", wrong)
        said, found = read(family.form, {"get"}, [broken])
        assert (said.strip(), found) == (broken.strip(), [])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "words",
    ["Paris", "get", "get it", '{"name": "Bob"}', "<tool_call", "a <tool_call> is",
     "```python\nx\n```", "get\n\nnothing", "[TOOL_CALLS", "{", '{"name": "get"', "1 < 2\n\nand\n"],
)  # fmt: skip
def test_words_stay_words(name: str, families: dict[str, Family], words: str) -> None:
    family = families[name]
    text = family.form.heading + words
    for pieces in ([text], list(text)):
        assert read(family.form, {"get"}, pieces) == (words, [])


def test_a_call_is_found_behind_what_only_looks_like_one(families: dict[str, Family]) -> None:
    family = families["llama3"]
    call = ToolCall(name="get", arguments="{}")
    text = '{"name": "Bob"} {"name": "get", "parameters": {}}'
    assert read(family.form, {"get"}, list(text)) == ('{"name": "Bob"} ', [call])


def test_models_may_space_and_announce_calls_in_their_own_way(
    families: dict[str, Family],
) -> None:
    want = [ToolCall(name="get", arguments='{"a":1}')]
    for name, texts in {
        "llama3": ['{"name":"get","parameters":{"a":1}}',
                   '{\n  "name": "get",\n"parameters":{"a":1}\n}'],
        "qwen3": ['<tool_call>{"name":"get","arguments":{"a":1}}</tool_call>',
                  '<tool_call>\n\n{ "name": "get", "arguments": {"a":1}}\n</tool_call>\n'],
        "mistral": ['[TOOL_CALLS][{"name":"get","arguments":{"a":1},"id":"x"}]'],
        "glm4": ['get\n{"a":1}'],
    }.items():  # fmt: skip
        for text in texts:
            assert read(families[name].form, {"get"}, list(text)) == ("", want), text
    thought = "<think>\nhm\n</think>\n\n"
    text = f'{thought}<tool_call>\n{{"name": "get", "arguments": {{"a":1}}}}\n</tool_call>'
    assert read(families["qwen3"].form, {"get"}, list(text)) == (thought.rstrip("\n"), want)


def test_one_call_is_enough_where_more_are_not_wanted(families: dict[str, Family]) -> None:
    family = families["qwen2"]
    calls = [ToolCall(name="get", arguments='{"a": 1}'), ToolCall(name="get", arguments="{}")]
    reader = CallReader(family.form, {"get"}, several=False)
    said, found = reader.feed(answer(family, calls))
    assert (said + reader.finish(), found, reader.over) == ("", calls[:1], True)


def test_words_behind_a_call_are_kept(families: dict[str, Family]) -> None:
    family = families["qwen2"]
    text = answer(family, [ToolCall(name="get", arguments="{}")]) + "\n\nDone."
    assert read(family.form, {"get"}, list(text))[0] == "Done."


@pytest.mark.parametrize("name", ["qwen2", "chatglm3", "glm4"])
def test_a_cut_second_call_leaves_the_first(name: str, families: dict[str, Family]) -> None:
    family = families[name]
    calls = [
        ToolCall(name="get", arguments='{"a": "x"}'),
        ToolCall(name="get", arguments='{"b": "y"}'),
    ]
    text = answer(family, calls)
    said, found = read(family.form, {"get"}, list(text[: text.rindex("y")]))
    assert values(found) == values(calls[:1])
    assert "get" in said
    assert "x" not in said


def test_a_template_without_calls_has_no_form(tiny_llama: Path) -> None:
    assert CallForm.learn(Renderer(tiny_llama)) is None


@pytest.mark.parametrize("name", ["qwen2", "chatglm3"])
def test_long_arguments_may_come_in_small_pieces(name: str, families: dict[str, Family]) -> None:
    """They are looked at once, not once more with every token, which would take hours."""
    family = families[name]
    long = {"a": "x)}" * 30_000}
    text = answer(family, [ToolCall(name="get", arguments=json.dumps(long), id="a" * 9)])
    _, found = read(family.form, {"get"}, [text[n : n + 5] for n in range(0, len(text), 5)])
    assert [call.parsed() for call in found] == [long]
