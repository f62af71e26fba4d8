"""A decoder's forward pass over cached rows, in fewer operations than the model's own.

In a step that adds one token to a few dozen rows, what a model does between its matrix products
takes as long as the products. The models of Llama's family differ in two details only (Touvron et
al. 2023, arXiv 2302.13971; Qwen3 norms queries and keys, arXiv 2505.09388), so that one leaner
pass does for all of them. It rounds where the model's own rounds, and in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tunewright.model.joint_linear import Joint
from tunewright.model.tuners.prefix_slots import tokens_before

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunewright.model.kv_pass import Pass

# By class: how many tokens a layer looks back, from its attention and the config; None is all.
_WINDOWS: dict[str, Callable[[Any, Any], int | None]] = {
    "LlamaForCausalLM": lambda attention, config: None,
    "MistralForCausalLM": lambda attention, config: config.sliding_window,
    "Qwen2ForCausalLM": lambda attention, config: attention.sliding_window,
    "Qwen3ForCausalLM": lambda attention, config: attention.sliding_window,
}


class LeanDecoder:
    """Runs a model over cached rows.

    Args:
        model: one that ``suits``; its norms must not change any more.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: Any = model
        inner = self._model.model
        window = _WINDOWS[type(model).__name__]
        self._layers = [
            _Layer(layer, window(layer.self_attn, model.config)) for layer in inner.layers
        ]
        self._norm = _Norm(inner.norm.weight, inner.norm)

    @staticmethod
    def suits(model: PreTrainedModel) -> bool:
        """Whether the model is of a kind that is known here."""
        return type(model).__name__ in _WINDOWS and model.config.hidden_act == "silu"

    @property
    def joints(self) -> list[Joint]:
        """The layers that are computed together."""
        return [joint for layer in self._layers for joint in layer.joints]

    def read(self, plan: Pass) -> Tensor:
        """One forward pass.

        Returns:
            Logits (wanted, vocab).
        """
        inner = self._model.model
        hidden: Tensor = inner.embed_tokens(plan.ids)
        positions = plan.positions + tokens_before(inner.layers[0].self_attn)
        turn = _turn(*inner.rotary_emb(hidden, positions))
        hidden = hidden[0]
        for layer in self._layers:
            hidden = layer(hidden, turn, plan)
        wanted = self._norm(hidden.index_select(0, plan.wanted))
        logits: Tensor = self._model.lm_head(wanted)
        return logits


class _Layer:
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, layer: Any, window: int | None) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._attention = attention
        self._inputs = Joint(attention, ("q_proj", "k_proj", "v_proj"))
        self._output = Joint(attention, ("o_proj",))
        self._up = Joint(mlp, ("gate_proj", "up_proj"))
        self._down = Joint(mlp, ("down_proj",))
        self._before = _Norm(layer.input_layernorm.weight, layer.input_layernorm)
        self._between = _Norm(layer.post_attention_layernorm.weight, layer.post_attention_layernorm)
        self._size = int(attention.head_dim)
        # Heads of queries, and of queries and keys.
        self._queries, keys, _ = (width // self._size for width in self._inputs.widths)
        self._turned = self._queries + keys
        self._by_head = _head_norm(attention, self._queries, keys)
        self._options = {"scaling": attention.scaling, "sliding_window": window}

    @property
    def joints(self) -> list[Joint]:
        return [self._inputs, self._output, self._up, self._down]

    def __call__(self, hidden: Tensor, turn: tuple[Tensor, Tensor], plan: Pass) -> Tensor:
        """(tokens, hidden) → the same."""
        hidden = self._attend(self._before(hidden), turn, plan).add_(hidden)
        gate, up = self._up(self._between(hidden)).chunk(2, dim=-1)
        return self._down(F.silu(gate).mul_(up)).add_(hidden)

    def _attend(self, x: Tensor, turn: tuple[Tensor, Tensor], plan: Pass) -> Tensor:
        heads = self._inputs(x).view(x.shape[0], -1, self._size)
        turned, value = heads[:, : self._turned], heads[:, self._turned :]
        if self._by_head is not None:
            turned = self._by_head(turned)
        cos, sin = turn
        rolled = turned.roll(self._size // 2, dims=-1).mul_(sin)
        turned = (turned * cos).add_(rolled)
        query, key = turned[:, : self._queries], turned[:, self._queries :]
        query, key, value = (state.transpose(0, 1)[None] for state in (query, key, value))
        mixed = plan.attention(self._attention, query, key, value, self._options)
        return self._output(mixed.reshape(x.shape[0], -1))


class _Norm:
    """Root mean square norm (Zhang and Sennrich 2019, arXiv 1910.07467).

    Args:
        weight: (…, size).
        like: the model's own.
    """

    def __init__(self, weight: Tensor, like: Any) -> None:
        self._weight = weight.detach()
        self._size = weight.shape[-1:]
        self._epsilon = float(like.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """(…, size) → the same, fresh."""
        # The weight comes after the rounding, as in the models.
        return F.rms_norm(x, self._size, None, self._epsilon).mul_(self._weight)


def _head_norm(attention: Any, queries: int, keys: int) -> _Norm | None:
    """One norm for the heads of queries and keys, where there are any."""
    if not hasattr(attention, "q_norm"):
        return None
    own = (attention.q_norm, queries), (attention.k_norm, keys)
    weight = torch.cat([norm.weight.detach().expand(heads, -1) for norm, heads in own])
    return _Norm(weight, attention.q_norm)


def _turn(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotary factors (1, tokens, size) for all heads: (tokens, 1, size) each.

    Rolled by half their size, a head's channels meet their partners; the first half takes the
    partner's part away.
    """
    half = sin.shape[-1] // 2
    signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    return cos[0][:, None], signed[0][:, None]
