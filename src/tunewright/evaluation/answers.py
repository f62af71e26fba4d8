"""Questions with known answers, and what a responder makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.config.serving import GenerationConfig
from tunewright.core.events import Event, Listener
from tunewright.core.messages import Conversation, Row
from tunewright.evaluation.scorers import score
from tunewright.model.generation import TextModel


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
    """One answer with its value in 0..1 under every metric.

    ``probability`` is that of the answer among the labels that it was held to, if it was.
    """

    text: str
    finish_reason: str
    scores: dict[str, float]
    probability: float | None = None


def question_of(row: Row, id: str) -> Question:
    """A dataset row as a question; its final assistant turn is the reference."""
    talk = row.conversation
    return Question(id, talk.prompt(), talk.answer or "", row.slice, row.group)


def in_words(row: Row) -> bool:
    """Whether a row's final answer is all text: it calls no tool."""
    return not row.conversation.messages[-1].tool_calls


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
    responder: TextModel,
    questions: Sequence[Question],
    config: GenerationConfig,
    batch_size: int,
    listen: Listener,
) -> list[Scored]:
    """Answers in the order of ``questions``; the responder itself sorts them by length.

    Emits ``progress`` events that name the responder.
    """

    def named(event: Event) -> None:
        stage = {"stage": f"asking {responder.name}"}
        listen(event.model_copy(update={"data": {**event.data, **stage}}))

    prompts = [question.prompt for question in questions]
    answers = responder.answer(prompts, config, named, batch_size)
    return [
        Scored(
            answer.text,
            answer.finish_reason,
            score(answer.text, question.reference, answer.finish_reason),
            answer.probability,
        )
        for question, answer in zip(questions, answers, strict=True)
    ]
