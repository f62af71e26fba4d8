"""Rewriting a row turn by turn, and finding the rows that are worth a closer look."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import get_args

from tunewright.core.messages import Role, ToolCall
from tunewright.data.checks.base import Change
from tunewright.data.records import Draft, Turn

Edit = Callable[[str], tuple[str, Counter[str]]]
"""A text → the text as it should be, and how often each thing was done to it."""

_CHINESE = re.compile(r"[\u3001-\u3011\u4e00-\u9fff\uff01-\uff1f]")


def words(text: str) -> frozenset[str]:
    """A set of words, as they are best read in code: in one string."""
    return frozenset(text.split())


def all_turns(draft: Draft) -> tuple[Turn, ...]:
    """Every turn, those of the worse answer of a preference included."""
    return draft.turns + draft.rejected


def parts(draft: Draft) -> list[tuple[Role, str]]:
    """Every text of a row with the role that speaks it, arguments of tool calls included."""
    found: list[tuple[Role, str]] = []
    for turn in all_turns(draft):
        found.append((turn.role, turn.text))
        found += [(turn.role, call.arguments) for call in turn.calls]
    return found


def has_chinese(text: str) -> bool:
    """Whether a text holds a Chinese character or punctuation mark."""
    return _CHINESE.search(text) is not None


def detail(done: Mapping[str, int]) -> str:
    """What was done, in a few words: ``mobile ×2, e-mail ×1``."""
    return ", ".join(f"{name} ×{count}" for name, count in done.items())


def rewritten(
    index: int, draft: Draft, edits: Mapping[Role, Edit], *, calls: bool = False
) -> Change | None:
    """The change that edits make to a row, or None when they make none.

    Args:
        index: the row's place.
        draft: the row; it is not changed.
        edits: by role, what is done to the text of each turn, also of a worse answer.
        calls: also edit the arguments of tool calls.
    """
    done: Counter[str] = Counter()

    def edited(turn: Turn) -> Turn:
        edit = edits.get(turn.role)
        if edit is None:
            return turn
        text, some = edit(turn.text)
        done.update(some)
        if calls and turn.calls:
            turn = turn._replace(calls=tuple(_edited_call(call, edit, done) for call in turn.calls))
        return turn if text == turn.text else turn._replace(text=text)

    turns = tuple(edited(turn) for turn in draft.turns)
    rejected = tuple(edited(turn) for turn in draft.rejected)
    if turns == draft.turns and rejected == draft.rejected:
        return None
    return Change(index, turns, detail(done), rejected if draft.rejected else None)


def _edited_call(call: ToolCall, edit: Edit, done: Counter[str]) -> ToolCall:
    arguments, some = edit(call.arguments)
    done.update(some)
    return call if arguments == call.arguments else call.model_copy(update={"arguments": arguments})


def in_every_turn(edit: Edit) -> Mapping[Role, Edit]:
    """One edit for all roles."""
    return dict.fromkeys(get_args(Role), edit)
