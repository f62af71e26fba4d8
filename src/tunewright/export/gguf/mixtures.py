"""Which type each matrix of a GGUF file gets: one row per ``--gguf``.

Where k-quants spend more bits follows llama.cpp's measurements of which matrices suffer most:
the output, the values of attention, and the last matrix of a layer, there where a model begins
and ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as Kind

from tunewright.config.export import GgufType

_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
_VALUES = ("attn_v", "attn_qkv")
_ENDS = ("ffn_down", "ffn_down_exps")
_ROUTER = "ffn_gate_inp"

Layers = Callable[[int, int], bool]
"""Whether the layer of a number is among those of a model with so many."""


def _all(layer: int, layers: int) -> bool:
    return True


def _first(count: int) -> Layers:
    return lambda layer, layers: layer < count


def _first_of(parts: int) -> Layers:
    """The first of so many equal parts of the layers."""
    return lambda layer, layers: layer < layers // parts


def _outer_and_every_third(layer: int, layers: int) -> bool:
    """The first and last eighth, and every third layer between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


@dataclass(frozen=True)
class Mixture:
    """The types of one ``--gguf``.

    Attributes:
        file: what the file says of itself.
        usual: type of every matrix that is not named below.
        output: of the matrix that gives the logits, if it is another.
        raised: matrices of a layer with another type, and in which layers; the first that holds
            counts.
    """

    file: LlamaFileType
    usual: Kind
    output: Kind | None = None
    raised: tuple[tuple[tuple[str, ...], Layers, Kind], ...] = ()

    def kinds(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Kind]:
        """How each of a model's tensors is stored.

        Vectors are in float32, and routers of experts: small, and a hair decides between two.

        Args:
            shapes: of all of them, by llama.cpp's names.
        """
        layers = 1 + max((_layer(name)[0] for name in shapes), default=-1)
        # A model without an output matrix computes the logits by its embedding.
        output = _OUTPUT if _OUTPUT in shapes else _EMBEDDING
        return {
            name: _fitting(self._wanted(name, layers, output), shape[-1])
            if len(shape) > 1 and _layer(name)[1] != _ROUTER
            else Kind.F32
            for name, shape in shapes.items()
        }

    def _wanted(self, name: str, layers: int, output: str) -> Kind:
        if name == output:
            return self.output or self.usual
        layer, inner = _layer(name)
        fitting = (kind for names, where, kind in self.raised
                   if inner in names and where(layer, layers))  # fmt: skip
        return next(fitting, self.usual)


def _layer(name: str) -> tuple[int, str]:
    """Number of a tensor's layer and its name there; -1 for those outside."""
    match = _BLOCK.fullmatch(name)
    return (int(match[1]), match[2]) if match else (-1, name)


def _fitting(kind: Kind, columns: int) -> Kind:
    """A type whose blocks fill rows of so many columns."""
    while columns % GGML_QUANT_SIZES[kind][0]:
        kind = _SMALLER_BLOCKS.get(kind, Kind.F16)
    return kind


_SMALLER_BLOCKS: Mapping[Kind, Kind] = MappingProxyType(
    {Kind.Q6_K: Kind.Q8_0, Kind.Q5_K: Kind.Q5_1, Kind.Q4_K: Kind.Q5_0, Kind.Q3_K: Kind.Q4_0,
     Kind.Q2_K: Kind.Q4_0}
)  # fmt: skip
"""For rows that 256 does not divide: blocks of 32 with no fewer bits."""

MIXTURES: Mapping[GgufType, Mixture] = MappingProxyType(
    {
        "f32": Mixture(LlamaFileType.ALL_F32, Kind.F32),
        "f16": Mixture(LlamaFileType.MOSTLY_F16, Kind.F16),
        "bf16": Mixture(LlamaFileType.MOSTLY_BF16, Kind.BF16),
        "q8_0": Mixture(LlamaFileType.MOSTLY_Q8_0, Kind.Q8_0),
        "q6_k": Mixture(LlamaFileType.MOSTLY_Q6_K, Kind.Q6_K),
        "q5_k_m": Mixture(
            LlamaFileType.MOSTLY_Q5_K_M,
            Kind.Q5_K,
            Kind.Q6_K,
            (((*_VALUES, *_ENDS), _outer_and_every_third, Kind.Q6_K),),
        ),
        "q5_k_s": Mixture(LlamaFileType.MOSTLY_Q5_K_S, Kind.Q5_K, Kind.Q6_K),
        "q5_1": Mixture(LlamaFileType.MOSTLY_Q5_1, Kind.Q5_1),
        "q5_0": Mixture(LlamaFileType.MOSTLY_Q5_0, Kind.Q5_0),
        "q4_k_m": Mixture(
            LlamaFileType.MOSTLY_Q4_K_M,
            Kind.Q4_K,
            Kind.Q6_K,
            (((*_VALUES, *_ENDS), _outer_and_every_third, Kind.Q6_K),),
        ),
        "q4_k_s": Mixture(
            LlamaFileType.MOSTLY_Q4_K_S,
            Kind.Q4_K,
            Kind.Q6_K,
            ((_VALUES, _first(4), Kind.Q5_K), (_ENDS, _first_of(8), Kind.Q5_K)),
        ),
        "q4_1": Mixture(LlamaFileType.MOSTLY_Q4_1, Kind.Q4_1),
        "q4_0": Mixture(LlamaFileType.MOSTLY_Q4_0, Kind.Q4_0),
        "q3_k_m": Mixture(
            LlamaFileType.MOSTLY_Q3_K_M,
            Kind.Q3_K,
            Kind.Q6_K,
            (
                (_VALUES, _first(2), Kind.Q5_K),
                (_ENDS, _first_of(16), Kind.Q5_K),
                ((*_VALUES, *_ENDS, "attn_output"), _all, Kind.Q4_K),
            ),
        ),
        "q2_k": Mixture(
            LlamaFileType.MOSTLY_Q2_K,
            Kind.Q2_K,
            Kind.Q6_K,
            ((_VALUES, _all, Kind.Q4_K), ((*_ENDS, "attn_output"), _all, Kind.Q3_K)),
        ),
    }
)
"""By the value of ``--gguf``, from most bits to fewest."""
