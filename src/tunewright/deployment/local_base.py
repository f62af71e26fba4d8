"""A base model in this process, with any number of adapters, as the engine's routes use it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tunewright.core.messages import Conversation
from tunewright.core.settings import answering_precision
from tunewright.deployment.call_grammar import call_grammar
from tunewright.deployment.decoding import Memory, RowGroup
from tunewright.deployment.drawing import Drawer
from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Grammar
from tunewright.deployment.scheduler import Group
from tunewright.deployment.vocabulary import Vocabulary
from tunewright.model.adapters import load_adapter, load_foundation, set_active, unload
from tunewright.model.calls.forms import CallForm
from tunewright.model.choices import Choices
from tunewright.model.embedding import mean_states
from tunewright.model.kv_blocks import BLOCK, Blocks
from tunewright.model.kv_cache import KvCache, bytes_per_token
from tunewright.model.kv_pass import plain_forward
from tunewright.model.lean_decoder import LeanDecoder
from tunewright.model.loading import pick_device, pick_dtype
from tunewright.model.mixed_lora import Mixture
from tunewright.model.packed_linear import pack_linears
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer
from tunewright.training.machine import free_memory

# Shares of the free memory that the cache may take, and where more would help nobody.
_OF_MEMORY, _OF_GPU = 0.125, 0.8
_MOST_TOKENS_ON_CPU = 1 << 15
_SMALL = 200_000_000
"""Weights of a base whose steps are so short that threads which wait for each other cost more than
a second core gains, once the gateway wants it too (EXPERIMENTS.md)."""


class LocalBase:
    """One loaded base. Adapters change between turns only, on the generating thread.

    Args:
        model: the loaded base.
        renderer: turns conversations into its tokens.
        kv_tokens: tokens that the key-value cache holds; None chooses from the free memory.
        pack: bytes that copies of weights may take which the processor multiplies faster.

    Attributes:
        context_length: longest prompt and answer together, in tokens.
        vocabulary_size: width of its logits.
        ends: ids that end an answer.
        call_form: how its template writes calls of functions; None if it knows none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        kv_tokens: int | None = None,
        pack: int = 0,
    ) -> None:
        self._model = model
        self._renderer = renderer
        self._active: str | None = None
        self._loads = 0
        lean = LeanDecoder(model) if LeanDecoder.suits(model) else None
        if pack:
            pack_linears(model, pack, lean.joints if lean else ())
        tokens = kv_tokens or _roomy(model)
        blocks = max(2, tokens // BLOCK)
        cache = KvCache(model.device, blocks)
        forward = lean.read if lean else plain_forward(model)
        self._memory = Memory(cache, Blocks(blocks), forward)
        self.context_length = min(renderer.context_length, blocks * BLOCK)
        self.vocabulary_size = int(model.get_output_embeddings().weight.shape[0])
        self.ends = renderer.eos_ids
        self.call_form = CallForm.learn(renderer)
        self._vocabulary = Vocabulary(renderer, self.vocabulary_size)
        self._mixture = Mixture(model)
        self._drawer = Drawer(self.vocabulary_size, renderer.eos_ids)

    @classmethod
    def load(
        cls,
        foundation: Foundation,
        renderer: Renderer,
        device: str,
        kv_tokens: int | None = None,
    ) -> LocalBase:
        """Load a base's weights, with the tuned models that are part of them.

        Raises:
            InputError: when there is no such device, or the weights cannot be used.
        """
        chosen = pick_device(device)
        dtype = pick_dtype(answering_precision(), chosen)
        model = load_foundation(foundation, chosen, dtype)
        pack = int(free_memory() * _OF_MEMORY) if chosen.type == "cpu" else 0
        return cls(model, renderer, kv_tokens, pack)

    def leave_a_core(self) -> None:
        """Leave one core of a processor to the gateway, where that costs nothing.

        For a process that does nothing else than serve this base.
        """
        if self._model.device.type == "cpu" and self._model.num_parameters() < _SMALL:
            others = max(1, (os.cpu_count() or 1) - 1)
            torch.set_num_threads(min(torch.get_num_threads(), others))

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation with the generation prompt."""
        return self._renderer.prompt_ids(conversation)

    def choices(self, texts: Sequence[str]) -> Choices:
        """What an answer can be held to.

        Raises:
            InputError: the base cannot tell them apart.
        """
        return Choices(texts, self._renderer)

    def text_ids(self, text: str, framed: bool = True) -> list[int]:
        """Token ids of plain text; framed with what the tokenizer puts before every text.

        Raises:
            InputError: the text spells a control token beside private-use characters.
        """
        ids = self._renderer.render_text(text).ids[:-1]
        return ids if framed else ids[len(self._renderer.render_text("").ids) - 1 :]

    def decode(self, ids: Sequence[int], controls: bool = False) -> str:
        """Text of token ids, control tokens left out or spelled."""
        if controls:
            return self._renderer.tokenizer.decode(list(ids), skip_special_tokens=False)
        return self._renderer.decode(ids)

    def spelled(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        return self._vocabulary.spelled(token)

    def schema(self, schema: dict[str, Any], param: str) -> Grammar:
        """The form of JSON that matches a schema.

        Raises:
            RequestError: 400: a schema that is wrong, too large, or not supported.
        """
        return self._vocabulary.schema(schema, param)

    def calls(self, tools: Sequence[dict[str, Any]], several: bool) -> Grammar:
        """The form of an answer that calls one of the tools, or several.

        Raises:
            RequestError: 400: the base's template writes no calls, or a tool's schema is wrong.
        """
        if self.call_form is None:
            raise RequestError(
                400,
                "this base's chat template writes no calls that an answer could be held to",
                param="tool_choice",
                code="unsupported_parameter",
            )
        return self._vocabulary.form(
            call_grammar(self.call_form, self._renderer.control_ids, tools, several), "tools"
        )

    def memory(self) -> dict[str, int]:
        """How much of the cache is there and in use, in tokens."""
        blocks = self._memory.blocks
        return {
            "kv_tokens": blocks.count * BLOCK,
            "kv_tokens_in_use": (blocks.count - blocks.available) * BLOCK,
        }

    def kv_blocks(self) -> dict[str, int]:
        """Blocks of the cache that rows hold, that keep a beginning for others, that are free."""
        blocks = self._memory.blocks
        free, kept = blocks.available, blocks.kept
        return {"used": blocks.count - free, "kept": kept, "free": free - kept}

    # On the generating thread -------------------------------------------------------------------

    def group_of(self, adapter: str | None) -> str | None:
        """Which rows share passes: those of the base and of plain LoRA adapters all do."""
        if adapter is None or self._mixture.mixable(adapter):
            return None
        return adapter

    def open_group(self, key: str | None) -> Group:
        """Rows that share passes; ``key`` is what ``group_of`` says of them."""

        def activate(owners: Sequence[str | None]) -> None:
            self._activate(key or self._mixture.active)
            if key is None:
                self._mixture.choose(owners, self._model.device)

        return RowGroup(self._memory, activate, self._drawer)

    def embed(self, adapter: str | None, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector of length 1 for each text, from its token ids."""
        self._activate(adapter)
        vectors: list[list[float]] = mean_states(self._model, texts).tolist()
        return vectors

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make an adapter usable under a name.

        Raises:
            ModelError: when it is damaged or made for another base.
        """
        try:
            load_adapter(self._model, folder, name)
        finally:
            self._changed()
        # What an adapter's keys and values are known under must never mean another one's.
        self._loads += 1
        self._memory.roots[name] = f"{self._loads}:{name}".encode()

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        unload(self._model, name)
        self._memory.roots.pop(name, None)
        self._changed()

    @torch.inference_mode()
    def _changed(self) -> None:
        self._mixture.refresh()
        set_active(self._model, self._mixture.active)
        self._active = self._mixture.active

    def _activate(self, adapter: str | None) -> None:
        if adapter != self._active:
            set_active(self._model, adapter)
            self._active = adapter


def _roomy(model: PreTrainedModel) -> int:
    """Tokens that fit into a fair share of the free memory."""
    each = bytes_per_token(model)
    if model.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(model.device)
        return int(free * _OF_GPU) // each
    return min(int(free_memory() * _OF_MEMORY) // each, _MOST_TOKENS_ON_CPU)
