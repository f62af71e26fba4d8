"""Keys and values in blocks, and attention over them.

The memory is taken once, when the first token comes by, and never moved. One forward pass may
hold rows that grow by one token beside stretches of prompts. All of its keys and values are
written before any is read, so that a row can share blocks with another row of the same pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tunewright.model.kv_blocks import BLOCK
from tunewright.model.tuners.prefix_slots import prefix_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Tokens that are laid side by side for one product: bounds the memory of a pass.
_MOST_GATHERED = 1 << 16


@dataclass(frozen=True)
class Part:
    """What one row contributes to a forward pass.

    Attributes:
        tokens: ids to read.
        start: position of the first of them; all before are in the cache.
        blocks: where the row's tokens lie, those of this pass included.
        wanted: which of the tokens' logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    wanted: Sequence[int]

    @property
    def end(self) -> int:
        """Length of the row after this pass."""
        return self.start + len(self.tokens)


class KvCache:
    """Keys and values of every layer.

    Args:
        model: a loaded base with our attention.
        blocks: how many blocks of ``BLOCK`` tokens there are.
    """

    def __init__(self, model: PreTrainedModel, blocks: int) -> None:
        self._model = model
        self.blocks = blocks
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._scratch: dict[tuple[int, int], Tensor] = {}

    @torch.inference_mode()
    def read(self, plan: Pass) -> Tensor:
        """One forward pass.

        Returns:
            Logits (wanted, vocab) of each part's wanted tokens, part by part, in the model's type.
        """
        output = self._model(
            input_ids=plan.ids,
            position_ids=plan.positions,
            # Any four-dimensional mask keeps the model from making one; the pass brings its own.
            attention_mask=plan.no_mask,
            logits_to_keep=plan.wanted,
            use_cache=False,
            kv_pass=plan,
        )
        return cast(Tensor, output.logits[0])

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return cast(torch.device, self._model.device)

    def write(self, layer: int, rows: Tensor, key: Tensor, value: Tensor) -> None:
        """Keep new keys and values (heads, tokens, head_dim) at ``rows`` (heads * tokens,)."""
        if layer not in self._layers:
            # Blocks that nobody holds yet may be read under a mask: NaN would pass through it.
            self._layers[layer] = (self._room(key), self._room(value))
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            flat = kept.view(-1, kept.shape[-1])
            flat.index_copy_(0, rows, new.reshape(-1, new.shape[-1]))

    def gather(self, layer: int, places: Tensor, side: int) -> Tensor:
        """Blocks (places, BLOCK, head_dim) of keys (side 0) or values (side 1), in a shared buffer.

        What an earlier call of the same side returned is overwritten.
        """
        kept = self._layers[layer][side].flatten(0, 1)
        shape = (places.shape[0], BLOCK, kept.shape[-1])
        buffer = self._scratch.get((side, kept.shape[-1]))
        if buffer is None or buffer.shape[0] < shape[0]:
            buffer = kept.new_empty(shape)
            self._scratch[side, kept.shape[-1]] = buffer
        return torch.index_select(kept, 0, places, out=buffer[: shape[0]])

    def _room(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.blocks, like.shape[0], BLOCK, like.shape[-1])


