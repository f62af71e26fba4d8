"""What votes come to once it is told whose answers they were for."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

from tunewright.core.records import Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, Item, read_items
from tunewright.evaluation.blind.votes import Box, Vote, Votes
from tunewright.evaluation.evaluate import SUMMARY, read_outputs
from tunewright.evaluation.judgements import OUTCOMES, Agreement, agreement
from tunewright.evaluation.judging.verdicts import EVEN
from tunewright.evaluation.statistics.agreement import fleiss_kappa
from tunewright.evaluation.statistics.comparison import Comparison, compare
from tunewright.evaluation.statistics.power import questions_needed
from tunewright.evaluation.statistics.significance import SIGNIFICANCE

_RESAMPLES = 10_000
_SEED = 0
_LEAST_GAIN: Final = 0.05
"""A difference smaller than this many votes of a hundred is not worth asking more people for."""
_LEAST_QUESTIONS = 20
Conclusion = Literal["better", "worse", "open"]


@dataclass(frozen=True)
class Tally:
    """The votes of one expert, or of all together, for the challenger.

    Attributes:
        seen: against an even vote on every question; None without any votes.
        good: votes that called both answers good.
        bad: votes that called both bad.
    """

    seen: Comparison | None
    good: int
    bad: int

    @property
    def share(self) -> float | None:
        """How often the challenger is preferred, ties counting half."""
        return None if self.seen is None else self.seen.score

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``share``."""
        if self.seen is None:
            return None
        low, high = self.seen.interval
        return max(0.0, EVEN + low), min(1.0, EVEN + high)

    def json(self) -> dict[str, Any]:
        """As in ``results.json``."""
        seen = self.seen
        if seen is None or self.interval is None:
            return {"questions": 0}
        return {
            "questions": seen.questions,
            "groups": seen.groups,
            "wins": seen.wins,
            "ties": seen.ties,
            "losses": seen.losses,
            "preferred": seen.score,
            "interval": [one if math.isfinite(one) else None for one in self.interval],
            "p": seen.p,
            "both_good": self.good,
            "both_bad": self.bad,
        }


@dataclass(frozen=True)
class BlindResults:
    """A session, unblinded.

    Attributes:
        session: whose.
        items: its questions.
        votes: of everybody.
        overall: each question by the mean of its votes.
        experts: by name.
        pairs: agreement of every two experts on the questions both voted on.
        fleiss: of all experts together, with the number of questions; None for fewer than three.
        judges: agreement of each judge of the evaluation with the experts' majority.
        more: questions that are still needed; 0 where it is decided.
    """

    session: BlindSession
    items: Sequence[Item]
    votes: Votes
    overall: Tally
    experts: Mapping[str, Tally]
    pairs: Sequence[Agreement]
    fleiss: tuple[float, int] | None
    judges: Sequence[Agreement]
    more: int

    @property
    def conclusion(self) -> Conclusion:
        """What the votes say: both the interval and the sign test have to agree."""
        seen = self.overall.seen
        if seen is None or seen.p >= SIGNIFICANCE or seen.low <= 0 <= seen.high:
            return "open"
        return "better" if seen.delta > 0 else "worse"

    @property
    def gain(self) -> float:
        """The difference that ``more`` questions would show."""
        seen = self.overall.seen
        return max(_LEAST_GAIN, abs(seen.delta)) if seen else _LEAST_GAIN

    def json(self) -> dict[str, Any]:
        """``results.json``, the votes of every question included."""
        baseline, challenger = self.session.models
        return {
            "session": self.session.id,
            "evaluation": self.session.evaluation,
            "baseline": baseline,
            "model": challenger,
            "questions": self.session.questions,
            "equal_answers": self.session.equal,
            "made": time.time(),
            "conclusion": self.conclusion,
            "overall": self.overall.json(),
            "experts": {name: tally.json() for name, tally in self.experts.items()},
            "agreement": [asdict(one) for one in self.pairs],
            "fleiss_kappa": self.fleiss and self.fleiss[0],
            "judges": [asdict(one) for one in self.judges],
            "questions_needed": self.more,
            "votes": [_item_json(item, self.votes) for item in self.items],
        }


def outcome(item: Item, vote: Vote) -> float:
    """1 where the vote is for the challenger, 0 for the baseline, 0.5 for both or neither."""
    if vote.choice not in ("a", "b"):
        return EVEN
    return float((vote.choice == "a") == item.flipped)


