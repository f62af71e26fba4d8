"""What a base knows of the training questions, asked several times without showing answers.

The classes are those of Gekhman et al. 2024, arXiv 2405.05904: known where the greedy answer is
right and most draws are, unknown where no answer ever is, maybe in between. Fine-tuning on what
is unknown is learned last and teaches to make things up.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tunewright.config.advice import AdviseConfig, AskConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.events import Listener, ignore
from tunewright.core.messages import Row, supervised
from tunewright.core.records import Dataset
from tunewright.core.row_kinds import HOLDS
from tunewright.core.store import Store
from tunewright.evaluation.advice.nature import Nature, nature_of, new_facts
from tunewright.evaluation.answers import Question, in_words, question_of
from tunewright.evaluation.collect import Batch, Collector
from tunewright.evaluation.responders.base import Responder
from tunewright.evaluation.responders.few_shot import pick_examples
from tunewright.evaluation.responders.local import Local
from tunewright.evaluation.responders.table import open_responders
from tunewright.evaluation.scorers.normal import normalise, pieces
from tunewright.evaluation.scorers.overlap import char_f1

Kind = Literal["known", "maybe", "unknown"]
KINDS: tuple[Kind, ...] = ("known", "maybe", "unknown")
_SHORT = 12
_LEAST_OVERLAP = 0.5
_CHANCE = 95
_LEAST_ROWS = 10
_MOST_READ = 2000


@dataclass(frozen=True, slots=True)
class Asked:
    """One training question, and how often it was answered right.

    Attributes:
        row: its place among the training rows.
        question: the last user turn.
        reference: what it should have said.
        answer: the greedy one.
        greedy: whether that is right.
        right: draws that are.
        draws: in all.
        shown: whether the greedy answer after examples is right; None where none were shown.
    """

    row: int
    question: str
    reference: str
    answer: str
    greedy: bool
    right: int
    draws: int
    shown: bool | None = None

    @property
    def kind(self) -> Kind:
        """Known, maybe or unknown."""
        if self.greedy and 2 * self.right >= self.draws:
            return "known"
        return "maybe" if self.greedy or self.right else "unknown"


@dataclass(frozen=True)
class Knowledge:
    """What was found out.

    Attributes:
        asked: every question.
        nature: of the training rows.
        overlap: from which a long answer counts as right.
    """

    asked: Sequence[Asked]
    nature: Nature
    overlap: float

    def count(self, kind: Kind) -> int:
        """Questions of a kind."""
        return sum(one.kind == kind for one in self.asked)

    @property
    def shown(self) -> list[bool]:
        """Whether each was right after examples, if any were shown."""
        return [one.shown for one in self.asked if one.shown is not None]

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "questions": len(self.asked),
            "counts": {kind: self.count(kind) for kind in KINDS},
            "right": sum(one.greedy for one in self.asked),
            "right_with_examples": sum(self.shown) if self.shown else None,
            "overlap": self.overlap,
            "nature": self.nature.json(),
            "rows": [
                {
                    "row": one.row,
                    "kind": one.kind,
                    "question": one.question,
                    "reference": one.reference,
                    "answer": one.answer,
                    "right": one.right,
                    "draws": one.draws,
                }
                for one in self.asked
            ],
        }


def probe(config: AdviseConfig, store: Store, listen: Listener = ignore) -> Knowledge:
    """Ask the base a sample of the training questions, and read what the rows are made of.

    Answers are kept as they come: a stopped probe goes on where it was.

    Raises:
        DataError: the dataset holds no conversations, or too few.
        NotFoundError, ModelError: the dataset or the base is unknown or cannot be used.
    """
    dataset = store.get(Dataset, config.dataset)
    rows = _rows(store, dataset)
    draw = random.Random(f"probe:{config.ask.seed}")
    chosen = sorted(draw.sample(range(len(rows)), min(config.ask.questions, len(rows) - 1)))
    asked = [question_of(rows[place], str(place)) for place in chosen]
    rest = [row for place, row in enumerate(rows) if place not in {*chosen}]
    read = [row.conversation for row in draw.sample(rows, min(_MOST_READ, len(rows)))]
    responders, _ = open_responders(
        EvaluateConfig(dataset=dataset.id, models=(config.base,)), store, dataset
    )
    said = _said(responders[0], asked, rest, dataset.labels, config.ask, store, listen)
    least = overlap_by_chance(asked, said[0])
    right = [[is_right(one, text, least) for one, text in zip(asked, s, strict=True)] for s in said]
    draws = right[1 : 1 + config.ask.samples]
    shown = right[1 + config.ask.samples :]
    found = [
        Asked(
            place,
            one.prompt.question,
            one.reference,
            said[0][n],
            right[0][n],
            sum(each[n] for each in draws),
            len(draws),
            shown[0][n] if shown else None,
        )
        for n, (place, one) in enumerate(zip(chosen, asked, strict=True))
    ]
    return Knowledge(found, nature_of(read), least)


def _rows(store: Store, dataset: Dataset) -> list[Row]:
    if dataset.content != "conversation":
        raise DataError(
            f"dataset {dataset.name} holds {HOLDS[dataset.content]}; --probe asks the questions of "
            "conversations",
            "Leave --probe out, or name a dataset of questions and answers.",
        )
    rows = supervised(read_rows(store.folder(Dataset, dataset.id), "train"))
    own = [row for row in rows if row.origin == "own" and in_words(row)]
    if len(own) < _LEAST_ROWS:
        raise DataError(
            f"dataset {dataset.name} has {len(own)} training rows with an answer in words; --probe "
            f"needs at least {_LEAST_ROWS}"
        )
    return own


def _said(
    responder: Responder,
    asked: Sequence[Question],
    rest: Sequence[Row],
    labels: tuple[str, ...],
    config: AskConfig,
    store: Store,
    listen: Listener,
) -> list[list[str]]:
    """Answers by turn: greedy, each draw, and greedy after examples where any can be shown."""
    greedy = GenerationConfig(max_new_tokens=config.max_new_tokens, choices=labels)
    drawn = [
        greedy.model_copy(update={"temperature": config.temperature, "seed": config.seed + n})
        for n in range(config.samples)
    ]
    batches = [Batch(str(n), asked, how) for n, how in enumerate((greedy, *drawn))]
    examples = pick_examples(rest, config.examples, config.seed) if config.examples else ()
    turns = [(responder, batches)]
    if examples and isinstance(responder, Local):
        name = f"{responder.reference}+{len(examples)}shot"
        shot = replace(responder, reference=name, examples=examples)
        turns.append((shot, [Batch("shown", asked, greedy)]))
    said: list[list[str]] = []
    for one, todo in turns:
        total = len(todo) * len(asked)
        found = Collector(one, store, total, config.batch_size, listen).ask(todo)
        said += [[each.text for each in found.said[batch.name]] for batch in todo]
    return said


def overlap_by_chance(asked: Sequence[Question], answers: Sequence[str]) -> float:
    """Overlap from which a long answer counts: more than what 95 of 100 wrong references get.

    Every answer is laid beside the references of the other questions. It is never below a half:
    answers in the right tone overlap with anything.
    """
    scores = [
        char_f1(answer, other.reference)
        for n, answer in enumerate(answers)
        for m, other in enumerate(asked)
        if n != m and normalise(other.reference) != normalise(asked[n].reference)
    ]
    found = float(np.percentile(scores, _CHANCE)) if scores else 0.0
    return max(_LEAST_OVERLAP, found)


def is_right(asked: Question, answer: str, least: float) -> bool:
    """Whether an answer says what the reference does.

    Short references must be said word for word. Of longer ones every fact that the question does
    not give must be said, and enough of the rest.
    """
    wanted, found = normalise(asked.reference), normalise(answer)
    if len(pieces(wanted)) <= _SHORT:
        return bool(wanted) and _says(found, wanted)
    facts = {
        fact for kind in new_facts(asked.prompt.question, asked.reference).values() for fact in kind
    }
    packed = "".join(found.split())
    return all(fact in packed for fact in facts) and char_f1(answer, asked.reference) >= least


def _says(found: str, wanted: str) -> bool:
    """Whole, and not as a part of another word or number: ``12`` is not said by ``120``."""
    place = found.find(wanted)
    while place >= 0:
        before, after = found[:place][-1:], found[place + len(wanted) :][:1]
        if not _joined(before, wanted[0]) and not _joined(wanted[-1], after):
            return True
        place = found.find(wanted, place + 1)
    return False


def _joined(one: str, other: str) -> bool:
    """Whether two neighbouring signs belong to one word or number of a script with spaces."""
    return bool(one and other) and one.isascii() and other.isascii() and (one + other).isalnum()
