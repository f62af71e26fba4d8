"""Responders that run here: bases, tuned models and checkpoints, alone or with examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.config.serving import GenerationConfig
from tunewright.core.files import digest as digest_of
from tunewright.core.files import sha256_file
from tunewright.core.messages import Conversation, Message
from tunewright.core.settings import answering_precision
from tunewright.core.store import Store
from tunewright.evaluation.responders.base import Keep, KeepLikely, Likely, Said, Tell
from tunewright.evaluation.responders.few_shot import with_examples
from tunewright.model.calls.forms import CallForm
from tunewright.model.deployed import PLAIN, Manner
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from tunewright.model.generation import TextModel

_CHUNK = 4
"""Batches between two times that answers are handed over: a kill loses no more."""
_LIKELY_CHUNK = 64


@dataclass
class Weights:
    """Models on the same weights, loaded together once the first of them must answer.

    Attributes:
        store: to find them in.
        targets: references of the models.
    """

    store: Store
    targets: tuple[str, ...]
    _models: dict[str, TextModel] = field(default_factory=dict)

    def model(self, target: str) -> TextModel:
        """A model, ready to answer.

        Raises:
            InputError: it does not match its base and renderer.
        """
        if not self._models:
            from tunewright.model.generation import load_many

            loaded = load_many(self.store, self.targets)
            self._models = dict(zip(self.targets, loaded, strict=True))
        return self._models[target]

    def free(self) -> None:
        """Let the weights go."""
        self._models = {}


@dataclass(frozen=True)
class Local:
    """A model of this machine.

    Attributes:
        reference: what it was asked for as.
        target: the model's reference.
        resolved: what that names.
        weights: to load it from.
        examples: turns shown before every question.
        manner: of the deployment, where one is asked.
        seed: of what is drawn, where the manner is to draw.
    """

    reference: str
    target: str
    resolved: Resolved
    weights: Weights
    examples: tuple[tuple[Message, Message], ...] = ()
    manner: Manner = PLAIN
    seed: int = 0

    @cached_property
    def digest(self) -> str:
        """Of base, tuned files and arithmetic; examples and manner are part of what is asked."""
        return digest_of(
            {
                "base": self.resolved.base.digest,
                "tuned": [_folder_digest(folder) for folder in self.resolved.folders],
                "precision": answering_precision(),
            }
        )

    @cached_property
    def renderer(self) -> Renderer:
        """Of the base; it needs no weights."""
        return Renderer(self.resolved.base.folder)

    @cached_property
    def calls(self) -> bool:
        """Whether the base's template writes calls of functions that can be read again."""
        return CallForm.learn(self.renderer) is not None

    def prompt(self, conversation: Conversation, room: int) -> Conversation:
        """The question after as many of the examples as the context holds, the last ones."""
        conversation = self.manner.prompt(conversation)
        if not self.examples:
            return conversation
        renderer = self.renderer
        for first in range(len(self.examples) + 1):
            shown = with_examples(conversation, self.examples[first:])
            if len(renderer.prompt_ids(shown)) + room <= renderer.context_length:
                return shown
        return conversation

    def settings(self, config: GenerationConfig) -> GenerationConfig:
        """As asked for; or in the deployment's manner, and no longer than it lets answers be."""
        found = self.manner.settings(config)
        if found.temperature and found.seed is None:
            found = found.model_copy(update={"seed": self.seed})
        most = self.manner.max_tokens or found.max_new_tokens
        return found.model_copy(update={"max_new_tokens": min(most, found.max_new_tokens)})

    def answer(
        self,
        prompts: Sequence[Conversation],
        config: GenerationConfig,
        batch: int,
        keep: Keep,
        tell: Tell,
    ) -> None:
        """Answer in batches, the longest prompts first."""
        order = sorted(range(len(prompts)), key=lambda place: -_size(prompts[place]))
        model = self.weights.model(self.target)
        step = _CHUNK * batch
        for start in range(0, len(order), step):
            places = order[start : start + step]
            asked = [prompts[place] for place in places]
            answers = model.answer(asked, config, lambda e: tell(int(e.data["done"])), batch)
            said = [Said(a.text, a.finish_reason, a.probability, a.calls) for a in answers]
            keep(list(zip(places, said, strict=True)))

    def weigh(self, rows: Sequence[Conversation], keep: KeepLikely) -> None:
        """How likely each conversation's final answer is; 0 tokens where it does not fit.

        Args:
            rows: conversations that end with the answer.
            keep: gets the likelihoods as they come, with their places in ``rows``.
        """
        model, counts = self.weights.model(self.target), self.renderer.count_many(rows)
        fitting = [n for n, count in enumerate(counts) if count <= self.renderer.context_length]
        keep([(n, Likely(0.0, 0)) for n in sorted({*range(len(rows))} - {*fitting})])
        for start in range(0, len(fitting), _LIKELY_CHUNK):
            places = fitting[start : start + _LIKELY_CHUNK]
            found = model.likelihoods([rows[place] for place in places])
            keep([(n, Likely(*one)) for n, one in zip(places, found, strict=True)])


def _size(conversation: Conversation) -> int:
    return sum(len(message.content) for message in conversation.messages)


def _folder_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_of([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])
