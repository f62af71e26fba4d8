"""Forgetting: more than a margin of everyday ability is ruled out to be lost (non-inferiority).

A gate that only asks whether the mean fell by less than the margin lets through whoever was
lucky, and the fewer questions there are, the luckier. So the whole interval has to lie above the
margin; see Piaggio et al. 2012, doi:10.1001/jama.2012.87802.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tunewright.evaluation.benchmarks.scores import CHANCE, Scores
from tunewright.evaluation.gates.base import Case, Gate
from tunewright.evaluation.statistics.paired import Paired, questions_to_rule_out
from tunewright.evaluation.statistics.proportions import wilson
from tunewright.evaluation.texts import Texts, percent, points

_MORE = 1.2
"""Where the evidence is not enough, fewer more questions than this share would not do either."""
_PROBE = "probe"
_MOST_MIXED = 90


@dataclass(frozen=True, slots=True)
class Loss:
    """What one set of general questions says.

    Attributes:
        title: what the share is of.
        name: of the set.
        seen: the challenger against the baseline.
        margin: loss that must be ruled out.
        floor: share that a model has which knows nothing.
    """

    title: str
    name: str
    seen: Paired
    margin: float
    floor: float

    @property
    def blind(self) -> bool:
        """Whether the baseline is so near the floor that there is hardly anything to lose."""
        room = wilson(self.seen.before, self.seen.questions)[0] - self.floor
        return room <= 0 or self.seen.before - self.floor <= self.margin

    @property
    def passed(self) -> bool | None:
        """Ruled out, or shown, or neither.

        It is shown where there is a loss beyond chance that is likelier than not larger than the
        margin: that it certainly is would take far more questions, and help nobody.
        """
        low, high = self.seen.interval
        if low > -self.margin:
            return True
        return False if high < 0 and self.seen.delta < -self.margin else None

    @property
    def finding(self) -> str:
        """Key of what the numbers mean."""
        if self.blind:
            return "blind"
        return "open" if self.passed is None else "out" if self.passed else "shown"

    @property
    def needed(self) -> int | None:
        """Questions in all that would rule it out; None where they would sooner show it."""
        needed = questions_to_rule_out(self.seen, self.margin)
        return needed and max(needed, math.ceil(_MORE * self.seen.questions))

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        seen = self.seen
        return {
            "before": seen.before,
            "after": seen.after,
            "delta": seen.delta,
            "interval": list(seen.interval),
            "questions": seen.questions,
            "gained": seen.gained,
            "lost": seen.lost,
            "p": seen.p,
            "margin": self.margin,
            "finding": self.finding,
            **({"questions_needed": self.needed} if self.finding == "open" else {}),
        }


def forgetting(case: Case) -> Gate | None:
    """Whether what a model knew before is still there; open where it was not asked, or blind."""
    texts = case.texts
    if case.alone:
        return None
    losses = _losses(case)
    if not losses:
        unasked = texts("forgetting.unasked")
        return Gate("forgetting", case.responder, None, unasked, texts("forgetting.unasked.do"))
    telling = [one for one in losses.values() if not one.blind]
    passed = _all(telling)
    evidence = texts("forgetting.between").join(_evidence(one, case) for one in losses.values())
    numbers = losses[_PROBE].numbers() if _PROBE in losses else {}
    rest = {key: one.numbers() for key, one in losses.items() if key != _PROBE}
    return Gate(
        "forgetting",
        case.responder,
        passed,
        evidence,
        "" if passed else _prescription(case, telling, passed),
        {**numbers, **({"benchmarks": rest} if rest else {})},
        blocks=bool(telling),
    )


def _losses(case: Case) -> dict[str, Loss]:
    results, found = case.results, {}
    if results.general is not None:
        first, second = (
            [one.scores.get("exact") == 1 for one in results.general.answers[name]]
            for name in (results.baseline, case.responder)
        )
        title, name = case.texts("forgetting.right"), case.texts("forgetting.probe")
        margin = case.config.forgetting_margin
        found[_PROBE] = Loss(title, name, Paired.of(first, second), margin, 0.0)
    for one in results.benchmarks:
        found[one.benchmark.key] = _benchmark(one, case)
    return found


def _benchmark(one: Scores, case: Case) -> Loss:
    margin = case.config.benchmarks.margin
    title = one.benchmark.title
    return Loss(title, title, one.paired(case.responder), margin, CHANCE)


def _all(losses: list[Loss]) -> bool | None:
    """No as soon as one says no, yes only if all say yes."""
    said = [one.passed for one in losses]
    if False in said:
        return False
    return True if said and all(said) else None


def _evidence(one: Loss, case: Case) -> str:
    texts, (low, high) = case.texts, one.seen.interval
    finding = texts(
        f"forgetting.{one.finding}",
        margin=f"{100 * one.margin:g}",
        base=case.results.baseline,
        floor=percent(one.floor, 0),
    )
    return texts(
        "forgetting.evidence",
        title=one.title,
        before=percent(one.seen.before),
        score=percent(one.seen.after),
        delta=points(one.seen.delta),
        low=points(low),
        high=points(high),
        questions=one.seen.questions,
        finding=finding,
    )


def _prescription(case: Case, telling: list[Loss], passed: bool | None) -> str:
    texts = case.texts
    if not telling:
        return texts("forgetting.blind.do")
    cure = _cure(case)
    if passed is False:
        return texts("forgetting.shown.do", cure=cure)
    unclear = [one for one in telling if one.passed is None]
    asks = [(one, one.needed) for one in unclear]
    if any(needed is None for _, needed in asks):
        return texts("forgetting.losing.do", cure=cure)
    wants = [
        texts("forgetting.more", name=one.name, needed=needed, more=needed - one.seen.questions)
        for one, needed in asks
        if needed is not None
    ]
    return texts("forgetting.open.do", wants=texts("forgetting.and").join(wants), cure=cure)


def _cure(case: Case) -> str:
    """What to change, with numbers where the run's recipe is known."""
    texts, recipe = case.texts, case.more.recipes.get(case.responder, {})
    rate = (recipe.get("optimizer") or {}).get("learning_rate")
    epochs = recipe.get("epochs")
    options = [_mix(case, texts)]
    if isinstance(rate, float | int):
        options.append(texts("forgetting.rate", now=f"{rate:g}", less=f"{rate / 2:g}"))
    else:
        options.append(texts("forgetting.rate.unknown"))
    if isinstance(epochs, float | int) and epochs > 1:
        options.append(texts("forgetting.epochs", now=f"{epochs:g}", less=math.ceil(epochs / 2)))
    return texts("forgetting.or").join(options)


def _mix(case: Case, texts: Texts) -> str:
    mixed, own = case.dataset.mixed, case.dataset.splits.get("train", 0)
    if not mixed:
        return texts("forgetting.unmixed")
    share = mixed / (mixed + own)
    # Half of what is still missing to nothing but general rows, in steps of five.
    more = min(_MOST_MIXED, 5 * round(100 * (1 + share) / 10))
    return texts("forgetting.mixed", mixed=mixed, share=percent(share, 0), more=more)
