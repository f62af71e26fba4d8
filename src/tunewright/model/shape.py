"""Sizes of a decoder and of its linear layers; ``shapes`` tells them from a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["attention", "mlp"]


@dataclass(frozen=True)
class Linear:
    """A linear layer of a block: y = x·Wᵀ + b with W (outputs, inputs)."""

    name: str
    role: Role
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Entries of W."""
        return self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Entries of W and b."""
        return self.weights + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        family: ``model_type`` of the config.
        layers: number of blocks.
        hidden: channels of the residual stream.
        heads: query heads.
        kv_heads: heads of keys and values.
        head_dim: channels per head.
        inner: channels inside the MLP.
        vocabulary: rows of the embedding.
        context: most positions that the base was made for.
        linears: linear layers of one block, in the order of use; of experts only shared ones are.
        norms: norms of the residual stream in one block.
        head_norms: whether queries and keys are normalised per head.
        tied: whether the head is the embedding.
        experts: weights of one block's routed experts and their router, which are no linear layers:
            adapters and quantising leave them alone.
        active: those of them that one token is multiplied with.
        rank_norms: channels of the norms inside an attention through low ranks.
        dense: how many blocks have an MLP instead of experts.
        dense_linears: linear layers of such a block.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    linears: tuple[Linear, ...]
    norms: int
    head_norms: bool
    tied: bool
    experts: int = 0
    active: int = 0
    rank_norms: int = 0
    dense: int = 0
    dense_linears: tuple[Linear, ...] = ()

    @property
    def queries(self) -> int:
        """Channels of all query heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Channels of all key heads, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of a head of its own."""
        return self.vocabulary * self.hidden

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers in all blocks, biases left out: what quantising shrinks."""
        usual = sum(linear.weights for linear in self.linears)
        dense = sum(linear.weights for linear in self.dense_linears)
        return (self.layers - self.dense) * usual + self.dense * dense

    @property
    def block(self) -> int:
        """Weights of one block; where there are experts, of one that has them."""
        return sum(linear.parameters for linear in self.linears) + self._norms + self.experts

    @property
    def parameters(self) -> int:
        """All weights, shared ones once."""
        embeddings = self.embedding * (1 if self.tied else 2)
        dense = sum(linear.parameters for linear in self.dense_linears) + self._norms
        blocks = (self.layers - self.dense) * self.block + self.dense * dense
        return embeddings + blocks + self.hidden

    @property
    def multiplied(self) -> int:
        """Weights in the blocks that every token is multiplied with."""
        return self.linear_weights + (self.layers - self.dense) * self.active

    @property
    def computing(self) -> int:
        """Weights that every token is multiplied with: all but the embedding's, which is looked
        up; a head that shares them counts."""
        return self.multiplied + self.embedding

    @property
    def _norms(self) -> int:
        heads = 2 * self.head_dim if self.head_norms else 0
        return self.norms * self.hidden + heads + self.rank_norms
