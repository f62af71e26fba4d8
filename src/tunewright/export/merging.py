"""A base's weights with the tuned models on it written in, one tensor at a time.

Merging is done in float32 whatever the base's type is, and rounded once, at the end. No model is
built, so the memory is that of the largest tensor and the adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tunewright.core.errors import ModelError
from tunewright.model.folders import read_json
from tunewright.model.references import Resolved
from tunewright.model.tuners.files import tuner_of
from tunewright.model.tuners.ia3 import read_ia3
from tunewright.model.tuners.lora import DoraPart, LoraPart, read_lora, stored_scale
from tunewright.model.tuners.tensors import tensor_files
from tunewright.model.weights import StoredTensor, stored_tensors, weight_files

Edit = Callable[[Tensor], Tensor]
"""A weight in float32 → the weight with one tuned model written in."""

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_HEAD = "lm_head.weight"


class MergedWeights:
    """The weights that a resolved model answers with, by the base's own names.

    Args:
        found: a base with tuned models that can be written into its weights.

    Attributes:
        stored: the base's tensors where they lie, in the order of its files.

    Raises:
        ModelError: a prefix or a bottleneck, which no weight can hold, or a layer that the base's
            files keep under another name.
    """

    def __init__(self, found: Resolved) -> None:
        self.stored: dict[str, StoredTensor] = {}
        for file in weight_files(found.base.folder):
            self.stored |= stored_tensors(file)
        config = read_json(found.base.folder / "config.json")
        if config.get("tie_word_embeddings") and len(self.stored) > 1:
            # Loaders take the embedding for the head; a copy of the head would go stale.
            self.stored.pop(_HEAD, None)
        self._refuse_packed(found)
        self._edits: dict[str, list[Edit]] = {}
        for folder in found.folders:
            for name, edit in _EDITS[_mergeable(folder)](folder).items():
                if name.endswith(".bias") and f"{name[:-5]}.weight" in self.stored:
                    if name not in self.stored:
                        continue  # a layer without a bias has none to scale
                elif name not in self.stored:
                    raise ModelError(
                        f"{folder} changes {name}, which the files of {found.base.name} keep under"
                        " another name or share with another layer",
                        "Export the adapter instead: --to adapter.",
                    )
                self._edits.setdefault(name, []).append(edit)

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(torch.Size(tensor.shape).numel() for tensor in self.stored.values())

    def dtype(self, name: str) -> torch.dtype:
        """The base's type of a tensor."""
        return _DTYPES[self.stored[name].dtype]

    def shape(self, name: str) -> tuple[int, ...]:
        """Its sizes."""
        return self.stored[name].shape

    def read(self, name: str) -> Tensor:
        """The merged tensor in float32.

        Raises:
            ModelError: an adapter's tensors do not fit it.
        """
        with safe_open(self.stored[name].file, framework="pt") as file:
            weight: Tensor = file.get_tensor(name).float()
        for edit in self._edits.get(name, ()):
            try:
                edited = edit(weight)
            except RuntimeError as error:
                raise ModelError(f"{name}: {error}", "It was made for another base.") from None
            if edited.shape != weight.shape:
                raise ModelError(
                    f"{name} has the shape {tuple(weight.shape)}, what was trained"
                    f" {tuple(edited.shape)}",
                    "It was made for another base.",
                )
            weight = edited
        return weight

    def _refuse_packed(self, found: Resolved) -> None:
        for name, tensor in self.stored.items():
            if tensor.dtype not in _DTYPES:
                raise ModelError(
                    f"base {found.base.name!r} stores {name} as {tensor.dtype}; only float32,"
                    " float16 and bfloat16 can be merged",
                    "Export the adapter instead: --to adapter.",
                )


def _mergeable(folder: Path) -> str:
    tuner = tuner_of(folder)
    if tuner not in _EDITS:
        raise ModelError(
            f"a {tuner} works beside the base's weights and cannot be written into them",
            "Export it with --to adapter where PEFT has a format for it, or serve it with"
            " `tunewright serve`."
            if tuner == "prefix"
            else "Serve it with `tunewright serve`; LoRA, IA³, freeze and full can be merged.",
        )
    return tuner


def _lora_edits(folder: Path) -> dict[str, Edit]:
    settings, layers = read_lora(folder)
    return {
        f"{path}.weight": _lora_edit(tensors, stored_scale(settings, tensors["lora_A"].shape[0]))
        for path, tensors in layers.items()
    }


def _lora_edit(tensors: dict[str, Tensor], scale: float) -> Edit:
    a, b, magnitude = (tensors.get(f"lora_{k}") for k in ("A", "B", "magnitude_vector"))
    if a is None or b is None:
        raise ModelError("a LoRA pair is incomplete")
    pair = a, b

    def edit(weight: Tensor) -> Tensor:
        if magnitude is None:
            return LoraPart(*pair, scale).merged(weight)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        return DoraPart(*pair, scale, 0.0, layer, magnitude).merged(weight)

    return edit


def _ia3_edits(folder: Path) -> dict[str, Edit]:
    edits: dict[str, Edit] = {}
    for path, factors in read_ia3(folder).items():
        edits[f"{path}.weight"] = _scaled(factors)
        if factors.shape[1] == 1:
            # Only outputs' factors reach the bias, where the layer has one.
            edits[f"{path}.bias"] = _scaled(factors[:, 0])
    return edits


def _scaled(factors: Tensor) -> Edit:
    return lambda weight: weight * factors.float()


def _replaced(folder: Path) -> dict[str, Edit]:
    return {
        name: _copied(file, name) for file in tensor_files(folder) for name in stored_tensors(file)
    }


def _copied(path: Path, name: str) -> Edit:
    def edit(_: Tensor) -> Tensor:
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor.float()

    return edit


_EDITS: dict[str, Callable[[Path], dict[str, Edit]]] = {
    "lora": _lora_edits,
    "ia3": _ia3_edits,
    "full": _replaced,
    "freeze": _replaced,
}
