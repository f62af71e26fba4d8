"""Who is asked what: the sets of questions, and everybody's scored answers to them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.events import Event, Listener
from tunewright.core.messages import Conversation, Row, Split, supervised
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.evaluation.answers import (
    Question,
    Scored,
    in_words,
    limited,
    question_of,
    score_answers,
)
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.benchmarks.asked import benchmark_batches, scores_of
from tunewright.evaluation.benchmarks.questions import Benchmark
from tunewright.evaluation.collect import Batch, Collected, Collector, in_turn
from tunewright.evaluation.judging.panel import (
    judge_metrics,
    judged,
    require_judges,
    with_verdicts,
)
from tunewright.evaluation.lineage import Origin
from tunewright.evaluation.probe import probe_path, read_probe
from tunewright.evaluation.responders.base import Responder
from tunewright.evaluation.responders.local import Local, Weights
from tunewright.evaluation.results import Results, gather, require_headline
from tunewright.evaluation.safety import read_safety, safety_metrics
from tunewright.evaluation.scorers.base import Material, Metric
from tunewright.evaluation.scorers.table import basic_metrics, open_metrics
from tunewright.evaluation.tiers import Tier, tiers

Overlap = Callable[[Sequence[str], Sequence[str]], Sequence[int]]
"""Test questions, training questions → places of the test questions that stand in training."""


@dataclass(frozen=True)
class Sets:
    """Everything that is asked.

    Attributes:
        test: locked test questions.
        general: the general probe.
        seen: training rows.
        safety: the refusal set.
        tiers: of the test questions.
        benchmarks: public ones.
    """

    test: Sequence[Question]
    general: Sequence[Question] = ()
    seen: Sequence[Question] = ()
    safety: Sequence[Question] = ()
    tiers: Sequence[Tier] = ()
    benchmarks: Sequence[Benchmark] = ()


@dataclass(frozen=True)
class Questioning:
    """One evaluation's questions and those who answer them.

    Attributes:
        config: of the evaluation.
        store: finds and keeps.
        dataset: that the questions are from.
        responders: in the order of their references.
        origins: where each comes from, in the same order.
        weights: to free once their models have answered.
        sets: what is asked.
        listen: hears the progress.
    """

    config: EvaluateConfig
    store: Store
    dataset: Dataset
    responders: Sequence[Responder]
    origins: Sequence[Origin]
    weights: Sequence[Weights]
    sets: Sets
    listen: Listener = field(repr=False)

    def results(self) -> Results:
        """Ask everybody everything, and compare.

        Raises:
            ConfigError: a scorer that is unknown or lacks something; nobody is asked then.
            EndpointError: an endpoint gave no answers; those that it gave are kept.
        """
        metrics, judge, size = self.metrics, self.config.judge, self.config.batch_size
        require_headline(self.config, (*metrics, *judge_metrics(judge)))
        require_judges(judge, self.config.models, self.store, size)
        found = in_turn(self.responders, self.weights, self._collect)
        general = _scored("general", self.sets.general, found, basic_metrics())
        safety = _scored("safety", self.sets.safety, found, safety_metrics())
        test = _scored("test", self.sets.test, found, metrics)
        panel = judged(judge, test, self.store, size, self.listen)
        results = gather(
            self.config,
            with_verdicts(test, panel, judge) if panel else test,
            general if self.sets.general else None,
            _scored("seen", self.sets.seen, found, metrics),
            safety if self.sets.safety else None,
        )
        return replace(results, panel=panel, benchmarks=scores_of(self.sets.benchmarks, found))

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """What the test questions are scored by."""
        material = Material(
            [question.reference for question in self.sets.test],
            self.dataset.labels,
            self._comparable,
            self.config.scoring,
            self.store,
            frozenset(
                kind
                for kind in ("required", "forbidden")
                if any(getattr(question, kind) for question in self.sets.test)
            ),
            any(question.prompt.tools for question in self.sets.test),
        )
        return open_metrics(material)

    @property
    def _comparable(self) -> bool:
        """Whether likelihoods can be compared: all run here and count the same tokens."""
        local = [one for one in self.responders if isinstance(one, Local)]
        bases = {one.resolved.base.digest for one in local}
        return len(local) == len(self.responders) and len(bases) == 1

    def _collect(self, responder: Responder) -> Collected:
        sets = self.sets
        free = GenerationConfig(max_new_tokens=self.config.max_new_tokens)
        labels = self.dataset.labels if self.config.constrained else ()
        held = free.model_copy(update={"choices": labels})
        weighed = self._comparable and any(one.name == "perplexity" for one in self.metrics)
        batches = [
            Batch("test", sets.test, held, weighed),
            Batch("seen", sets.seen if self._asks_seen(responder) else (), held),
            Batch("general", sets.general, free),
            Batch("safety", sets.safety, free),
            *benchmark_batches(sets.benchmarks),
        ]
        total = sum(len(batch.questions) for batch in batches)
        size = self.config.batch_size
        collector = Collector(responder, self.store, total, size, self.listen)
        return collector.ask([batch for batch in batches if batch.questions])

    def _asks_seen(self, responder: Responder) -> bool:
        """The training rows are for those who learned from them, and the baseline beside them."""
        learned = [one.reference for one in self.origins[1:] if one.trained_on(self.dataset)]
        return bool(learned) and responder.reference in (self.config.models[0], *learned)


def _scored(
    name: str,
    questions: Sequence[Question],
    found: Mapping[str, Collected],
    metrics: Sequence[Metric],
) -> Asked:
    answers: dict[str, Sequence[Scored]] = {
        reference: score_answers(questions, one.said[name], metrics, one.likely.get(name))
        for reference, one in found.items()
        if name in one.said
    }
    return Asked(questions if answers else (), answers, metrics)


# Questions -------------------------------------------------------------------------------------


def dataset_questions(
    store: Store, dataset: Dataset, split: Split, limit: int | None, listen: Listener, calls: bool
) -> list[Question]:
    """The rows of a split that have a reference answer.

    Args:
        store: with the dataset.
        dataset: that the rows are of.
        split: of it.
        limit: most rows.
        listen: hears of rows that are left out.
        calls: whether rows whose answer calls functions are asked too.

    Raises:
        DataError: when there are none.
    """
    found = supervised(read_rows(store.folder(Dataset, dataset.id), split))
    rows = [row for row in found if calls or in_words(row)]
    if len(rows) < len(found):
        text = (
            f"{len(found) - len(rows)} {split} rows end with a call of a tool; they are not asked, "
            "for not every model here writes calls that can be read"
        )
        listen(Event(kind="note", data={"text": text}))
    if not rows:
        raise DataError(
            f"dataset {dataset.id} ({dataset.name}) has no {split} questions with an answer",
            "Prepare it again with --test-files FILE, or with a test share such as "
            "--set split.test=0.1."
            if split == "test"
            else "Prepare it again with a share of dev rows: --set split.dev=0.1",
        )
    names = _names(rows)
    return [question_of(rows[index], names[index]) for index in limited(rows, limit)]


def _names(rows: Sequence[Row]) -> list[str]:
    """A number for each row; rows that end with a call are counted apart, for they may lack."""
    counts: Counter[str] = Counter()
    names: list[str] = []
    for row in rows:
        kind = "" if in_words(row) else "call-"
        names.append(f"{kind}{counts[kind]}")
        counts[kind] += 1
    return names


def sets_of(
    config: EvaluateConfig,
    test: Sequence[Question],
    train: Sequence[Row],
    dataset: Dataset,
    first: Responder,
) -> Sets:
    """Everything that is asked; ``first`` may bring a general probe of its own."""
    probe = probe_path(first.resolved.base.folder if isinstance(first, Local) else None)
    return Sets(
        test,
        read_probe(probe) if config.general else (),
        _seen_questions(train, config.probes.seen, config.seed),
        read_safety() if config.probes.safety else (),
        tiers(test, train, dataset.labels, _by_topic(dataset)),
    )


def _by_topic(dataset: Dataset) -> bool:
    """Whether some topics were held back whole when it was prepared."""
    split = dataset.config.get("split")
    return isinstance(split, dict) and bool(split.get("topics"))


def _seen_questions(train: Sequence[Row], count: int, seed: int) -> list[Question]:
    """A sample of the team's own training rows."""
    rows = supervised(train)
    own = [n for n, row in enumerate(rows) if row.origin == "own" and in_words(row)]
    chosen = sorted(random.Random(seed).sample(own, min(count, len(own))))
    return [question_of(rows[index], str(index)) for index in chosen]


def asked_text(conversation: Conversation) -> str:
    """Every user turn, joined: what questions are compared by."""
    return "\n".join(one.content for one in conversation.messages if one.role == "user")


def met_questions(
    store: Store, origins: Sequence[Origin], test: Sequence[Question], overlap: Overlap
) -> dict[str, Sequence[int]]:
    """``{challenger: places}`` of the test questions that stand in its run's training rows."""
    held = [asked_text(question.prompt) for question in test]
    known: dict[str, Sequence[int]] = {}
    for origin in origins[1:]:
        if origin.run is not None and origin.run.dataset not in known:
            dataset = store.find(Dataset, origin.run.dataset)
            if dataset is None or dataset.content == "text":
                continue
            rows = read_rows(store.folder(Dataset, dataset.id), "train")
            trained = [asked_text(row.conversation) for row in rows]
            known[origin.run.dataset] = overlap(held, trained)
    return {
        origin.reference: known[origin.run.dataset]
        for origin in origins[1:]
        if origin.run is not None and origin.run.dataset in known
    }
