"""Texts as vectors: the mean of a base's last hidden states.

Bases are trained to write, not to compare: such vectors tell topics apart, and no more. A model
that was trained for embeddings does much better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def mean_states(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Tensor:
    """Vectors of length 1 in float32, (texts, hidden), from token ids."""
    lengths = [len(text) for text in texts]
    device = model.device
    positions = [place for length in lengths for place in range(length)]
    output = model.get_decoder()(
        input_ids=torch.tensor([[token for text in texts for token in text]], device=device),
        position_ids=torch.tensor([positions], device=device),
        cu_seqlens=F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).int(),
        use_cache=False,
    )
    states = output.last_hidden_state[0].float().split(lengths)
    return F.normalize(torch.stack([state.mean(dim=0) for state in states]), dim=-1)
