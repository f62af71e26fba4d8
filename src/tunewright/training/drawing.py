"""Answers of the model in training to questions, drawn in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation
from tunewright.model.catalog import Base
from tunewright.model.generation import Answer, Shared, TextModel
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Drawing:
    """Asks the model in training: no weight or state is touched, nor torch's own chance.

    Attributes:
        model: the one that is trained, with its adapter active.
        renderer: of its base.
        base: what it stands on.
    """

    model: PreTrainedModel
    renderer: Renderer
    base: Base

    def __call__(
        self, conversations: Sequence[Conversation], config: GenerationConfig
    ) -> list[Answer]:
        """One answer per conversation, in order, with the tokens that it is made of."""
        training = self.model.training
        self.model.eval()
        try:
            # Without a name, no adapter is switched on or off: the one in training answers.
            responder = TextModel(self.base.name, Shared(self.model, self.renderer, self.base))
            return responder.answer(conversations, config)
        finally:
            self.model.train(training)
