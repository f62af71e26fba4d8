"""Answers from a base, a tuned model or a checkpoint: in batches, or as a stream of text."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from transformers import PreTrainedModel

from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import InputError, ModelError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.messages import Conversation, ToolCall, tool_name
from tunewright.core.settings import answering_precision
from tunewright.core.store import Store
from tunewright.model.adapters import load_adapter, load_foundation, set_active
from tunewright.model.calls.forms import CallForm
from tunewright.model.calls.reader import read_calls
from tunewright.model.catalog import Base
from tunewright.model.choices import Choices, Walk, confined
from tunewright.model.decoding import Batch
from tunewright.model.likelihood import Likelihood, likelihoods
from tunewright.model.loading import pick_device, pick_dtype
from tunewright.model.references import Resolved, resolve_responder
from tunewright.model.rendering import Renderer
from tunewright.model.sampling import draw
from tunewright.model.text_growth import TextGrowth, text_of

_BATCH = 64


@dataclass(frozen=True)
class Answer:
    """What a responder said.

    ``completion_tokens`` counts the end token too, unless nothing else could have followed.
    ``probability`` is that of the answer among the choices that it was held to, if it was.
    ``tokens`` are those that were drawn. ``calls`` are the functions that it calls, where some are
    on offer; they are no part of its text.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]
    probability: float | None = None
    tokens: tuple[int, ...] = field(default=(), repr=False, compare=False)
    calls: tuple[ToolCall, ...] = ()


class Responder(Protocol):
    """Anything that answers conversations and can be compared."""

    name: str

    def answer(
        self, conversations: Sequence[Conversation], config: GenerationConfig
    ) -> list[Answer]:
        """One answer per conversation, in order."""
        ...


@dataclass
class Shared:
    """One base in memory, for all the text models that stand on it."""

    model: PreTrainedModel
    renderer: Renderer
    base: Base
    active: str | None = None

    @cached_property
    def call_form(self) -> CallForm | None:
        """How the base writes calls of functions; None if it knows none."""
        return CallForm.learn(self.renderer)

    def activate(self, adapter: str | None) -> None:
        """Let this adapter answer from the next forward pass on."""
        if adapter != self.active:
            set_active(self.model, adapter)
            self.active = adapter


@dataclass
class _Row:
    index: int
    prompt: list[int]
    limit: int
    chance: random.Random
    growth: TextGrowth | None
    walk: Walk | None = None
    offered: tuple[str, ...] = ()
    tokens: list[int] = field(default_factory=list)
    reason: Literal["stop", "length"] | None = None

    def take(self, token: int, ends: frozenset[int]) -> str:
        """Note a token; the text it adds, when text is watched."""
        self.tokens.append(token)
        piece = ""
        if token in ends:
            self.reason = "stop"
        elif self.growth is not None:
            piece = self.growth.add(token)
            self.reason = "stop" if self.growth.stopped else None
        if self.walk is not None and self.walk.take(token):
            self.reason = "stop"
        if self.reason is None and len(self.tokens) >= self.limit:
            self.reason = "length"
        if self.reason is not None and self.growth is not None:
            piece += self.growth.finish()
            # A stop text may show only once what was held back is complete.
            self.reason = "stop" if self.growth.stopped else self.reason
        return piece


