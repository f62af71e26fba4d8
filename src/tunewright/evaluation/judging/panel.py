"""A panel of judges over everybody's answers: each pair in both orders, nothing asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from tunewright.config.judging import JudgeConfig
from tunewright.core.errors import ConfigError
from tunewright.core.events import Event, Listener
from tunewright.core.files import digest
from tunewright.core.store import Store
from tunewright.endpoints.dialect import Messages
from tunewright.endpoints.prices import cost
from tunewright.evaluation.answers import Scored
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.judging.judges import Judge, Told, open_judges, prompt_tokens
from tunewright.evaluation.judging.rubric import Rubric, read_reply, read_rubric
from tunewright.evaluation.judging.verdicts import (
    EVEN,
    Panel,
    Sitting,
    Spent,
    Verdict,
    reliability,
    worth,
)
from tunewright.evaluation.responders.cache import AnswerCache
from tunewright.evaluation.scorers.base import Metric, Sample, Scorer, Value, on_demand

METRIC: Final = "judge"
_VERSION = 1
_USUAL_REPLY = 60
"""Tokens of a reply as they usually come: a sentence and a verdict."""


def metric_names(config: JudgeConfig) -> list[str]:
    """The metrics that judges' verdicts become: ``judge``, ``judge_2`` …"""
    return [METRIC if n == 1 else f"{METRIC}_{n}" for n in range(1, len(config.models) + 1)]


def judge_metrics(config: JudgeConfig) -> tuple[Metric, ...]:
    """Their columns; verdicts are filled in by ``with_verdicts``."""
    scorer = Scorer(lambda material: _nothing, on_demand, "--judge")
    return tuple(Metric(name, scorer, _nothing) for name in metric_names(config))


def _nothing(samples: Sequence[Sample]) -> list[Value | None]:
    """A judge that compares has nothing to say about an answer by itself."""
    return [None] * len(samples)


def with_verdicts(test: Asked, panel: Panel, config: JudgeConfig) -> Asked:
    """The answers with judges' verdicts among their scores; the baseline's are all even."""
    baseline = next(iter(test.answers))
    answers: dict[str, Sequence[Scored]] = {}
    for name, scored in test.answers.items():
        more: list[dict[str, float]] = [{} for _ in scored]
        for sitting in panel.sittings:
            even = [Verdict(EVEN)] * len(scored)
            verdicts = even if name == baseline else sitting.verdicts[name]
            for scores, verdict in zip(more, verdicts, strict=True):
                if verdict.outcome is not None:
                    scores[sitting.metric] = verdict.outcome
        answers[name] = [
            replace(one, scores={**one.scores, **extra})
            for one, extra in zip(scored, more, strict=True)
        ]
    return Asked(test.questions, answers, (*test.metrics, *judge_metrics(config)))


# Asking ----------------------------------------------------------------------------------------


def require_judges(config: JudgeConfig, models: Sequence[str], store: Store, batch: int) -> None:
    """Refuse what cannot be judged, before anybody is asked anything.

    Raises:
        ConfigError: one model alone; no usable rubric, address or key.
        NotFoundError, ModelError: a judge of this machine that cannot be used.
    """
    if not config.models:
        return
    if len(models) < 2:
        raise ConfigError(
            "option 'judge': a judge compares the answers of models; there is only one",
            "Name the model to compare with first: --models BASE --models MODEL.",
        )
    open_judges(config, store, batch)
    read_rubric(config, [])


def judged(
    config: JudgeConfig, test: Asked, store: Store, batch: int, listen: Listener
) -> Panel | None:
    """Every judge's verdicts on every challenger; None where no judge is named.

    A ``note`` before says what a judge will be asked for, one after what it took.

    Raises:
        ConfigError: a rubric or judge that cannot be used.
        EndpointError: a judge did not answer; its verdicts so far are kept.
    """
    if not config.models:
        return None
    rubric = read_rubric(config, test.questions)
    sittings = []
    for judge, metric in zip(open_judges(config, store, batch), metric_names(config), strict=True):
        sittings.append(_Hearing(judge, metric, rubric, config, test, store, listen).sitting())
    return Panel(rubric, sittings)


