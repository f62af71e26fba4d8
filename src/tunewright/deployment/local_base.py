"""A base model in this process, with any number of adapters, as the engine's routes use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from tunewright.core.messages import Conversation
from tunewright.core.settings import answering_precision
from tunewright.deployment.decoding import BatchGroup
from tunewright.deployment.scheduler import Group
from tunewright.model.adapters import load_adapter, load_foundation, set_active, unload
from tunewright.model.choices import Choices
from tunewright.model.loading import pick_device, pick_dtype
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer


class LocalBase:
    """One loaded base. Adapters change between turns only, on the generating thread.

    Attributes:
        context_length: longest prompt and answer together, in tokens.
    """

    def __init__(self, model: PreTrainedModel, renderer: Renderer) -> None:
        self._model = model
        self._renderer = renderer
        self._active: str | None = None
        self.context_length = renderer.context_length

    @classmethod
    def load(cls, foundation: Foundation, renderer: Renderer, device: str) -> LocalBase:
        """Load a base's weights, with the tuned models that are part of them.

        Raises:
            InputError: when there is no such device, or the weights cannot be used.
        """
        chosen = pick_device(device)
        dtype = pick_dtype(answering_precision(), chosen)
        return cls(load_foundation(foundation, chosen, dtype), renderer)

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation with the generation prompt."""
        return self._renderer.prompt_ids(conversation)

    def choices(self, texts: Sequence[str]) -> Choices:
        """What an answer can be held to.

        Raises:
            InputError: the base cannot tell them apart.
        """
        return Choices(texts, self._renderer)

    def open_group(self, adapter: str | None) -> Group:
        """A batch that is answered with an adapter, or with the bare base."""
        return BatchGroup(self._model, self._renderer, lambda: self._activate(adapter))

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make an adapter usable under a name.

        Raises:
            ModelError: when it is damaged or made for another base.
        """
        load_adapter(self._model, folder, name)
        self._active = name

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        self._activate(None)
        unload(self._model, name)

    def _activate(self, adapter: str | None) -> None:
        if adapter != self._active:
            set_active(self._model, adapter)
            self._active = adapter
