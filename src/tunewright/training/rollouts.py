"""A step's answers with their grades: drawn, graded, compared, and told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunewright.core.errors import EndpointError, TrainingError
from tunewright.grading.results import Case, Grade, Scorer
from tunewright.model.generation import Answer
from tunewright.training.methods.policy import Prompt, nan_std

_SAME = 1e-6
"""Rewards that differ by less are the same: rounding teaches nothing."""


@dataclass(frozen=True)
class Graded:
    """Answers to questions, as many to each.

    Attributes:
        prompts: the questions.
        answers: the answers to the first, then those to the second, …
        grades: one per answer.
    """

    prompts: tuple[Prompt, ...]
    answers: tuple[Answer, ...]
    grades: tuple[Grade, ...]

    @property
    def rewards(self) -> Tensor:
        """``(prompts, answers to each)``; NaN where the grader gave no score."""
        scores = [math.nan if grade.failed else grade.score for grade in self.grades]
        return torch.tensor(scores, dtype=torch.float32).view(len(self.prompts), -1)

    def numbers(self) -> dict[str, float]:
        """What is worth watching, by name."""
        rewards = self.rewards
        count = len(self.answers)
        spread = nan_std(rewards, 1)
        found = {
            "reward": rewards.nanmean().item(),
            "completion_tokens": sum(one.completion_tokens for one in self.answers) / count,
            "truncated": sum(one.finish_reason == "length" for one in self.answers) / count,
        }
        if rewards.shape[1] > 1:
            found["reward_std"] = spread.mean().item()
            found["no_spread"] = (spread < _SAME).float().mean().item()
        failed = sum(grade.failed for grade in self.grades)
        if failed:
            found["ungraded"] = failed / count
        return found | self._parts()

    def _parts(self) -> dict[str, float]:
        """Mean scores of the graders that a multi is made of."""
        parts = [grade.sub_scores for grade in self.grades if not grade.failed]
        names = parts[0] if parts else {}
        return {f"rewards/{name}": sum(one[name] for one in parts) / len(parts) for name in names}

    def groups(self, most: int) -> Iterator[dict[str, Any]]:
        """The first questions with all answers to them, as JSON values."""
        size = len(self.answers) // len(self.prompts)
        for number, prompt in enumerate(self.prompts[:most]):
            part = slice(number * size, (number + 1) * size)
            pairs = zip(self.answers[part], self.grades[part], strict=True)
            yield {
                "question": prompt.item["question"],
                "reference": prompt.item.get("reference_answer"),
                "answers": [_told(answer, grade) for answer, grade in pairs],
            }


def _told(answer: Answer, grade: Grade) -> dict[str, Any]:
    return {
        "text": answer.text,
        "reward": None if grade.failed else grade.score,
        "scores": dict(grade.sub_scores),
        "errors": list(grade.errors.names()),
        "finished": answer.finish_reason == "stop",
    }


def graded(prompts: Sequence[Prompt], answers: Sequence[Answer], scorer: Scorer) -> Graded:
    """Grade answers, as many to each question.

    Raises:
        EndpointError: a judge gave no score for any of them.
        TrainingError: another grader did not.
    """
    each = len(answers) // len(prompts)
    items = [prompt.item for prompt in prompts for _ in range(each)]
    cases = [Case(one.text, item) for one, item in zip(answers, items, strict=True)]
    grades = scorer(cases)
    if all(grade.failed for grade in grades):
        raise _no_grade(grades[0])
    return Graded(tuple(prompts), tuple(answers), tuple(grades))


def _no_grade(grade: Grade) -> EndpointError | TrainingError:
    detail = grade.errors.model_grader_server_error_details
    message = f"the grader gave no score for any answer: {', '.join(grade.errors.names())}"
    if detail:
        return EndpointError(f"{message} ({detail})", "Look at the judge.")
    return TrainingError(message, "Try it on one answer of rollouts.jsonl, or watch the judge.")
