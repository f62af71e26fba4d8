"""What the report's template shows of judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.evaluation.judgements import agreements, compared
from tunewright.evaluation.judging.verdicts import (
    EVEN,
    Panel,
    Sitting,
    Spent,
    Verdict,
    reliability,
)
from tunewright.evaluation.results import Results
from tunewright.evaluation.texts import Texts, number, p_text, percent

_MOST_REASONS = 3
_BIASED = 0.25
"""Share of pairs that the order decides, above which the page warns."""


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge on one challenger, as shown."""

    judge: str
    responder: str
    outcomes: str
    share: str
    interval: str
    p: str
    flips: str
    first: str
    unreadable: str
    tone: str


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """One question with a judge's verdict and reason."""

    question: str
    outcome: str
    reason: str
    tone: str


@dataclass(frozen=True)
class JudgingPart:
    """The section.

    Attributes:
        lead: how judges were asked.
        rows: by judge and challenger.
        notes: cost, bias and agreement in sentences.
        reasons: ``(challenger, rows)`` of the first judge.
    """

    lead: str
    rows: Sequence[JudgeRow]
    notes: Sequence[str]
    reasons: Sequence[tuple[str, Sequence[ReasonRow]]]


def judging_part(results: Results, texts: Texts) -> JudgingPart | None:
    """The section; None where no judge was asked."""
    panel = results.panel
    if panel is None:
        return None
    shown = texts("judging.reference") if panel.rubric.reference else ""
    rows = [
        _row(results, sitting, name, texts)
        for sitting in panel.sittings
        for name in sitting.verdicts
    ]
    first = panel.sittings[0].verdicts
    reasons = [(name, _reasons(results, verdicts, texts)) for name, verdicts in first.items()]
    return JudgingPart(
        texts("judging.lead", reference=shown),
        rows,
        _notes(results, panel, texts),
        [(name, found) for name, found in reasons if found],
    )


def _row(results: Results, sitting: Sitting, name: str, texts: Texts) -> JudgeRow:
    trust = reliability(sitting.verdicts[name])
    seen = compared(results, name, sitting.metric)
    low, high = (0.0, 0.0) if seen is None else seen.interval
    return JudgeRow(
        sitting.judge,
        name,
        "–" if seen is None else f"{seen.wins} / {seen.ties} / {seen.losses}",
        "–" if seen is None else percent(seen.score),
        "" if seen is None else f"{percent(EVEN + low)} … {percent(EVEN + high)}",
        "–" if seen is None else p_text(seen.p).removeprefix("=\u00a0"),
        _share(trust.flips),
        _share(trust.first),
        f"{trust.unreadable} / {trust.pairs}",
        "good" if low > 0 else "bad" if high < 0 else "flat",
    )


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value, 0)


def _notes(results: Results, panel: Panel, texts: Texts) -> list[str]:
    found = []
    for sitting in panel.sittings:
        for verdicts in sitting.verdicts.values():
            trust = reliability(verdicts)
            if (trust.flips or 0.0) > _BIASED:
                where = "first" if (trust.first or 0.0) >= EVEN else "second"
                found.append(
                    texts(
                        "judging.biased",
                        judge=sitting.judge,
                        flips=_share(trust.flips),
                        where=texts(f"judging.where.{where}"),
                    )
                )
        found.append(_cost(sitting.judge, sitting.spent, texts))
    for name in results.challengers:
        for one in agreements(panel, name):
            found.append(
                texts(
                    "judging.agreement",
                    first=one.first,
                    second=one.second,
                    share=percent(one.share),
                    questions=one.questions,
                    kappa=f"{one.kappa:.2f}",
                )
            )
    return found


def _cost(judge: str, spent: Spent, texts: Texts) -> str:
    money = "" if spent.money is None else texts("judging.money", money=number(spent.money))
    return texts(
        "judging.cost",
        judge=judge,
        requests=f"{spent.requests:,}",
        prompt=f"{spent.prompt_tokens:,}",
        completion=f"{spent.completion_tokens:,}",
        money=money,
        now=f"{spent.now:,}",
    )


def _reasons(results: Results, verdicts: Sequence[Verdict], texts: Texts) -> list[ReasonRow]:
    """The first questions lost and won in both orders, with what the judge said of them."""
    rows = []
    for outcome, name in ((0.0, "loss"), (1.0, "win")):
        places = [n for n, one in enumerate(verdicts) if one.outcome == outcome][:_MOST_REASONS]
        for place in places:
            ruling = verdicts[place].rulings[1]  # its answer was shown first, as A
            question = results.test.questions[place].prompt.question
            reason = ruling.reason if ruling else ""
            tone = "good" if name == "win" else "bad"
            rows.append(ReasonRow(question, texts(f"outcome.{name}"), reason, tone))
    return rows
