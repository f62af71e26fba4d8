"""The results of a blind comparison as one page, and as JSON beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tunewright import __version__
from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.core.language import Sentences
from tunewright.core.store import Store
from tunewright.evaluation.blind.results import BlindResults, Tally, outcome
from tunewright.evaluation.blind.session import BlindSession, Item
from tunewright.evaluation.blind.votes import Vote
from tunewright.evaluation.judgements import Agreement
from tunewright.evaluation.texts import p_text, percent
from tunewright.evaluation.wording.blind import RESULTS

TEMPLATE = "blind_results.html.j2"
PAGE = "results.html"
JSON = "results.json"
_TONES = {"better": "pass", "worse": "fail", "open": "open"}


@dataclass(frozen=True, slots=True)
class ExpertRow:
    """One expert, or everybody."""

    name: str
    questions: int
    outcomes: str
    share: str
    interval: str
    p: str
    both: str
    total: bool


@dataclass(frozen=True, slots=True)
class VoteLine:
    """One vote on one question, as shown."""

    voter: str
    outcome: str
    tone: str
    comment: str


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One question with both answers under their names, and its votes."""

    question: str
    baseline: str
    challenger: str
    votes: Sequence[VoteLine]


def write_results(store: Store, results: BlindResults, language: str) -> Path:
    """Write page and JSON into the session's folder; the page's path."""
    folder = store.folder(BlindSession, results.session.id)
    write_json_atomic(folder / JSON, results.json())
    write_text_atomic(folder / PAGE, render(results, language))
    return folder / PAGE


def render(results: BlindResults, language: str) -> str:
    """The page; everything from data, models and voters is escaped."""
    t = Sentences(RESULTS, language)
    environment = Environment(
        loader=PackageLoader("tunewright.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    session = results.session
    shown = {
        "session": session,
        "made": t(
            "made",
            when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            version=__version__,
        ),
        "tone": _TONES[results.conclusion],
        "badge": t(f"verdict.{results.conclusion}"),
        "sentence": headline(results, t),
        "lines": summary_lines(results, t),
        "experts": _experts(results, t),
        "agreement": _agreement(results, t),
        "rows": [_row(item, results, t) for item in results.items],
        "background": t(
            "background",
            id=session.id,
            evaluation=session.evaluation,
            questions=session.questions,
            equal=session.equal,
        ),
    }
    return environment.get_template(TEMPLATE).render(t=t, **shown) + "\n"


def headline(results: BlindResults, t: Sentences) -> str:
    """The conclusion in one sentence."""
    if results.overall.seen is None:
        return t("says.none")
    baseline, challenger = results.session.models
    return t(f"says.{results.conclusion}", model=challenger, base=baseline)


def summary_lines(results: BlindResults, t: Sentences) -> list[str]:
    """The numbers behind the conclusion, and how many more questions would do."""
    seen, interval = results.overall.seen, results.overall.interval
    lines = []
    if seen is not None and interval is not None:
        lines.append(
            t(
                "says.numbers",
                model=results.session.models[1],
                share=percent(seen.score),
                low=percent(interval[0]),
                high=percent(interval[1]),
                questions=seen.questions,
                groups=seen.groups,
                wins=seen.wins,
                ties=seen.ties,
                losses=seen.losses,
                p=p_text(seen.p),
            )
        )
    if results.more and seen is not None:
        lines.append(t("says.more", more=results.more, gain=f"{100 * results.gain:.1f}"))
    return lines


def _experts(results: BlindResults, t: Sentences) -> list[ExpertRow]:
    rows = [_expert(name, tally, False) for name, tally in results.experts.items()]
    if len(rows) > 1:
        rows.append(_expert(t("everybody"), results.overall, True))
    return rows


def _expert(name: str, tally: Tally, total: bool) -> ExpertRow:
    seen, interval = tally.seen, tally.interval
    if seen is None or interval is None:
        return ExpertRow(name, 0, "–", "–", "", "–", "–", total)
    return ExpertRow(
        name,
        seen.questions,
        f"{seen.wins} / {seen.ties} / {seen.losses}",
        percent(seen.score),
        f"{percent(interval[0])} … {percent(interval[1])}",
        p_text(seen.p).removeprefix("=\u00a0"),
        f"{tally.good} / {tally.bad}",
        total,
    )


def _agreement(results: BlindResults, t: Sentences) -> list[str]:
    lines = [_agreed("agreement.two", one, t) for one in results.pairs]
    if results.fleiss is not None:
        kappa, questions = results.fleiss
        lines.append(t("agreement.many", kappa=_decimals(kappa), questions=questions))
    lines += [_agreed("agreement.judge", one, t) for one in results.judges]
    if not lines:
        return [t("agreement.none")]
    return [*lines, t("agreement.scale")]


def _agreed(key: str, one: Agreement, t: Sentences) -> str:
    return t(
        key,
        first=one.first,
        second=one.second,
        share=percent(one.share),
        questions=one.questions,
        kappa=_decimals(one.kappa),
    )


def _decimals(value: float) -> str:
    """Two of them, with a minus sign that is one."""
    return f"{value:.2f}".replace("-", "−")


def _row(item: Item, results: BlindResults, t: Sentences) -> QuestionRow:
    base, other = (item.b, item.a) if item.flipped else (item.a, item.b)
    lines = [
        _line(name, item, own[item.id], t) for name, own in results.votes.items() if item.id in own
    ]
    return QuestionRow(item.turns[-1].text, base, other, lines)


def _line(name: str, item: Item, vote: Vote, t: Sentences) -> VoteLine:
    value = outcome(item, vote)
    if vote.choice in ("good", "bad"):
        return VoteLine(name, t(f"outcome.{vote.choice}"), "", vote.comment)
    tone = "good" if value == 1 else "bad"
    return VoteLine(name, t(f"outcome.{value:.0f}"), tone, vote.comment)