class TextModel:
    """A base with, maybe, an adapter, that answers conversations.

    One thread at a time may use the text models that share a base.

    Attributes:
        name: what it was asked for as, or the tuned model's name.
        base: the base it stands on.
        renderer: turns its conversations into tokens.
    """

    def __init__(self, name: str, shared: Shared, adapter: str | None = None) -> None:
        self.name = name
        self.base = shared.base
        self.renderer = shared.renderer
        self._shared = shared
        self._adapter = adapter

    @property
    def network(self) -> PreTrainedModel:
        """The network itself, with this model's adapter answering."""
        self._shared.activate(self._adapter)
        return self._shared.model

    @classmethod
    def load(cls, store: Store, reference: str, device: str = "auto") -> TextModel:
        """Load what a reference names: a base, a tuned model, or RUN@STEP.

        Raises:
            InputError: unknown, not usable, or not matching its base and renderer.
        """
        return load_many(store, [reference], device)[0]

    def answer(
        self,
        conversations: Sequence[Conversation],
        config: GenerationConfig,
        listen: Listener = ignore,
        batch_size: int = _BATCH,
    ) -> list[Answer]:
        """Answer conversations in batches; a final assistant turn is left out.

        Args:
            conversations: what to answer.
            config: how to draw, and when to stop.
            listen: hears ``progress`` events.
            batch_size: most rows that are decoded together.

        Raises:
            InputError: a prompt that leaves no room for an answer, or choices that the base
                cannot tell apart.
        """
        choices = self._choices(config)
        rows = [
            self._row(i, c, config, choices, bool(config.stop)) for i, c in enumerate(conversations)
        ]
        done = 0
        for row, _ in self._decode(rows, config, batch_size):
            if row.reason is not None:
                done += 1
                progress = {"stage": "generate", "done": done, "total": len(rows)}
                listen(Event(kind="progress", data=progress))
        return [self._finished(row) for row in rows]

    def likelihoods(
        self, conversations: Sequence[Conversation], ends: bool = True
    ) -> list[Likelihood]:
        """How likely each conversation's answers of weight 1 are.

        Args:
            conversations: with their answers.
            ends: whether the tokens that end an answer count too.

        Raises:
            InputError: a conversation longer than the base reads.
        """
        rows = self.renderer.render_many(conversations)
        for number, row in enumerate(rows):
            if len(row.ids) > self.renderer.context_length:
                raise InputError(
                    f"conversation {number + 1} takes {len(row.ids)} tokens;"
                    f" {self.base.name} holds {self.renderer.context_length}",
                    "Shorten it.",
                )
        stops = frozenset() if ends else self.renderer.eos_ids
        self._shared.activate(self._adapter)
        return likelihoods(self._shared.model, rows, stops)

    def stream(
        self, conversation: Conversation, config: GenerationConfig
    ) -> Generator[str, None, Answer]:
        """Yield the answer's text as it becomes certain; the generator returns the Answer.

        Raises:
            InputError: as for ``answer``.
        """
        row = self._row(0, conversation, config, self._choices(config), True)
        return self._stream(row, config)

    def _stream(self, row: _Row, config: GenerationConfig) -> Generator[str, None, Answer]:
        for _, piece in self._decode([row], config, 1):
            if piece:
                yield piece
        return self._finished(row)

    def _choices(self, config: GenerationConfig) -> Choices | None:
        return Choices(config.choices, self.renderer) if config.choices else None

    def _row(
        self,
        index: int,
        conversation: Conversation,
        config: GenerationConfig,
        choices: Choices | None,
        watched: bool,
    ) -> _Row:
        prompt = self.renderer.prompt_ids(conversation)
        room = self.renderer.context_length - len(prompt)
        if room < (1 if choices is None else choices.longest):
            raise InputError(
                f"conversation {index + 1} takes {len(prompt)} tokens;"
                f" {self.base.name} holds {self.renderer.context_length} with the answer",
                "Shorten it.",
            )
        seed = None if config.seed is None else f"{config.seed}:{index}"
        return _Row(
            index=index,
            prompt=prompt,
            limit=room if choices else min(config.max_new_tokens, room),
            chance=random.Random(seed),
            growth=TextGrowth(self.renderer.decode, config.stop) if watched else None,
            walk=choices.walk() if choices else None,
            offered=tuple(map(tool_name, conversation.tools)),
        )

    def _finished(self, row: _Row) -> Answer:
        if row.walk is not None:
            text = row.walk.text or ""
        elif row.growth is not None:
            text = row.growth.text
        else:
            ended = row.tokens[-1] in self.renderer.eos_ids
            text = text_of(self.renderer.decode, row.tokens[:-1] if ended else row.tokens)
        text, calls = self._called(row, text)
        probability = None if row.walk is None else row.walk.probability
        reason, tokens = row.reason or "stop", tuple(row.tokens)
        return Answer(text, len(row.prompt), len(tokens), reason, probability, tokens, calls)

    def _called(self, row: _Row, text: str) -> tuple[str, tuple[ToolCall, ...]]:
        """The words of an answer, and what it calls of the functions on offer."""
        form = self._shared.call_form if row.offered and row.walk is None else None
        if form is None:
            return text, ()
        ids = [token for token in row.tokens if token not in self.renderer.eos_ids]
        whole = self.renderer.tokenizer.decode(ids, skip_special_tokens=False)
        words, calls = read_calls(form, row.offered, whole)
        # An answer without calls stays what it was, but for the heading that words have there.
        return (words, calls) if calls else (text.removeprefix(form.heading), ())

    def _decode(
        self, rows: Sequence[_Row], config: GenerationConfig, batch_size: int
    ) -> Iterator[tuple[_Row, str]]:
        """Run all rows, the longest prompts first; each token gives its row and new text.

        Freed places are filled again once a quarter of them is free: reading prompts costs a
        forward pass of its own, in which the other rows stand still.
        """
        waiting = deque(sorted(rows, key=lambda row: -len(row.prompt)))
        batch = Batch(self._shared.model, self.renderer.pad_id)
        running: list[_Row] = []
        ends = self.renderer.eos_ids
        while running or waiting:
            free = batch_size - len(running)
            if waiting and (not running or 4 * free >= batch_size):
                fresh = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                self._shared.activate(self._adapter)
                logits = batch.admit([row.prompt for row in fresh])
                running += fresh
            else:
                fresh = running
                self._shared.activate(self._adapter)
                logits = batch.step([row.tokens[-1] for row in running])
            confined_logits = confined(logits, [row.walk for row in fresh])
            tokens = draw(confined_logits, config, [row.chance for row in fresh])
            for place, (row, token) in enumerate(zip(fresh, tokens, strict=True)):
                if row.reason is None:
                    if row.walk is not None:
                        row.walk.weigh(logits[place], token)
                    yield row, row.take(token, ends)
            running = _compact(batch, running)


