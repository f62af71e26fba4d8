"""A network without weights, which get their numbers as these are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tunewright.core.errors import ModelError
from tunewright.model.packed_attention import register
from tunewright.model.weights import stored_tensors, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def unfilled_network(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The network that ``config.json`` describes; its parameters hold anything.

    Buffers, such as the rotary embedding's frequencies, are as they should be.

    Raises:
        ModelError: an architecture that transformers does not hold.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    try:
        config = AutoConfig.from_pretrained(folder)
        # It says how the weights lie in files, which is no matter of the network.
        vars(config).pop("quantization_config", None)
        with no_init_weights():
            network: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation=register()
            )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ModelError(f"{folder} describes no network: {error}") from None
    network.tie_weights()
    network.requires_grad_(False)
    return network.eval()


def hollow_network(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """As ``unfilled_network``, but all parameters are empty."""
    network = unfilled_network(folder, dtype)
    # What was set aside for them was never touched, so that it never took memory.
    empty(network)
    return network


def empty(module: nn.Module) -> None:
    """Let go of a module's numbers."""
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)


def fill(
    parameters: Iterable[tuple[str, nn.Parameter]],
    read: Callable[[str], Tensor],
    device: torch.device,
) -> None:
    """Give parameters their numbers, in the type that they have."""
    for name, parameter in parameters:
        parameter.data = read(name).to(device, parameter.dtype)


class TensorFolder:
    """The tensors of a folder's safetensors files, each read when it is asked for.

    Raises:
        ModelError: there are none, or a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {name: file for file in weight_files(folder) for name in stored_tensors(file)}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def read(self, name: str) -> Tensor:
        """A tensor as it is stored.

        Raises:
            ModelError: it is missing.
        """
        if name not in self._files:
            raise ModelError(f"{self._folder} lacks {name}")
        with safe_open(self._files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def starting(self, start: str) -> dict[str, Tensor]:
        """Every tensor whose name starts so, by the rest of its name."""
        found = (name for name in self._files if name.startswith(start))
        return {name.removeprefix(start): self.read(name) for name in found}
