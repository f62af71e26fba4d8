"""Gates: what a tuned model must show before anybody should rely on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.records import Dataset, Verdict
from tunewright.evaluation.compare import Comparison, questions_needed
from tunewright.evaluation.results import ALL, Results
from tunewright.evaluation.scorers import FINISHED, pieces
from tunewright.evaluation.texts import Texts, percent, points

LEAST_GROUPS = 10
"""Below this many independent groups a bootstrap interval is too narrow to be believed."""
LEAST_GAIN = 0.03
"""The smallest improvement worth having; once it is ruled out, the answer is no."""
LEAST_STOPPING = 0.95
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Gate:
    """``passed`` None: the evidence does not decide. ``responder`` is whom it is about."""

    name: str
    responder: str
    passed: bool | None
    evidence: str
    prescription: str

    def json(self) -> dict[str, Any]:
        """As stored in the record."""
        return {
            "passed": self.passed,
            "evidence": self.evidence,
            "prescription": self.prescription,
        }


def judge(results: Results, dataset: Dataset, config: EvaluateConfig, texts: Texts) -> list[Gate]:
    """Every gate for every challenger."""
    if not results.challengers:
        return [
            Gate(
                "improvement",
                results.baseline,
                None,
                texts("improvement.alone", model=results.baseline),
                texts("improvement.alone.do"),
            ),
            stopping(results, results.baseline, config, texts),
        ]
    return [
        gate
        for name in results.challengers
        for gate in (
            improvement(results, name, texts),
            forgetting(results, name, dataset, config, texts),
            stopping(results, name, config, texts),
        )
    ]


def verdict_of(gates: Sequence[Gate]) -> Verdict:
    """Pass only when nothing said no and every improvement is shown.

    A forgetting gate left open (not asked, or blind for this base) is shown but does not block.
    """
    if any(gate.passed is False for gate in gates):
        return "fail"
    improved = [gate.passed for gate in gates if gate.name == "improvement"]
    return "pass" if all(improved) else "not enough evidence"


def gates_json(gates: Sequence[Gate]) -> dict[str, Any]:
    """``{gate: …}``; with several challengers the key is ``gate (responder)``."""
    several = len({gate.responder for gate in gates}) > 1
    return {f"{g.name} ({g.responder})" if several else g.name: g.json() for g in gates}


def improvement(results: Results, responder: str, texts: Texts) -> Gate:
    """The paired interval of the headline metric must lie above zero."""
    seen = results.comparisons[responder][results.headline][ALL]
    evidence = texts(
        "improvement.evidence",
        metric=texts(f"metric.{results.headline}"),
        before=percent(seen.baseline),
        score=percent(seen.score),
        delta=points(seen.delta),
        low=points(seen.low),
        high=points(seen.high),
        wins=seen.wins,
        losses=seen.losses,
        ties=seen.ties,
        p=p_text(seen.p),
    )
    passed = decide(seen, binary=results.headline == "exact")
    if seen.groups < LEAST_GROUPS:
        evidence = texts(
            "improvement.few", evidence=evidence, groups=seen.groups, least=LEAST_GROUPS
        )
    return Gate("improvement", responder, passed, evidence, _improve(seen, passed, texts))


def decide(seen: Comparison, binary: bool) -> bool | None:
    """Whether the difference is an improvement; None when the questions cannot tell.

    Where only a handful of 0/1 answers differ, the percentile interval leaves zero too early
    (four wins in four hundred do it), so the exact sign test has to agree.
    """
    if seen.groups < LEAST_GROUPS:
        return None
    if seen.low > 0:
        return True if not binary or seen.p < SIGNIFICANCE else None
    return False if seen.high < LEAST_GAIN else None


def _improve(seen: Comparison, passed: bool | None, texts: Texts) -> str:
    if passed:
        return ""
    if passed is False:
        worse = seen.high < 0
        return texts(
            "improvement.worse.do" if worse else "improvement.none.do", gain=f"{100 * LEAST_GAIN:g}"
        )
    # Asking for the power to see less than a worthwhile gain would ask for too much.
    gain = max(seen.delta, LEAST_GAIN)
    needed = max(questions_needed(seen, gain), 5 * LEAST_GROUPS)
    if seen.groups < LEAST_GROUPS:
        return texts("improvement.few.do", least=LEAST_GROUPS, needed=needed)
    needed = max(needed, math.ceil(1.2 * seen.questions))
    return texts(
        "improvement.open.do",
        needed=needed,
        more=needed - seen.questions,
        gain=f"{100 * gain:.1f}",
    )


def forgetting(
    results: Results, responder: str, dataset: Dataset, config: EvaluateConfig, texts: Texts
) -> Gate:
    """The general probe must not fall by more than the margin."""
    if results.general is None:
        return Gate(
            "forgetting",
            responder,
            None,
            texts("forgetting.unasked"),
            texts("forgetting.unasked.do"),
        )
    seen = results.general_comparisons[responder]["exact"][ALL]
    if seen.baseline <= config.forgetting_margin:
        evidence = texts("forgetting.blind", base=results.baseline, before=percent(seen.baseline))
        return Gate("forgetting", responder, None, evidence, texts("forgetting.blind.do"))
    evidence = texts(
        "forgetting.evidence",
        before=percent(seen.baseline),
        score=percent(seen.score),
        delta=points(seen.delta),
        low=points(seen.low),
        high=points(seen.high),
        questions=seen.questions,
        margin=f"{100 * config.forgetting_margin:g}",
    )
    # A loss of exactly the margin passes; 1e-9 absorbs the rounding of the two means.
    passed = seen.delta >= -config.forgetting_margin - 1e-9
    cure = "forgetting.mixed.do" if dataset.mixed else "forgetting.unmixed.do"
    return Gate(
        "forgetting",
        responder,
        passed,
        evidence,
        "" if passed else texts(cure, mixed=dataset.mixed),
    )


def stopping(results: Results, responder: str, config: EvaluateConfig, texts: Texts) -> Gate:
    """Nearly all answers must end by themselves."""
    answers = results.test.answers[responder]
    share = results.test.mean(responder, "stop")
    evidence = texts(
        "stopping.evidence",
        share=percent(share),
        questions=len(answers),
        least=percent(LEAST_STOPPING, 0),
    )
    passed = share >= LEAST_STOPPING
    cut = [
        len(pieces(answer.text)) < len(pieces(question.reference))
        for question, answer in zip(results.test.questions, answers, strict=True)
        if answer.finish_reason != FINISHED
    ]
    cure = "stopping.longer.do" if sum(cut) * 2 > len(cut) else "stopping.ramble.do"
    return Gate(
        "stopping",
        responder,
        passed,
        evidence,
        "" if passed else texts(cure, tokens=config.max_new_tokens),
    )


def p_text(p: float) -> str:
    """A p value to read, with its relation and unbroken: ``= 0.031``, ``< 0.001``."""
    return "<\u00a00.001" if p < 0.001 else f"=\u00a0{p:.3f}"
