"""What responders got right of a benchmark, by subject and category, and who is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunewright.evaluation.benchmarks.layouts import OPTIONS
from tunewright.evaluation.benchmarks.questions import Benchmark
from tunewright.evaluation.multiple_choice import named_option
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.statistics.paired import Paired
from tunewright.evaluation.statistics.proportions import wilson
from tunewright.evaluation.statistics.significance import holm

CHANCE = 1 / len(OPTIONS)


@dataclass(frozen=True, slots=True)
class Tally:
    """So many right of so many."""

    right: int
    questions: int

    @property
    def share(self) -> float:
        """Answered right, 0..1."""
        return self.right / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.share, self.questions)

    def json(self) -> dict[str, Any]:
        """For records."""
        return {
            "right": self.right,
            "questions": self.questions,
            "accuracy": self.share,
            "interval": list(self.interval),
        }


@dataclass(frozen=True)
class Scores:
    """One benchmark's answers.

    Attributes:
        benchmark: that was asked.
        said: by responder, in the order of the questions; the first one is compared with.
    """

    benchmark: Benchmark
    said: Mapping[str, Sequence[Said]]

    @property
    def responders(self) -> list[str]:
        """Everyone asked, the baseline first."""
        return list(self.said)

    @cached_property
    def letters(self) -> dict[str, list[str | None]]:
        """The letter of each answer; None where it names none, which counts as wrong."""
        return {name: [_letter(one.text) for one in said] for name, said in self.said.items()}

    def rights(self, responder: str, subjects: Sequence[str] | None = None) -> list[bool]:
        """Whether each question, of these subjects or of all, was answered right."""
        letters = self.letters[responder]
        return [
            letter == question.reference
            for letter, question in zip(letters, self.benchmark.questions, strict=True)
            if subjects is None or question.slice in subjects
        ]

    def tally(self, responder: str, subjects: Sequence[str] | None = None) -> Tally:
        """Right answers of these subjects, or of all."""
        rights = self.rights(responder, subjects)
        return Tally(sum(rights), len(rights))

    def paired(self, responder: str, subjects: Sequence[str] | None = None) -> Paired:
        """A responder against the first one."""
        first = self.responders[0]
        return Paired.of(self.rights(first, subjects), self.rights(responder, subjects))

    @property
    def subjects(self) -> list[str]:
        """In the order of the files."""
        return list(dict.fromkeys(one.slice or "" for one in self.benchmark.questions))

    @property
    def categories(self) -> dict[str, Sequence[str]]:
        """Those that any question asked belongs to."""
        asked = {*self.subjects}
        return {
            name: kept
            for name, members in self.benchmark.categories.items()
            if (kept := [one for one in members if one in asked])
        }

    def mean_of_subjects(self, responder: str) -> float:
        """Mean accuracy over subjects, each counting the same however many questions it has."""
        shares = [self.tally(responder, [one]).share for one in self.subjects]
        return sum(shares) / len(shares)

    def unread(self, responder: str) -> int:
        """Answers that name no letter."""
        return self.letters[responder].count(None)

    def json(self) -> dict[str, Any]:
        """For reports and terminals."""
        one = self.benchmark
        return {
            "title": one.title,
            "split": one.split,
            "by": "likelihood" if one.by_letter else "answer",
            "shots": one.shots,
            "shortened": one.shortened,
            "left_out": one.left_out,
            "responders": {name: self._json(name) for name in self.said},
            "against": {name: paired_json(self.paired(name)) for name in self.responders[1:]},
        }

    def _json(self, responder: str) -> dict[str, Any]:
        categories = self.categories.items()
        return {
            **self.tally(responder).json(),
            "mean_of_subjects": self.mean_of_subjects(responder),
            "unread": self.unread(responder),
            "categories": {name: self.tally(responder, has).json() for name, has in categories},
            "subjects": {name: self.tally(responder, [name]).json() for name in self.subjects},
        }


def _letter(answer: str) -> str | None:
    place = named_option(answer, len(OPTIONS))
    return None if place is None else OPTIONS[place]


def paired_json(seen: Paired) -> dict[str, Any]:
    """A comparison with the first responder, for records."""
    return {
        "delta": seen.delta,
        "interval": list(seen.interval),
        "gained": seen.gained,
        "lost": seen.lost,
        "p": seen.p,
    }


def scores_json(all_scores: Sequence[Scores]) -> dict[str, Any]:
    """``{benchmark: …}``; comparisons get p values adjusted by Holm over all of them."""
    return adjusted({one.benchmark.key: one.json() for one in all_scores})


def adjusted(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same with ``p_holm``: over every benchmark and challenger that is there."""
    p_values = {
        f"{key} {name}": seen["p"]
        for key, one in found.items()
        for name, seen in one["against"].items()
    }
    corrected = holm(p_values)
    return {
        key: {
            **one,
            "against": {
                name: {**seen, "p_holm": corrected[f"{key} {name}"]}
                for name, seen in one["against"].items()
            },
        }
        for key, one in found.items()
    }
