"""What a check is: it looks at all rows, says what it found, and proposes what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress, count
from typing import Any, Literal

import numpy as np
import polars as pl

from tunewright.config.data import PrepareConfig
from tunewright.core.messages import Role
from tunewright.data.checks.columns import column
from tunewright.data.keys import near_keys
from tunewright.data.records import Draft, Turn, said_by
from tunewright.model.rendering import Renderer

Level = Literal["info", "care", "stop"]
_PLACE: Mapping[Role, int] = {"user": 0, "assistant": 1}
"""Where a pair's turns stand."""
EXAMPLES = 5
"""How many examples a finding shows."""


class Corpus:
    """The rows that stand at one moment, with their texts as columns for vectorised work.

    Attributes:
        drafts: the rows, in the order of their files.
    """

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts

    @cached_property
    def questions(self) -> pl.Series:
        """Every row's user turns joined by newlines, as strings; (rows,)."""
        return column("question", self._said_by("user"))

    @cached_property
    def question_keys(self) -> pl.Series:
        """``near_key`` of every row's question, as strings; (rows,)."""
        return column("key", near_keys([*self._said_by("user")]))

    @cached_property
    def answers(self) -> pl.Series:
        """Every row's assistant turns joined by newlines, as strings; (rows,)."""
        return column("answer", self._said_by("assistant"))

    @property
    def texts(self) -> tuple[pl.Series, ...]:
        """All text of every row, tool results and worse answers included.

        It stands in columns side by side, (rows,) each: those of questions and answers when
        rows hold nothing else, for a copy of all texts would be the largest thing in memory.
        """
        return (self.questions, self.answers) if self._are_pairs else (self._whole,)

    @cached_property
    def _whole(self) -> pl.Series:
        texts = ("\n".join([t.text for t in (*d.turns, *d.rejected)]) for d in self.drafts)
        return column("text", texts)

    @cached_property
    def _are_pairs(self) -> bool:
        """Whether every row is a question and its answer, and nothing else."""
        return all(map(_is_pair, self.drafts))

    def _said_by(self, role: Role) -> Iterable[str]:
        if self._are_pairs and role in _PLACE:
            place = _PLACE[role]
            return (draft.turns[place].text for draft in self.drafts)
        return (said_by(draft.turns, role) for draft in self.drafts)

    @cached_property
    def calling(self) -> frozenset[int]:
        """Places of the rows that call tools."""
        calling = (any(turn.calls for turn in draft.turns) for draft in self.drafts)
        return frozenset(compress(count(), calling))

    def without(self, rows: Iterable[int]) -> Corpus:
        """The corpus after these rows have left; columns that were made need not be made anew."""
        stays = np.ones(len(self.drafts), np.bool_)
        stays[list(rows)] = False
        left = Corpus([self.drafts[row] for row in np.flatnonzero(stays).tolist()])
        for name, made in vars(self).items():
            if isinstance(made, pl.Series):
                vars(left)[name] = made.filter(stays)
        return left


def _is_pair(draft: Draft) -> bool:
    turns = draft.turns
    return (
        len(turns) == 2
        and turns[0].role == "user"
        and turns[1].role == "assistant"
        and not draft.rejected
    )


@dataclass(frozen=True)
class Context:
    """What a check may ask besides the rows.

    Attributes:
        config: the stage's options.
        renderer: the base's renderer.
        held: rows of named test sets, which must not be learned from.
    """

    config: PrepareConfig
    renderer: Renderer
    held: Sequence[Draft] = ()


@dataclass(frozen=True)
class Example:
    """A row that shows what was found.

    Attributes:
        file: its file.
        row: its number there.
        text: an excerpt on one line; personal data and secrets already masked.
        other: file, row and excerpt of the row that it meets, where there is one.
    """

    file: str
    row: int
    text: str
    other: tuple[str, int, str] | None = None


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name in the table.
        rows: how many rows it concerns.
        level: ``info`` to know, ``care`` to look at, ``stop`` when training would be in vain.
        action: what is done about it: one of the check's actions.
        facts: values that fill in the check's sentences, ``rows`` always among them.
        examples: a few rows.
        figure: numbers for the report's plot, or None.
    """

    check: str
    rows: int
    level: Level
    action: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    figure: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Drop:
    """A row to leave out; ``kept`` is the row that stands for it, where there is one."""

    index: int
    reason: str
    detail: str = ""
    kept: int | None = None


@dataclass(frozen=True)
class Change:
    """A row to change: its new turns, and what was done, without quoting what was removed."""

    index: int
    turns: tuple[Turn, ...]
    detail: str
    rejected: tuple[Turn, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a check found and would do; indices are places in ``Corpus.drafts``.

    Attributes:
        finding: None when there is nothing to say.
        drops: rows to leave out.
        changes: rows to change.
        clusters: for each row the index of the first row of its cluster, or None when the check
            makes no clusters; (rows,).
    """

    finding: Finding | None = None
    drops: Sequence[Drop] = ()
    changes: Sequence[Change] = ()
    clusters: Sequence[int] | None = None


Run = Callable[[Corpus, str, Context], Outcome]


@dataclass(frozen=True)
class Check:
    """One entry of the table.

    Attributes:
        name: its option in ``checks`` of the config, its key in reports.
        actions: what can be done about it; the first one is recommended.
        run: looks at the rows as they stand and says what it would do under an action; it
            changes nothing itself.
        kinds: the kinds of rows it understands.
        title: its heading, by language.
        says: what it found, by language; ``str.format`` with the finding's facts.
        does: what each action does, by action and then by language, as the end of
            "Tunewright will …" and "处理：…".
    """

    name: str
    actions: tuple[str, ...]
    run: Run
    title: Mapping[str, str]
    says: Mapping[str, str]
    does: Mapping[str, Mapping[str, str]]
    kinds: frozenset[str] = frozenset({"conversation", "preference", "rating", "text"})


def excerpt(text: str, length: int = 200) -> str:
    """The beginning of a text on one line, for reports."""
    line = " ".join(text[: 2 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"