def bytes_per_token(model: PreTrainedModel) -> int:
    """Memory of one token's keys and values in all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


class Pass:
    """One forward pass: its inputs, and what each of its tokens attends to.

    Args:
        cache: where keys and values are.
        parts: what is read.

    Attributes:
        ids, positions: (1, tokens).
        no_mask: a mask that says nothing.
        wanted: (wanted,), places of the tokens whose logits are asked for.
        owners: for each token, the number of the part that it belongs to.
    """

    def __init__(self, cache: KvCache, parts: Sequence[Part]) -> None:
        self._cache = cache
        device = cache.device
        growing = [n for n, part in enumerate(parts) if len(part.tokens) == 1]
        growing.sort(key=lambda n: parts[n].end)
        reading = [n for n, part in enumerate(parts) if len(part.tokens) > 1]
        self._groups = _groups([parts[n] for n in growing], device)
        self._documents = _documents([parts[n] for n in reading], len(growing), device)
        order = growing + reading
        self.owners = [n for n in order for _ in parts[n].tokens]
        first: dict[int, int] = {}
        ids: list[int] = []
        positions: list[int] = []
        kept: list[int] = []
        for n in order:
            part = parts[n]
            first[n] = len(ids)
            ids += part.tokens
            places = range(part.start, part.end)
            positions += places
            kept += [part.blocks[place // BLOCK] * BLOCK + place % BLOCK for place in places]
        wanted = [first[n] + place for n, part in enumerate(parts) for place in part.wanted]
        numbers = torch.tensor([ids, positions, kept]).to(device)
        self.ids, self.positions, self._kept = numbers[0:1], numbers[1:2], numbers[2]
        self.wanted = torch.tensor(wanted, dtype=torch.long).to(device)
        self.no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
        self._places: dict[int, Tensor] = {}

    def attention(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> Tensor:
        """Keep a layer's keys and values, and attend.

        Args:
            module: the attention layer.
            query: (1, heads, tokens, head_dim).
            key, value: (1, kv_heads, tokens, head_dim).
            options: ``scaling`` and ``sliding_window`` as transformers passes them.

        Returns:
            (1, tokens, heads, head_dim).
        """
        layer, heads = int(module.layer_idx), key.shape[1]
        self._cache.write(layer, self._rows(heads), key[0], value[0])
        scale = options.get("scaling")
        look = _Look(
            heads=heads,
            scale=query.shape[-1] ** -0.5 if scale is None else scale,
            window=options.get("sliding_window"),
            prefix=prefix_of(module, key),
        )
        found = [group.attention(self._cache, layer, query[0], look) for group in self._groups]
        found += [
            document.attention(self._cache, layer, (query, key, value), look)
            for document in self._documents
        ]
        return torch.cat(found)[None] if len(found) > 1 else found[0][None]

    def _rows(self, heads: int) -> Tensor:
        """Where the tokens of every head go: (heads * tokens,)."""
        if heads not in self._places:
            block, offset = self._kept // BLOCK, self._kept % BLOCK
            head = torch.arange(heads, device=self._kept.device)[:, None]
            self._places[heads] = ((block * heads + head) * BLOCK + offset).flatten()
        return self._places[heads]


@dataclass(frozen=True)
class _Look:
    """How a layer attends."""

    heads: int
    scale: float
    window: int | None
    prefix: tuple[Tensor, Tensor] | None


def _places_of(table: Tensor, heads: int) -> Tensor:
    """Block ids (rows, blocks) → places of their heads (rows * heads * blocks,)."""
    head = torch.arange(heads, device=table.device)[None, :, None]
    return (table[:, None, :] * heads + head).flatten()


class _Group:
    """Rows that grow by one token each, of similar length.

    Scores of one query are a product so small that fused attention kernels take three times as
    long on CPU as these two batched products.
    """

    def __init__(self, parts: Sequence[Part], first: int, device: torch.device) -> None:
        self._first = first
        width = max(-(-part.end // BLOCK) for part in parts)
        table = [[*part.blocks[:width], *([0] * (width - len(part.blocks)))] for part in parts]
        self._table = torch.tensor(table).to(device)
        self._lengths = torch.tensor([part.end for part in parts]).to(device)
        self._places: dict[int, Tensor] = {}
        self._masks: dict[tuple[int | None, int], Tensor] = {}

    def attention(self, cache: KvCache, layer: int, query: Tensor, look: _Look) -> Tensor:
        """(heads, all tokens, head_dim) → (rows, heads, head_dim) for this group's tokens."""
        rows, width = self._table.shape
        if look.heads not in self._places:
            self._places[look.heads] = _places_of(self._table, look.heads)
        places = self._places[look.heads]
        both = [
            cache.gather(layer, places, side).view(rows * look.heads, width * BLOCK, -1)
            for side in (0, 1)
        ]
        tokens = 0
        if look.prefix is not None:
            tokens = look.prefix[0].shape[2]
            both = [
                torch.cat([before[0].repeat(rows, 1, 1), own], dim=1)
                for before, own in zip(look.prefix, both, strict=True)
            ]
        keys, values = both
        length = keys.shape[1]
        asked = query[:, self._first : self._first + rows].transpose(0, 1)
        asked = asked.reshape(rows * look.heads, -1, query.shape[-1])
        scores = torch.bmm(asked, keys.transpose(1, 2)).view(rows, -1, length)
        shares = torch.add(self._mask(look.window, tokens), scores, alpha=look.scale).softmax(-1)
        mixed = torch.bmm(shares.to(values.dtype).view(rows * look.heads, -1, length), values)
        return mixed.view(rows, -1, values.shape[-1])

    def _mask(self, window: int | None, tokens: int) -> Tensor:
        """Float32 (rows, 1, tokens + columns): 0 where a row looks, minus infinity elsewhere."""
        if (window, tokens) not in self._masks:
            columns = torch.arange(self._table.shape[1] * BLOCK, device=self._table.device)
            lengths = self._lengths[:, None]
            hidden = columns >= lengths
            if window is not None:
                hidden |= columns < lengths - window
            mask = torch.zeros(hidden.shape, device=hidden.device)
            mask.masked_fill_(hidden, float("-inf"))
            self._masks[window, tokens] = F.pad(mask, (tokens, 0))[:, None]
        return self._masks[window, tokens]