def _compact(batch: Batch, running: list[_Row]) -> list[_Row]:
    """Drop finished rows once an eighth of them is: each drop copies the cache."""
    kept = [place for place, row in enumerate(running) if row.reason is None]
    if kept and 8 * (len(running) - len(kept)) < len(running):
        return running
    if len(kept) < len(running):
        batch.keep(kept)
    return [running[place] for place in kept]


def load_many(
    store: Store, references: Sequence[str], device: str = "auto", listen: Listener = ignore
) -> list[TextModel]:
    """Load several text models; those on the same weights share them.

    Raises:
        InputError: one is unknown, not usable, or does not match its base and renderer.
    """
    chosen = pick_device(device)
    shared: dict[tuple[str, ...], Shared] = {}
    models: list[TextModel] = []
    found = [resolve_responder(store, reference, listen) for reference in references]
    for number, resolved in enumerate(found):
        foundation = resolved.foundation
        if foundation.key not in shared:
            renderer = Renderer(foundation.base.folder)
            model = load_foundation(foundation, chosen, pick_dtype(answering_precision(), chosen))
            shared[foundation.key] = Shared(model, renderer, foundation.base)
        models.append(_stand_on(shared[foundation.key], resolved, f"adapter{number}"))
    return models


def _stand_on(shared: Shared, resolved: Resolved, adapter: str) -> TextModel:
    expected = resolved.renderer_hash
    if expected is not None and expected != shared.renderer.hash:
        raise ModelError(
            f"{resolved.name} was tuned with another rendering of conversations"
            f" ({expected[:12]}, now {shared.renderer.hash[:12]})",
            "Its answers would not be those that were evaluated; tune again.",
        )
    if resolved.adapter is None:
        return TextModel(resolved.name, shared)
    load_adapter(shared.model, resolved.adapter, adapter)
    shared.active = adapter
    return TextModel(resolved.name, shared, adapter)
