"""One forward pass at a time over a changing batch of rows that share a key-value cache.

Rows are padded on the left, so that all end at the same column. New rows can join and finished
ones leave between steps. The cache keeps spare columns: growing by concatenation would copy the
whole of it at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from tunewright.model.tuners.prefix_slots import slides

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SPARE = 64


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values (rows, kv_heads, columns, head_dim) as views into larger buffers."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns and return all of them."""
        held = self.get_seq_length()
        wanted = held + key_states.shape[2]
        if self._buffers is None or wanted > self._buffers[0].shape[2]:
            self._grow(key_states, value_states, held, wanted + _SPARE)
        if self._buffers is None:
            raise RuntimeError("the cache has no room")
        keys, values = self._buffers
        keys[:, :, held:wanted] = key_states
        values[:, :, held:wanted] = value_states
        self.keys, self.values = keys[:, :, :wanted], values[:, :, :wanted]
        return self.keys, self.values

    def keep(self, rows: Tensor, first: int) -> None:
        """Keep the given rows and the columns from ``first`` on."""
        self.keys, self.values = (
            t[:, :, first:].index_select(0, rows) for t in (self.keys, self.values)
        )
        self._buffers = None

    def join(self, other: RoomyLayer) -> None:
        """Put another layer's rows below, padding the shorter one on the left."""
        columns = max(self.get_seq_length(), other.get_seq_length())
        self.keys, self.values = (
            torch.cat([_padded(mine, columns), _padded(theirs, columns)])
            for mine, theirs in ((self.keys, other.keys), (self.values, other.values))
        )
        self._buffers = None

    def _grow(self, keys: Tensor, values: Tensor, held: int, columns: int) -> None:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        grown: list[Tensor] = []
        for new, old in ((keys, self.keys), (values, self.values)):
            buffer = new.new_empty(new.shape[0], new.shape[1], columns, new.shape[3])
            if held:
                buffer[:, :, :held] = old
            grown.append(buffer)
        self._buffers = (grown[0], grown[1])


class Batch:
    """Rows that are decoded together.

    Args:
        model: a loaded base; its active adapter answers.
        pad_id: any token id; padded places are never attended to.
    """

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id
        # A sliding window needs the model's own mask; whole attention can be told at once.
        self._sliding = slides(model.config.get_text_config())
        self._layers: list[RoomyLayer] = []
        self._seen = torch.zeros(0, 0, dtype=torch.bool, device=model.device)
        self._lengths = torch.zeros(0, dtype=torch.long, device=model.device)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self._seen.shape[0])

    @torch.inference_mode()
    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts as new rows below the others.

        Returns:
            Logits of each new row's next token, (new rows, vocab), float32.
        """
        width = max(len(prompt) for prompt in prompts)
        device = self._model.device
        ids = [[self._pad_id] * (width - len(p)) + list(p) for p in prompts]
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        columns = torch.arange(width, device=device)
        seen = columns >= (width - lengths)[:, None]
        positions = (columns - (width - lengths)[:, None]).clamp(min=0)
        padded = any(len(p) < width for p in prompts)
        layers = [RoomyLayer() for _ in range(self._model.config.num_hidden_layers)]
        output = self._model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=seen if padded else None,
            position_ids=positions,
            past_key_values=Cache(layers=layers),
            use_cache=True,
            logits_to_keep=1,
        )
        self._join(layers, seen, lengths)
        logits: Tensor = output.logits[:, -1].float()
        return logits

    @torch.inference_mode()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every row.

        Returns:
            Logits of the next token, (rows, vocab), float32.
        """
        self._seen = F.pad(self._seen, (0, 1), value=True)
        mask: Tensor | None = self._seen
        if not self._sliding:
            mask = None if bool(self._seen.all()) else self._seen[:, None, None, :]
        output = self._model(
            input_ids=torch.tensor(tokens, device=self._model.device)[:, None],
            attention_mask=mask,
            position_ids=self._lengths[:, None],
            past_key_values=Cache(layers=list(self._layers)),
            use_cache=True,
            logits_to_keep=1,
        )
        self._lengths = self._lengths + 1
        logits: Tensor = output.logits[:, -1].float()
        return logits

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Keep only the given rows, in the given order."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self._model.device)
        self._lengths = self._lengths[chosen]
        if not rows:
            self._layers, self._seen = [], self._seen[:0, :0]
            return
        first = int(self._seen.shape[1] - self._lengths.max())
        self._seen = self._seen[chosen, first:]
        for layer in self._layers:
            layer.keep(chosen, first)

    def _join(self, layers: list[RoomyLayer], seen: Tensor, lengths: Tensor) -> None:
        if not self.rows:
            self._layers, self._seen, self._lengths = layers, seen, lengths
            return
        columns = max(seen.shape[1], self._seen.shape[1])
        both = [F.pad(s, (columns - s.shape[1], 0), value=False) for s in (self._seen, seen)]
        self._seen = torch.cat(both)
        self._lengths = torch.cat([self._lengths, lengths])
        for mine, theirs in zip(self._layers, layers, strict=True):
            mine.join(theirs)


def _padded(states: Tensor, columns: int) -> Tensor:
    return F.pad(states, (0, 0, columns - states.shape[2], 0))