class _Document:
    """A stretch of one row's tokens, some of whose earlier ones may be in the cache."""

    def __init__(self, part: Part, first: int, device: torch.device) -> None:
        self._span = slice(first, first + len(part.tokens))
        self._part = part
        width = -(-part.end // BLOCK)
        self._table = torch.tensor([list(part.blocks[:width])]).to(device)
        self._masks: dict[tuple[int | None, int], Tensor] = {}

    def attention(
        self, cache: KvCache, layer: int, states: tuple[Tensor, Tensor, Tensor], look: _Look
    ) -> Tensor:
        """Of (1, heads, all tokens, head_dim) each → (tokens, heads, head_dim)."""
        query, key, value = (state[:, :, self._span] for state in states)
        if self._part.start:
            places = _places_of(self._table, look.heads)
            key, value = (
                cache.gather(layer, places, side).view(1, look.heads, -1, state.shape[-1])
                for side, state in ((0, key), (1, value))
            )
            key, value = key[:, :, : self._part.end], value[:, :, : self._part.end]
        tokens = 0
        if look.prefix is not None:
            tokens = look.prefix[0].shape[2]
            key, value = (
                torch.cat([before, own], dim=2)
                for before, own in zip(look.prefix, (key, value), strict=True)
            )
        simple = key.shape[2] == query.shape[2] and (
            look.window is None or query.shape[2] <= look.window
        )
        output = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if simple else self._mask(look.window, tokens),
            is_causal=simple,
            scale=look.scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return output[0].transpose(0, 1)

    def _mask(self, window: int | None, tokens: int) -> Tensor:
        """Boolean (tokens of the stretch, prefix + tokens so far)."""
        if (window, tokens) not in self._masks:
            part, device = self._part, self._table.device
            seen = torch.arange(part.start, part.end, device=device)[:, None]
            columns = torch.arange(part.end, device=device)
            mask = columns <= seen
            if window is not None:
                mask &= columns > seen - window
            self._masks[window, tokens] = F.pad(mask, (tokens, 0), value=True)
        return self._masks[window, tokens]


def _groups(parts: Sequence[Part], device: torch.device) -> list[_Group]:
    """Rows, shortest first, in groups where padding to the longest wastes less than half."""
    groups: list[_Group] = []
    first = 0
    for place in range(1, len(parts) + 1):
        if place < len(parts):
            shortest, longest = parts[first].end, parts[place].end
            gathered = (place + 1 - first) * longest
            if longest <= 2 * shortest + 4 * BLOCK and gathered <= _MOST_GATHERED:
                continue
        groups.append(_Group(parts[first:place], first, device))
        first = place
    return groups


def _documents(parts: Sequence[Part], first: int, device: torch.device) -> list[_Document]:
    documents: list[_Document] = []
    for part in parts:
        documents.append(_Document(part, first, device))
        first += len(part.tokens)
    return documents
