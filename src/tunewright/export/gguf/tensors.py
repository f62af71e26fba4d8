"""A base's merged weights as llama.cpp's tensors: renamed, rearranged, experts stacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tunewright.export.gguf.architecture import Architecture, arranged, tensor_names
from tunewright.export.gguf.rotary import factor_tensors
from tunewright.export.gguf.sizes import head_size
from tunewright.export.merging import MergedWeights


class Tensors:
    """What a GGUF file holds of a model, each tensor computed when it is asked for.

    Args:
        weights: of the model.
        architecture: of its base.
        config: settings of its base.

    Attributes:
        shapes: by llama.cpp's names, in the order of the file.

    Raises:
        ModelError: a tensor that the architecture does not have.
    """

    def __init__(
        self, weights: MergedWeights, architecture: Architecture, config: Mapping[str, Any]
    ) -> None:
        self._weights = weights
        self._architecture = architecture
        self._config = config
        self._parts = tensor_names(
            architecture, weights.stored, bool(config.get("tie_word_embeddings"))
        )
        self._computed = factor_tensors(config, head_size(config))
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._computed.items()}
        self.shapes |= {name: self._shape(parts) for name, parts in self._parts.items()}

    def read(self, name: str) -> Tensor:
        """A tensor in float32, by llama.cpp's name.

        Raises:
            ModelError: an adapter's tensors do not fit it.
        """
        if name in self._computed:
            return self._computed[name]
        parts = [self._part(part) for part in self._parts[name]]
        return parts[0] if len(parts) == 1 else torch.stack(parts)

    def _part(self, name: str) -> Tensor:
        tensor = self._weights.read(name)
        return arranged(self._architecture, self._config, name, tensor).contiguous()

    def _shape(self, parts: tuple[str, ...]) -> tuple[int, ...]:
        shape = self._weights.shape(parts[0])
        return shape if len(parts) == 1 else (len(parts), *shape)
