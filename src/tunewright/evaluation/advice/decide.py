"""From what was measured to what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.core.language import Sentences
from tunewright.evaluation.advice.knowledge import Knowledge
from tunewright.evaluation.advice.nature import Nature
from tunewright.evaluation.statistics.proportions import wilson
from tunewright.evaluation.texts import percent
from tunewright.evaluation.wording.advice import ADVICE

Decision = Literal["fine-tune", "knowledge base", "both", "prompt only", "nothing"]
ENOUGH = 0.8
"""Share of right answers from which a base is good enough; its interval has to lie above
``SURELY``."""
SURELY = 0.65
FACTUAL = 0.4
"""Share of answers with facts of their own from which knowledge is what is asked for."""
SPECIFIC = 0.15
"""Share of answers with dates, prices, articles … from which a part of it is knowledge."""
FORMAL = 0.5
"""Share of answers of one form from which form is taught too."""
UNKNOWN = 0.5
"""Share of the questions from which the base does not know what is asked."""


Values = Mapping[str, str | Sequence[tuple[str, str]]]
Reason = tuple[str, Values]
"""Key of a sentence, and what fills it: texts, or kinds of facts with their shares."""


@dataclass(frozen=True)
class Measured:
    """What to do, and why.

    Attributes:
        decision: in a word or two.
        reasons: for it, in order.
        knowledge: that it rests on.
    """

    decision: Decision
    reasons: Sequence[Reason]
    knowledge: Knowledge

    def texts(self, language: str) -> list[str]:
        """The reasons as sentences."""
        say = Sentences(ADVICE, language)
        return [
            say(key, **{name: _word(say, value) for name, value in values.items()})
            for key, values in self.reasons
        ]

    def json(self, language: str) -> dict[str, Any]:
        """For machines."""
        return {
            "recommendation": self.decision,
            "reasons": self.texts(language),
            **self.knowledge.json(),
        }


def decide(knowledge: Knowledge) -> Measured:
    """Good enough as it is, or with a prompt; else by what is unknown and what answers teach."""
    asked, nature = knowledge.asked, knowledge.nature
    reasons: list[Reason] = [_known(knowledge)]
    greedy = [one.greedy for one in asked]
    if _good(greedy):
        return Measured("nothing", [*reasons, ("nothing", _share(greedy))], knowledge)
    if knowledge.shown:
        reasons.append(("examples", {**_share(greedy, "before"), **_share(knowledge.shown)}))
        if _good(knowledge.shown):
            return Measured("prompt only", [*reasons, ("prompt only", {})], knowledge)
    decision, why = _by_nature(nature, knowledge.count("unknown") / len(asked))
    return Measured(decision, [*reasons, _teaches(nature), why], knowledge)


def _by_nature(nature: Nature, unknown: float) -> tuple[Decision, Reason]:
    """What a base that is not good enough needs."""
    uniform, specific = percent(nature.uniform, 0), percent(nature.specific, 0)
    factual = nature.factual >= FACTUAL
    if not factual and nature.specific < SPECIFIC:
        return "fine-tune", ("form", {})
    if unknown < UNKNOWN:
        return "fine-tune", ("elicit", {})
    if not factual:
        return "both", ("both.part", {"specific": specific})
    if nature.uniform >= FORMAL:
        return "both", ("both.form", {"uniform": uniform})
    return "knowledge base", ("knowledge base", {})


def _good(rights: Sequence[bool]) -> bool:
    share = sum(rights) / len(rights)
    return share >= ENOUGH and wilson(share, len(rights))[0] >= SURELY


def _share(rights: Sequence[bool], name: str = "right") -> dict[str, str]:
    share = sum(rights) / len(rights)
    low, high = wilson(share, len(rights))
    return {name: f"{percent(share, 0)} ({percent(low, 0)}–{percent(high, 0)})"}


def _known(knowledge: Knowledge) -> Reason:
    return "known", {
        "questions": str(len(knowledge.asked)),
        "draws": str(1 + knowledge.asked[0].draws),
        "known": str(knowledge.count("known")),
        "maybe": str(knowledge.count("maybe")),
        "unknown": str(knowledge.count("unknown")),
    }


def _teaches(nature: Nature) -> Reason:
    most = sorted(nature.kinds, key=lambda kind: -nature.kinds[kind])
    named = [kind for kind in most if nature.kinds[kind] >= 0.05][:3]
    return "teaches", {
        "rows": f"{nature.rows:,}",
        "factual": percent(nature.factual, 0),
        "kinds": [(kind, percent(nature.kinds[kind], 0)) for kind in named],
        "uniform": percent(nature.uniform, 0),
        "brief": percent(nature.brief, 0),
    }


def _word(say: Sentences, value: str | Sequence[tuple[str, str]]) -> str:
    """A text as it is; kinds of facts in the language's words."""
    if isinstance(value, str):
        return value
    named = [f"{say(f'kind.{kind}')} {share}" for kind, share in value]
    return say("kind.join").join(named) or say("kind.none")
