"""One forward pass over cached rows: what is read, what each token attends to, and the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tunewright.model.capped_attention import attend
from tunewright.model.kv_blocks import BLOCK
from tunewright.model.kv_cache import KvCache, Part
from tunewright.model.kv_windows import Look, Windows
from tunewright.model.tuners.prefix_slots import prefix_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Pass:
    """One forward pass: its inputs, and what each of its tokens attends to.

    Args:
        cache: where keys and values are.
        windows: of the rows that grow by one token; they go on from pass to pass.
        parts: what is read.

    Attributes:
        ids, positions: (1, tokens).
        no_mask: a mask that says nothing.
        wanted: (wanted,), places of the tokens whose logits are asked for.
        owners: for each token, the number of the part that it belongs to.
    """

    def __init__(self, cache: KvCache, windows: Windows, parts: Sequence[Part]) -> None:
        self._cache = cache
        device = cache.device
        growing = {part.extent: part for part in parts if len(part.tokens) == 1}
        self._windows = windows.arrange(list(growing.values()))
        order: list[Part] = []
        for window in self._windows:
            order += window.begin(growing, len(order))
        self._documents: list[_Document] = []
        place = len(order)
        for part in parts:
            if len(part.tokens) > 1:
                self._documents.append(_Document(part, place, device))
                place += len(part.tokens)
                order.append(part)
        self._lay_out(order, parts, device)

    def _lay_out(self, order: Sequence[Part], parts: Sequence[Part], device: torch.device) -> None:
        """The inputs, with the parts' tokens in this order."""
        numbers = {part.extent: number for number, part in enumerate(parts)}
        self.owners = [numbers[part.extent] for part in order for _ in part.tokens]
        first: dict[int, int] = {}
        ids: list[int] = []
        positions: list[int] = []
        kept: list[int] = []
        for part in order:
            first[numbers[part.extent]] = len(ids)
            ids += part.tokens
            places = range(part.start, part.end)
            positions += places
            blocks = part.extent.blocks
            kept += [blocks[place // BLOCK] * BLOCK + place % BLOCK for place in places]
        wanted = [
            first[number] + place for number, part in enumerate(parts) for place in part.wanted
        ]
        inputs = torch.tensor([ids, positions, kept]).to(device)
        self.ids, self.positions, self._kept = inputs[0:1], inputs[1:2], inputs[2]
        self.wanted = torch.tensor(wanted, dtype=torch.long).to(device)
        self.no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        self._last = max(max(part.extent.blocks) for part in order)
        self._places: dict[int, Tensor] = {}

    def attention(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> Tensor:
        """Keep a layer's keys and values, and attend.

        Args:
            module: the attention layer.
            query: (1, heads, tokens, head_dim).
            key, value: (1, kv_heads, tokens, head_dim).
            options: ``scaling``, ``sliding_window`` and ``softcap`` as transformers passes them.

        Returns:
            (1, tokens, heads, head_dim).
        """
        layer, heads = int(module.layer_idx), key.shape[1]
        own = (key[0], value[0])
        self._cache.write(layer, self._rows(heads), own, self._last)
        scale = options.get("scaling")
        look = Look(
            heads=heads,
            scale=query.shape[-1] ** -0.5 if scale is None else scale,
            window=options.get("sliding_window"),
            prefix=prefix_of(module, key),
            softcap=options.get("softcap"),
        )
        found = [window.attention(layer, query[0], own, look) for window in self._windows]
        found += [
            document.attention(self._cache, layer, (query, key, value), look)
            for document in self._documents
        ]
        return torch.cat(found)[None] if len(found) > 1 else found[0][None]

    def _rows(self, heads: int) -> Tensor:
        """Where the tokens of every head go in the cache: (heads * tokens,)."""
        if heads not in self._places:
            block, offset = self._kept // BLOCK, self._kept % BLOCK
            head = torch.arange(heads, device=self._kept.device)[:, None]
            self._places[heads] = ((block * heads + head) * BLOCK + offset).flatten()
        return self._places[heads]


Forward = Callable[[Pass], Tensor]
"""Runs a model over a pass → logits (wanted, vocab), part by part, in the model's type."""


def plain_forward(model: PreTrainedModel) -> Forward:
    """The model's own forward pass; it must have been loaded with our attention."""

    def forward(plan: Pass) -> Tensor:
        output = model(
            input_ids=plan.ids,
            position_ids=plan.positions,
            # Any four-dimensional mask keeps the model from making one; the pass brings its own.
            attention_mask=plan.no_mask,
            logits_to_keep=plan.wanted,
            use_cache=False,
            kv_pass=plan,
        )
        logits: Tensor = output.logits[0]
        return logits

    return forward


class _Document:
    """A stretch of one row's tokens, some of whose earlier ones may be in the cache."""

    def __init__(self, part: Part, first: int, device: torch.device) -> None:
        self._tokens = slice(first, first + len(part.tokens))
        self._part = part
        width = -(-part.end // BLOCK)
        self._table = torch.tensor([part.extent.blocks[:width]]).to(device)
        self._masks: dict[tuple[int | None, int], Tensor] = {}

    def attention(
        self, cache: KvCache, layer: int, states: tuple[Tensor, Tensor, Tensor], look: Look
    ) -> Tensor:
        """Of (1, heads, all tokens, head_dim) each → (tokens, heads, head_dim)."""
        query, key, value = (state[:, :, self._tokens] for state in states)
        if self._part.start:
            key, value = (
                cache.gather(layer, self._table, side)[:, :, : self._part.end] for side in (0, 1)
            )
        if look.prefix is not None:
            key, value = (
                torch.cat([before, own], dim=2)
                for before, own in zip(look.prefix, (key, value), strict=True)
            )
        simple = key.shape[2] == query.shape[2] and (
            look.window is None or query.shape[2] <= look.window
        )
        output = attend(
            query,
            key,
            value,
            attn_mask=None if simple else self._mask(look),
            is_causal=simple,
            scale=look.scale,
            enable_gqa=query.shape[1] != key.shape[1],
            softcap=look.softcap,
        )
        return output[0].transpose(0, 1)

    def _mask(self, look: Look) -> Tensor:
        """Boolean (tokens of the stretch, prefix + tokens so far)."""
        kind = (look.window, look.before)
        if kind not in self._masks:
            part, device = self._part, self._table.device
            seen = torch.arange(part.start, part.end, device=device)[:, None]
            columns = torch.arange(part.end, device=device)
            mask = columns <= seen
            if look.window is not None:
                mask &= columns > seen - look.window
            self._masks[kind] = F.pad(mask, (look.before, 0), value=True)
        return self._masks[kind]
