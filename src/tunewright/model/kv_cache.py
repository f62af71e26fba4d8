"""Keys and values in blocks: where they are kept.

The memory is taken once, when the first token comes by, and never moved. One forward pass may
hold rows that grow by one token beside stretches of prompts. All of its keys and values are
written before any is read, so that a row can share blocks with another row of the same pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tunewright.model.kv_blocks import BLOCK, Extent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CLEANED_AT_ONCE = 64


@dataclass(frozen=True)
class Part:
    """What one row contributes to a forward pass.

    Attributes:
        tokens: ids to read.
        start: position of the first of them; all before are in the cache.
        extent: where the row's tokens lie; it has room for those of this pass.
        wanted: which of the tokens' logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    extent: Extent
    wanted: Sequence[int]

    @property
    def end(self) -> int:
        """Length of the row after this pass."""
        return self.start + len(self.tokens)


class KvCache:
    """Keys and values of every layer.

    Args:
        device: where it lies.
        blocks: how many blocks of ``BLOCK`` tokens there are.

    Attributes:
        device, blocks: as given.
        spare: tokens that rows which grow together may be laid out for once more, see
            ``kv_windows``: as many as the cache itself holds.
    """

    def __init__(self, device: torch.device, blocks: int) -> None:
        self.device = device
        self.blocks = blocks
        self.spare = blocks * BLOCK
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._clean: dict[int, int] = {}
        self._scratch: dict[tuple[int, int], Tensor] = {}

    def write(self, layer: int, rows: Tensor, states: Sequence[Tensor], last: int) -> None:
        """Keep new keys and values.

        Args:
            layer: which one.
            rows: where each head's tokens go, (heads * tokens,).
            states: keys and values, (heads, tokens, head_dim) each.
            last: the highest block that any row of this pass holds.
        """
        if layer not in self._layers:
            self._layers[layer] = (self._room(states[0]), self._room(states[1]))
            self._clean[layer] = 0
        if last >= self._clean[layer]:
            # Blocks are read under a mask before they are full, and what is not a number would
            # pass through it. Cleaned as they are needed: untouched memory takes none.
            upto = min(self.blocks, last + _CLEANED_AT_ONCE)
            for kept in self._layers[layer]:
                kept[self._clean[layer] : upto] = 0
            self._clean[layer] = upto
        for kept, new in zip(self._layers[layer], states, strict=True):
            put(kept, rows, new)

    def gather(self, layer: int, table: Tensor, side: int) -> Tensor:
        """Rows' keys (side 0) or values (side 1), in a shared buffer.

        What an earlier call of the same side returned is overwritten.

        Args:
            layer: which one.
            table: block ids, (rows, blocks).
            side: 0 or 1.

        Returns:
            (rows, heads, blocks * BLOCK, head_dim).
        """
        kept = self._layers[layer][side]
        heads, size = kept.shape[1], kept.shape[3]
        head = torch.arange(heads, device=table.device)[None, :, None]
        places = (table[:, None, :] * heads + head).flatten()
        shape = (places.shape[0], BLOCK, size)
        buffer = self._scratch.get((side, size))
        if buffer is None or buffer.shape[0] < shape[0]:
            buffer = kept.new_empty(shape)
            self._scratch[side, size] = buffer
        found = torch.index_select(kept.flatten(0, 1), 0, places, out=buffer[: shape[0]])
        return found.view(table.shape[0], heads, -1, size)

    def _room(self, like: Tensor) -> Tensor:
        return like.new_empty(self.blocks, like.shape[0], BLOCK, like.shape[-1])


def put(kept: Tensor, rows: Tensor, new: Tensor) -> None:
    """Write vectors (…, head_dim) over those rows of ``kept`` (…, head_dim)."""
    size = kept.shape[-1]
    kept.view(-1, size).index_copy_(0, rows, new.reshape(-1, size))


def bytes_per_token(model: PreTrainedModel) -> int:
    """Memory of one token's keys and values in all layers."""
    config = model.config.get_text_config()
    if hasattr(config, "kv_lora_rank"):
        # Attention through a low rank: every head's own keys and values are kept, as they are used.
        width = config.num_attention_heads * (config.qk_head_dim + config.v_head_dim)
        return int(config.num_hidden_layers * width * model.dtype.itemsize)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)
