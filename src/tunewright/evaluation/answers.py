"""Questions with known answers, and what a responder makes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunewright.core.messages import Conversation, Message, Row, ToolCall
from tunewright.evaluation.responders.base import Likely, Said
from tunewright.evaluation.scorers.base import Metric, Sample
from tunewright.model.calls.spelling import spelled


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; ``slice`` is what scores are reported by, ``group`` what belongs together.

    ``required`` and ``forbidden`` are phrases that the answer must, or must not, say. ``turn`` is
    the reference as a turn, where it calls functions.
    """

    id: str
    prompt: Conversation
    reference: str
    slice: str | None
    group: str
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    turn: Message | None = None

    @property
    def calls(self) -> tuple[ToolCall, ...] | None:
        """What should be called; None where no function is on offer."""
        wanted = self.turn.tool_calls if self.turn else ()
        return wanted if wanted or self.prompt.tools else None


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer with its value under every metric that has something to say about it.

    Attributes:
        text: what was said.
        finish_reason: ``stop`` where it ended by itself.
        scores: by metric.
        probability: of the answer among the labels that it was held to, if it was.
        parts: what is summed over answers, of metrics that are more than a mean.
    """

    text: str
    finish_reason: str
    scores: dict[str, float]
    probability: float | None = None
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def question_of(row: Row, id: str) -> Question:
    """A dataset row as a question; its final assistant turn is the reference."""
    talk = row.conversation
    turn = None if in_words(row) else talk.messages[-1].model_copy(update={"weight": 1})
    answer = spelled(talk.answer or "", turn.tool_calls if turn else ())
    return Question(
        id, talk.prompt(), answer, row.slice, row.group, row.required, row.forbidden, turn
    )


def answered(prompt: Conversation, answer: str | Message) -> Conversation:
    """A prompt with its answer, which alone counts: turns before it have weight 0."""
    asked = tuple(
        turn.model_copy(update={"weight": 0}) if turn.role == "assistant" else turn
        for turn in prompt.messages
    )
    said = answer if isinstance(answer, Message) else Message(role="assistant", content=answer)
    return Conversation(messages=(*asked, said), tools=prompt.tools)


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


def score_answers(
    questions: Sequence[Question],
    said: Sequence[Said],
    metrics: Sequence[Metric],
    likely: Sequence[Likely] | None = None,
) -> list[Scored]:
    """Answers with their scores, in the order of ``questions``.

    Args:
        questions: that were asked.
        said: what was answered.
        metrics: to score by.
        likely: how likely the references are, where the responder tells.
    """
    told = [(one.log_probability, one.tokens) for one in likely] if likely else None
    samples = [
        Sample(
            spelled(answer.text, answer.calls),
            question.reference,
            answer.finish_reason,
            question.prompt.question,
            told[number] if told else None,
            question.required,
            question.forbidden,
            answer.calls,
            question.calls,
        )
        for number, (question, answer) in enumerate(zip(questions, said, strict=True))
    ]
    columns = {metric.name: metric.score(samples) for metric in metrics}
    return [
        Scored(
            spelled(answer.text, answer.calls),
            answer.finish_reason,
            {name: one.value for name, column in columns.items() if (one := column[number])},
            answer.probability,
            {n: one.parts for n, c in columns.items() if (one := c[number]) and one.parts},
        )
        for number, answer in enumerate(said)
    ]