def means(items: Sequence[Item], votes: Votes) -> dict[str, float]:
    """``{question: mean outcome}`` of those that anybody voted on."""
    found: dict[str, float] = {}
    for item in items:
        own = [outcome(item, vote) for by in votes.values() if (vote := by.get(item.id))]
        if own:
            found[item.id] = sum(own) / len(own)
    return found


def unblind(store: Store, session: BlindSession) -> BlindResults:
    """The results as the votes stand."""
    items = read_items(store, session)
    votes = Box(store, session, [item.id for item in items]).read()
    experts = {name: _tally(items, {name: own}) for name, own in sorted(votes.items())}
    overall = _tally(items, votes)
    counts = _counts(items, votes)
    kappa = fleiss_kappa(counts) if len(votes) > 2 else None
    return BlindResults(
        session,
        items,
        votes,
        overall,
        experts,
        _pairs(items, votes),
        None if kappa is None else (kappa, sum(sum(row) > 1 for row in counts)),
        _judges(store, session, items, votes),
        _more(overall.seen),
    )


def _tally(items: Sequence[Item], votes: Votes) -> Tally:
    found = means(items, votes)
    said = Counter(vote.choice for own in votes.values() for vote in own.values())
    if not found:
        return Tally(None, 0, 0)
    voted = [item for item in items if item.id in found]
    seen = compare(
        [EVEN] * len(voted),
        [found[item.id] for item in voted],
        [item.group for item in voted],
        _RESAMPLES,
        _SEED,
    )
    return Tally(seen, said["good"], said["bad"])


def _counts(items: Sequence[Item], votes: Votes) -> list[list[int]]:
    """How many voted for the baseline, neither and the challenger, by question."""
    rows = []
    for item in items:
        said = [outcome(item, vote) for own in votes.values() if (vote := own.get(item.id))]
        rows.append([said.count(value) for value in OUTCOMES])
    return rows


def _pairs(items: Sequence[Item], votes: Votes) -> list[Agreement]:
    found = []
    for one, other in combinations(sorted(votes), 2):
        both = [item for item in items if item.id in votes[one] and item.id in votes[other]]
        pairs = [
            (outcome(item, votes[one][item.id]), outcome(item, votes[other][item.id]))
            for item in both
        ]
        agreed = agreement(one, other, pairs)
        if agreed is not None:
            found.append(agreed)
    return found


def _judges(
    store: Store, session: BlindSession, items: Sequence[Item], votes: Votes
) -> list[Agreement]:
    """Judges compare with the evaluation's baseline; a session of two others tells nothing."""
    evaluation = store.get(Evaluation, session.evaluation)
    baseline, challenger = session.models
    if baseline != evaluation.models[0]:
        return []
    folder = store.folder(Evaluation, evaluation.id)
    people = {
        key: (mean > EVEN) + EVEN * (mean == EVEN) for key, mean in means(items, votes).items()
    }
    scores = {
        line["row"]: line["scores"]
        for line in read_outputs(folder)
        if line["responder"] == challenger
    }
    found = []
    for judge, metric in _judge_names(folder):
        pairs = [
            (scores.get(item.row, {}).get(metric), float(people[item.id]))
            for item in items
            if item.id in people
        ]
        agreed = agreement(judge, "experts", pairs)
        if agreed is not None:
            found.append(agreed)
    return found


def _judge_names(folder: Path) -> list[tuple[str, str]]:
    """``(judge, metric)`` of an evaluation's judges."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    judges = summary.get("judging", {}).get("judges", [])
    return [(one["judge"], one["metric"]) for one in judges]


def _more(seen: Comparison | None) -> int:
    if seen is None:
        return _LEAST_QUESTIONS
    decided = seen.p < SIGNIFICANCE and not seen.low <= 0 <= seen.high
    if decided:
        return 0
    needed = max(questions_needed(seen, max(_LEAST_GAIN, abs(seen.delta))), _LEAST_QUESTIONS)
    return max(1, needed - seen.questions)


def _item_json(item: Item, votes: Votes) -> dict[str, Any]:
    return {
        "row": item.row,
        "group": item.group,
        "votes": {
            name: {
                "outcome": outcome(item, own[item.id]),
                "choice": own[item.id].choice,
                "comment": own[item.id].comment,
            }
            for name, own in votes.items()
            if item.id in own
        },
    }
