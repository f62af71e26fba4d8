"""Questions with known answers, and what a responder makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tunewright.config.serving import GenerationConfig
from tunewright.core.events import Event, Listener
from tunewright.core.messages import Conversation, Row
from tunewright.evaluation.scorers import score


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; ``slice`` is what scores are reported by, ``group`` what belongs together."""

    id: str
    prompt: Conversation
    reference: str
    slice: str | None
    group: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer with its value in 0..1 under every metric."""

    text: str
    finish_reason: str
    scores: dict[str, float]


class Answer(Protocol):
    """What a responder gives back for one conversation."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...


class Responder(Protocol):
    """Whatever answers conversations: a base, a tuned model, a checkpoint."""

    def answer(
        self, conversations: Sequence[Conversation], config: GenerationConfig
    ) -> Sequence[Answer]: ...


def question_of(row: Row, id: str) -> Question:
    """A dataset row as a question; its final assistant turn is the reference."""
    talk = row.conversation
    return Question(id, talk.prompt(), talk.answer or "", row.slice, row.group)


def limited(rows: Sequence[Row], limit: int | None) -> list[int]:
    """Indices of the ``limit`` rows to ask: the first of every slice in turn, in file order."""
    if limit is None or limit >= len(rows):
        return list(range(len(rows)))
    members: dict[str | None, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[row.slice].append(index)
    ranked = sorted(
        (rank, index) for indices in members.values() for rank, index in enumerate(indices)
    )
    return sorted(index for _, index in ranked[:limit])


def ask(
    responder: Responder,
    questions: Sequence[Question],
    config: GenerationConfig,
    batch_size: int,
    listen: Listener,
    stage: str,
) -> list[Scored]:
    """Answers in the order of ``questions``.

    They are asked by length so that batches pad little, the longest first so that too large a
    batch is noticed at once.

    Emits ``progress`` events {stage, done, total} as batches come back.
    """
    order = sorted(range(len(questions)), key=lambda i: (-_size(questions[i]), i))
    scored: dict[int, Scored] = {}
    listen(Event(kind="progress", data={"stage": stage, "done": 0, "total": len(order)}))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        answers = responder.answer([questions[i].prompt for i in batch], config)
        for index, answer in zip(batch, answers, strict=True):
            values = score(answer.text, questions[index].reference, answer.finish_reason)
            scored[index] = Scored(answer.text, answer.finish_reason, values)
        data = {"stage": stage, "done": len(scored), "total": len(order)}
        listen(Event(kind="progress", data=data))
    return [scored[index] for index in range(len(questions))]


def _size(question: Question) -> int:
    return sum(len(message.content.encode()) for message in question.prompt.messages)
