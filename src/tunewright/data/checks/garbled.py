"""Garbled rows: what was read in the wrong encoding before it came here."""

from __future__ import annotations

import re

from tunewright.data.checks import mojibake
from tunewright.data.checks.base import (
    EXAMPLES,
    Change,
    Check,
    Context,
    Corpus,
    Drop,
    Finding,
    Outcome,
)
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import all_turns, in_every_turn, parts, rewritten
from tunewright.data.records import Draft, Turn

_REPAIR = in_every_turn(mojibake.repaired)
# A row that explains mojibake has to show some.
_ABOUT = re.compile(r"乱码|编码|解码|mojibake|encoding|unicode|utf-?8|gbk|latin-?1", re.IGNORECASE)


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    changes: list[Change] = []
    drops: list[Drop] = []
    for index in suspects(corpus.texts, mojibake.HINT):
        draft = corpus.drafts[index]
        change = rewritten(index, draft, _REPAIR)
        lost = _losses(draft, change)
        if (change is None and not lost) or _is_about(draft):
            continue
        if lost or action == "drop":
            what = ", ".join(lost) if lost or change is None else change.detail
            drops.append(Drop(index, "garbled characters", what))
        elif change is not None:
            changes.append(change)
    if not changes and not drops:
        return Outcome()
    rows = sorted([*(change.index for change in changes), *(drop.index for drop in drops)])
    finding = Finding(
        check=GARBLED.name,
        rows=len(rows),
        level="info" if action == "repair" and not drops else "care",
        action=action,
        facts=_facts(corpus, rows),
        examples=tuple(
            example(corpus.drafts[row], mojibake.first_damage) for row in rows[:EXAMPLES]
        ),
    )
    return Outcome(finding) if action == "keep" else Outcome(finding, drops, changes)


def _losses(draft: Draft, change: Change | None) -> list[str]:
    turns: tuple[Turn, ...] = all_turns(draft)
    if change is not None:
        turns = change.turns + (change.rejected or ())
    return list(dict.fromkeys(name for turn in turns for name in mojibake.losses(turn.text)))


def _is_about(draft: Draft) -> bool:
    return any(_ABOUT.search(text) for _, text in parts(draft))


def _facts(corpus: Corpus, rows: list[int]) -> dict[str, int]:
    lost = sum(
        bool(_losses(corpus.drafts[row], rewritten(row, corpus.drafts[row], _REPAIR)))
        for row in rows
    )
    return {"rows": len(rows), "repairable": len(rows) - lost, "lost": lost}


GARBLED = Check(
    name="garbled",
    actions=("repair", "drop", "keep"),
    run=_run,
    title={"en": "Garbled characters", "zh": "乱码"},
    says={
        "en": "{rows:,} rows hold garbled characters: their text was read in the wrong encoding "
        "before it came here. {repairable:,} of them can be restored without loss, {lost:,} are "
        "damaged for good; for those, export the data anew.",
        "zh": "{rows:,} 行含有乱码：文本在导入之前就按错误的编码读过。其中 {repairable:,} 行可以"
        "无损还原，{lost:,} 行已经损坏，需要从源头重新导出。",
    },
    does={
        "repair": {
            "en": "restore what can be restored and leave the other rows out",
            "zh": "还原能还原的，去掉其余的行",
        },
        "drop": {"en": "leave all of these rows out", "zh": "去掉所有这些行"},
        "keep": {"en": "keep them as they are", "zh": "原样保留"},
    },
)
