"""What the checks for personal data and for secrets share: scan every row, then hide or leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tunewright.core.messages import Role
from tunewright.data.checks.base import EXAMPLES, Change, Corpus, Drop, Example
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.masking import Found, Kind, find, joined_hints, mask
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import (
    detail,
    has_chinese,
    in_every_turn,
    parts,
    rewritten,
)
from tunewright.data.records import Draft

Hits = Mapping[int, Sequence["Hit"]]
"""Place of a row → the values in it."""


class Hit(NamedTuple):
    """A value in a row: who says it, its kind, and what it says, alike however it is spaced."""

    role: Role
    kind: Kind
    value: str


def scan(corpus: Corpus, kinds: Sequence[Kind]) -> dict[int, list[Hit]]:
    """The values of every row that has some; arguments of tool calls are looked into as well."""
    likely = dict.fromkeys(corpus.calling, kinds)
    likely |= _likely_kinds(corpus, kinds, corpus.calling)
    hits = ((row, _hits(corpus.drafts[row], some)) for row, some in sorted(likely.items()))
    return {row: found for row, found in hits if found}


def _likely_kinds(
    corpus: Corpus, kinds: Sequence[Kind], known: Collection[int]
) -> dict[int, list[Kind]]:
    """Place → the kinds whose hints a row's text matches; polars tells them apart far faster."""
    rows = [row for row in suspects(corpus.texts, joined_hints(kinds)) if row not in known]
    texts = [column.gather(rows) for column in corpus.texts]
    marks = {hint: {*suspects(texts, hint)} for hint in {kind.hint for kind in kinds}}
    return {row: [kind for kind in kinds if at in marks[kind.hint]] for at, row in enumerate(rows)}


def _hits(draft: Draft, kinds: Sequence[Kind]) -> list[Hit]:
    return [
        Hit(role, found.kind, found.value(text))
        for role, text in parts(draft)
        for found in find(text, kinds)
    ]


def without(hits: Hits, keep: Collection[str]) -> dict[int, list[Hit]]:
    """The values but those that are kept, and the rows that then have some left."""
    left = ((row, [hit for hit in some if hit.value not in keep]) for row, some in hits.items())
    return {row: some for row, some in left if some}


def masks(
    corpus: Corpus, hits: Hits, table: Sequence[Kind], keep: Collection[str] = ()
) -> list[Change]:
    """Changes that put a mark, in the language of its row, in the place of every value."""
    changes = []
    for row, some in hits.items():
        draft = corpus.drafts[row]
        chinese = any(has_chinese(text) for _, text in parts(draft))
        present = {hit.kind for hit in some}
        kinds = [kind for kind in table if kind in present]
        hide = partial(mask, kinds=kinds, keep=keep, language="zh" if chinese else "en")
        changes.append(rewritten(row, draft, in_every_turn(hide), calls=True))
    return [change for change in changes if change is not None]


def drops(hits: Hits, reason: str) -> list[Drop]:
    """Drops of every row, which say what there is and quote none of it."""
    return [
        Drop(row, reason, detail(Counter(hit.kind.name for hit in some)))
        for row, some in hits.items()
    ]


def examples(corpus: Corpus, rows: Iterable[int], kinds: Sequence[Kind]) -> tuple[Example, ...]:
    """A few of the rows, with the place where a value stood."""

    def first(text: str) -> int | None:
        found: list[Found] = find(text, kinds)
        return found[0].start if found else None

    return tuple(example(corpus.drafts[row], first) for row in list(rows)[:EXAMPLES])


def listing(hits: Hits, language: str) -> str:
    """How many values there are of each kind: ``mobile number ×3, e-mail ×1``."""
    counts = Counter(hit.kind.labels[language] for some in hits.values() for hit in some)
    comma = "、" if language == "zh" else ", "
    return comma.join(f"{label} ×{count:,}" for label, count in counts.most_common())
