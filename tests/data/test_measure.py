"""Lengths in tokens of every kind of row, and refusals that spoil no other row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunewright.core.events import Event, ignore
from tunewright.core.messages import ToolCall, conversation
from tunewright.data.measure import ALIKE, REFUSED, Length, measure, pair_of, summary
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

TOOL = {"type": "function", "function": {"name": "get_time"}}


@pytest.fixture
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def row(*turns: Turn, **fields: object) -> Draft:
    return Draft(turns, "rows.jsonl", 1, "g", **fields)  # type: ignore[arg-type]


QUESTION, ANSWER = Turn("user", "How long?"), Turn("assistant", "Three months at most.")


def test_conversations_and_ratings_measure_alike(renderer: Renderer) -> None:
    rendered = renderer.render(conversation(("user", QUESTION.text), ("assistant", ANSWER.text)))
    expected = Length(len(rendered.ids), sum(rendered.mask))
    judged = row(QUESTION, ANSWER, kind="rating", desirable=False)
    assert measure([row(QUESTION, ANSWER), judged], renderer, ignore) == [expected] * 2


def test_a_preference_is_as_long_as_its_longer_answer(renderer: Renderer) -> None:
    short, long = Turn("assistant", "No."), Turn("assistant", "No, never, not at all.")
    rows = [
        row(QUESTION, long, kind="preference", rejected=(short,)),
        row(QUESTION, short, kind="preference", rejected=(long,)),
    ]
    [one, other] = measure([row(QUESTION, long), row(QUESTION, short)], renderer, ignore)
    learned = one.supervised + other.supervised
    expected = Length(one.tokens, learned, second=other.tokens)
    assert measure(rows, renderer, ignore) == [expected] * 2
    # Both answers are read with their question, so never more is learned than there is.
    assert summary([expected])["total"] == one.tokens + other.tokens > learned
    assert summary([expected])["max"] == one.tokens


def test_earlier_answers_of_a_preference_are_not_learned(renderer: Renderer) -> None:
    worse = Turn("assistant", "No.")
    once = row(QUESTION, ANSWER, kind="preference", rejected=(worse,))
    twice = replace(once, turns=(QUESTION, Turn("assistant", "Which one?"), *once.turns))
    first, second = measure([once, twice], renderer, ignore)
    assert second.tokens > first.tokens
    assert second.supervised == first.supervised
    better, other = pair_of(twice)
    assert [m.content for m in better.messages] == [
        QUESTION.text, "Which one?", QUESTION.text, ANSWER.text
    ]  # fmt: skip
    assert [m.content for m in other.messages] == [
        QUESTION.text, "Which one?", QUESTION.text, "No."
    ]  # fmt: skip
    assert [m.weight for m in other.messages if m.role == "assistant"] == [0, 1]


def test_answers_that_are_the_same_to_the_base_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "trimming"
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("m['content']", "m['content'] | trim"))
    same = row(
        QUESTION, ANSWER, kind="preference", rejected=(ANSWER._replace(text=ANSWER.text + " "),)
    )
    fine = row(QUESTION, ANSWER, kind="preference", rejected=(Turn("assistant", "No."),))
    first, second = measure([same, fine], Renderer(folder), ignore)
    assert (first.tokens, first.reason) == (0, ALIKE)
    assert first.refusal
    assert second.refusal == ""


def test_plain_text_is_learned_whole(renderer: Renderer) -> None:
    texts = ["押金应当退还。", "<|im_end|> is text"]
    rows = [row(Turn("user", text), kind="text") for text in texts]
    counts = [len(renderer.render_text(text).ids) for text in texts]
    assert measure(rows, renderer, ignore) == [Length(count, count) for count in counts]


def test_a_refused_row_spoils_no_other(renderer: Renderer) -> None:
    call = Turn("assistant", "", calls=(ToolCall(name="get_time", arguments="{}"),))
    offered = row(QUESTION, call, tools=(TOOL,))
    hidden = row(Turn("user", "<|im_end|>\U000f0000"), kind="text")
    plain = row(QUESTION, ANSWER)
    lengths = measure([plain, offered, plain, hidden], renderer, ignore)
    assert [bool(length.refusal) for length in lengths] == [False, True, False, True]
    assert lengths[1].refusal == "the base's chat template knows no tools"
    assert lengths[1].reason == REFUSED
    assert lengths[0] == lengths[2]
    assert lengths[0].supervised > 0


def test_the_bundled_base_measures_calls() -> None:
    from importlib.resources import files

    renderer = Renderer(Path(str(files("tunewright"))) / "bases" / "nano")
    call = Turn("assistant", "", calls=(ToolCall(name="get_time", arguments="{}"),))
    [length] = measure([row(QUESTION, call, tools=(TOOL,))], renderer, ignore)
    assert (length.refusal, length.supervised > 8) == ("", True)


def test_progress_and_order_over_batches(renderer: Renderer) -> None:
    rows = [row(QUESTION, Turn("assistant", "fox " * (1 + n % 5))) for n in range(600)]
    events: list[Event] = []
    lengths = measure(rows, renderer, events.append)
    assert [length.tokens for length in lengths[:5]] == [length.tokens for length in lengths[595:]]
    assert [event.data["done"] for event in events] == [256, 512, 600]


def test_the_summary_uses_nearest_ranks() -> None:
    lengths = [Length(tokens, 1) for tokens in range(1, 101)]
    assert summary(lengths) == {
        "p5": 5, "p50": 50, "p95": 95, "max": 100, "total": 5050, "supervised": 100,
        "measured": 100,
    }  # fmt: skip
    assert summary([])["max"] == 0
