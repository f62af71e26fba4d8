"""Answers to the same few validation questions, while a run is under way, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation, Row
from tunewright.model.catalog import Base
from tunewright.model.generation import Shared, TextModel
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOKENS = 32
"""Enough to see whether an answer begins right. Measured on nano: three answers take as long as one
and a half of fifty steps of 1,024 tokens."""


@dataclass(frozen=True)
class Preview:
    """Asks the model in training, greedily: no chance is drawn, no weight or state is touched.

    Attributes:
        model: the one that is trained, with its adapter active.
        renderer: of its base.
        base: what it stands on.
        rows: conversations with an answer to compare with.
    """

    model: PreTrainedModel
    renderer: Renderer
    base: Base
    rows: Sequence[Conversation]

    def __call__(self) -> list[dict[str, Any]]:
        """``[{question, reference, answer, finished}, …]``, one per row."""
        training = self.model.training
        self.model.eval()
        try:
            # Without a name, no adapter is switched on or off: the one in training answers.
            responder = TextModel(self.base.name, Shared(self.model, self.renderer, self.base))
            config = GenerationConfig(temperature=0, max_new_tokens=_TOKENS)
            answers = responder.answer([row.prompt() for row in self.rows], config)
        finally:
            self.model.train(training)
        return [
            {
                "question": row.question,
                "reference": row.answer,
                "answer": answer.text,
                "finished": answer.finish_reason == "stop",
            }
            for row, answer in zip(self.rows, answers, strict=True)
        ]


def first_questions(rows: Iterable[object], count: int, renderer: Renderer) -> list[Conversation]:
    """The first rows that ask something and leave room for an answer; own rows before general."""
    asked = [row for row in rows if isinstance(row, Row) and row.conversation.answer is not None]
    chosen: list[Conversation] = []
    for row in sorted(asked, key=lambda row: row.origin != "own"):
        if len(chosen) == count:
            break
        if len(renderer.prompt_ids(row.conversation.prompt())) < renderer.context_length:
            chosen.append(row.conversation)
    return chosen
