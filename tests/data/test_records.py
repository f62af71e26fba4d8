"""A draft's line is its row as JSON, whatever the row is."""

from __future__ import annotations

import pytest

from tunewright.core.messages import Passage, Row, ToolCall
from tunewright.data.records import Draft, Turn

USER, ANSWER = Turn("user", '问"题"\n\u2028'), Turn("assistant", "答 🙂")
CALL = ToolCall(name="find", arguments='{"q": "雨"}', id="c1")
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "draft",
    [
        Draft((USER, ANSWER), "a.csv", 2, "g"),
        Draft((Turn("system", "s"), USER, ANSWER._replace(weight=0)), "a", 1, "g", "kind"),
        Draft((USER, ANSWER), "a", 1, "g", None, "general"),
        Draft((USER, ANSWER), "a", 1, "g", kind="preference", rejected=(Turn("assistant", "坏"),)),
        Draft((USER, ANSWER), "a", 1, "g", kind="rating", desirable=False),
        Draft(
            (
                USER,
                Turn("assistant", "", calls=(CALL,)),
                Turn("tool", "{}", call_id="c1", name="find"),
                ANSWER,
            ),
            "a",
            1,
            "g",
            tools=(TOOL,),
        ),
    ],
)
def test_a_line_reads_back_as_the_row(draft: Draft) -> None:
    line = draft.line()
    assert line.endswith(b"\n")
    assert Row.model_validate_json(line) == Row.model_validate(draft.row().model_dump())


def test_a_text_row_reads_back_as_a_passage() -> None:
    draft = Draft((Turn("user", "第一条……"),), "law.md", 7, "g", kind="text")
    passage = Passage.model_validate_json(draft.line())
    assert (passage.text, passage.source.row, passage.group) == ("第一条……", 7, "g")
    assert passage == draft.row()