class _Hearing:
    """One judge and all the answers."""

    def __init__(
        self,
        judge: Judge,
        metric: str,
        rubric: Rubric,
        config: JudgeConfig,
        test: Asked,
        store: Store,
        listen: Listener,
    ) -> None:
        self._judge, self._metric, self._rubric = judge, metric, rubric
        self._config, self._test, self._listen = config, test, listen
        self._cache = AnswerCache(store.home, judge.digest)
        self._baseline, *self._challengers = test.answers
        self._asks: dict[str, Messages] = {}
        self._now = 0

    def sitting(self) -> Sitting:
        """Ask for what is not known, and read everything."""
        keys = {name: self._keys(name) for name in self._challengers}
        missing = [key for key in self._asks if self._cache.get(key) is None]
        self._announce(keys, missing)
        self._ask(missing)
        verdicts = {
            name: [self._verdict(pair) for pair in keys[name]] for name in self._challengers
        }
        spent = self._spent()
        for text in (self._account(spent), *(_outcome(*one) for one in verdicts.items())):
            self._listen(Event(kind="note", data={"text": text}))
        return Sitting(self._judge.reference, self._metric, verdicts, spent)

    def _keys(self, challenger: str) -> list[tuple[str, str] | None]:
        """The keys of both requests for every question; None where the answers are equal."""
        found: list[tuple[str, str] | None] = []
        answers = (self._test.answers[name] for name in (self._baseline, challenger))
        for question, base, other in zip(self._test.questions, *answers, strict=True):
            if base.text.strip() == other.text.strip():
                found.append(None)
                continue
            pair = [
                self._rubric.messages(question, *texts)
                for texts in ((base.text, other.text), (other.text, base.text))
            ]
            keys = [self._key(one) for one in pair]
            self._asks |= dict(zip(keys, pair, strict=True))
            found.append((keys[0], keys[1]))
        return found

    def _key(self, messages: Messages) -> str:
        asked = {"v": _VERSION, "judge": list(messages), "most": self._config.max_tokens}
        return digest(asked)

    def _announce(
        self, keys: dict[str, list[tuple[str, str] | None]], missing: Sequence[str]
    ) -> None:
        pairs = [pair for found in keys.values() for pair in found]
        prompt = sum(prompt_tokens(self._asks[key]) for key in missing)
        money = cost(prompt, _USUAL_REPLY * len(missing), self._config.price)
        text = (
            f"judge {self._judge.reference}: {len(missing):,} requests to send "
            f"({len(pairs):,} pairs in both orders, {pairs.count(None):,} of equal answers; "
            f"{len(self._asks) - len(missing):,} replies known from before), about {prompt:,} "
            f"prompt and {_USUAL_REPLY * len(missing):,} completion tokens{_priced(money)}"
        )
        self._listen(Event(kind="note", data={"text": text}))

    def _ask(self, missing: Sequence[str]) -> None:
        done = 0

        def keep(place: int, told: Told) -> None:
            nonlocal done
            self._cache.add([(missing[place], asdict(told))])
            self._now += told.requests
            done += 1
            stage = f"judging by {self._judge.reference}"
            data = {"stage": stage, "done": done, "total": len(missing)}
            self._listen(Event(kind="progress", data=data))

        if missing:
            self._judge.ask([self._asks[key] for key in missing], self._rubric, keep)

    def _verdict(self, keys: tuple[str, str] | None) -> Verdict:
        if keys is None:
            return Verdict(EVEN, same=True)
        one, other = (read_reply(self._told(key).text) for key in keys)
        if one is None or other is None:
            return Verdict(None, (one, other))
        values = worth(one, 0), worth(other, 1)
        return Verdict(values[0] if values[0] == values[1] else EVEN, (one, other))

    def _told(self, key: str) -> Told:
        known = self._cache.get(key)
        return Told(**known) if known else Told("", 0, 0, 0)

    def _spent(self) -> Spent:
        told = [self._told(key) for key in self._asks]
        prompt = sum(one.prompt_tokens for one in told)
        completion = sum(one.completion_tokens for one in told)
        return Spent(
            sum(one.requests for one in told),
            self._now,
            prompt,
            completion,
            cost(prompt, completion, self._config.price),
        )

    def _account(self, spent: Spent) -> str:
        return (
            f"judge {self._judge.reference}: {spent.now:,} requests sent; all verdicts took "
            f"{spent.requests:,} requests, {spent.prompt_tokens:,} prompt and "
            f"{spent.completion_tokens:,} completion tokens{_priced(spent.money)}"
        )


def _priced(money: float | None) -> str:
    return "" if money is None else f", {money:,.4g} at the given prices"


def _outcome(challenger: str, verdicts: Sequence[Verdict]) -> str:
    """A challenger's verdicts in one line."""
    trust = reliability(verdicts)
    said = [verdict.outcome for verdict in verdicts]
    flips = "" if trust.flips is None else f"; {trust.flips:.0%} changed with the order"
    return (
        f"  {challenger}: {said.count(1.0)} better, {said.count(EVEN)} as good, "
        f"{said.count(0.0)} worse, {trust.unreadable} without a verdict{flips}"
    )
