"""What a network's layers see of the rows that it was trained on, one block at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tunewright.config.export import QuantizeConfig
from tunewright.core.dataset_io import read_passages, read_rows
from tunewright.core.errors import ConfigError
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.export.gptq import SecondMoments
from tunewright.export.prompts import dataset_of, evenly
from tunewright.export.skeleton import empty, fill
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.targets import blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Read = Callable[[str], Tensor]
Rounded = Callable[[str, Tensor, Tensor], Tensor]
"""A layer's name, its weight, and the mean of its inputs' x xᵀ → the weight once rounded."""


def calibration_ids(
    found: Resolved, config: QuantizeConfig, renderer: Renderer, store: Store
) -> tuple[list[list[int]], str]:
    """Training rows as training reads them, spread over the dataset, and where they are from.

    Raises:
        ConfigError: no dataset, or one without training rows.
    """
    dataset = dataset_of(found, config.dataset, store)
    if dataset is None:
        raise ConfigError(
            f"the dataset of {found.name} is not here, whose rows tell which weights matter",
            "Name one with --quantize-dataset, or round without: --quantize-method nearest.",
        )
    folder = store.folder(Dataset, dataset.id)
    if dataset.content == "text":
        texts = evenly(read_passages(folder, "train"), config.rows)
        every = [one.ids for one in renderer.render_texts([row.text for row in texts])]
    else:
        rows = evenly(read_rows(folder, "train"), config.rows)
        every = [
            renderer.prompt_ids(row.conversation)
            if row.conversation.answer is None
            else renderer.render(row.conversation).ids
            for row in rows
        ]
    most = min(config.tokens, renderer.context_length)
    cut = [ids[:most] for ids in every if ids]
    if not cut:
        raise ConfigError(f"dataset {dataset.id} has no training rows", "Name another one.")
    return cut, f"{len(cut)} training rows of {dataset.name} ({dataset.id})"


def packed(rows: Sequence[Sequence[int]], most: int) -> list[list[list[int]]]:
    """Rows put together to batches of at most so many tokens; a longer row stands alone."""
    batches: list[list[list[int]]] = []
    room = 0
    for row in rows:
        if len(row) > room:
            batches.append([])
            room = most
        batches[-1].append(list(row))
        room -= len(row)
    return batches


class BlockWalk:
    """A network's blocks, first to last, each fed with what the rounded ones before it give.

    Only one block is in memory, with its input for every row.

    Args:
        network: hollow; its blocks are filled and emptied again.
        read: the base's tensors by name.
        batches: of rows' ids; what is in one batch is computed together.
        device: that computes.

    Attributes:
        hidden: what goes into the next block, (1, tokens, width) of each batch, on the CPU.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        read: Read,
        batches: Sequence[Sequence[Sequence[int]]],
        device: torch.device,
    ) -> None:
        self._read, self._device = read, device
        self._blocks = blocks(network)
        self._calls: list[list[tuple[Any, dict[str, Any]]]] = [[] for _ in self._blocks]
        self.hidden: list[Tensor] = []
        self._record(network.to(device), batches)

    @torch.inference_mode()
    def visit(self, number: int, layers: Sequence[str], rounded: Rounded) -> None:
        """Round the layers of the next block, and take the rows through it.

        Args:
            number: of the block; each is visited once, in order.
            layers: full names of its linear layers that are rounded.
            rounded: asked for each of them.
        """
        path, block = self._blocks[number]
        fill(_named(path, block), self._read, self._device)
        inner = {name: block.get_submodule(name.removeprefix(f"{path}.")) for name in layers}
        moments = self._observed(number, inner)
        for name, layer in inner.items():
            weight = layer.get_parameter("weight")
            weight.data = rounded(name, weight.data, moments.pop(name).mean())
        self.hidden = [self._through(number, batch) for batch in range(len(self.hidden))]
        self._calls[number].clear()
        empty(block)

    def _observed(self, number: int, layers: dict[str, nn.Module]) -> dict[str, SecondMoments]:
        """What the layers of a block are given, over all rows."""
        moments = {
            name: SecondMoments(layer.get_parameter("weight").shape[1], self._device)
            for name, layer in layers.items()
        }
        hooks = [
            layer.register_forward_pre_hook(partial(_note, moments[name]))
            for name, layer in layers.items()
        ]
        for batch in range(len(self.hidden)):
            self._through(number, batch)
        for hook in hooks:
            hook.remove()
        return moments

    def _through(self, number: int, batch: int) -> Tensor:
        positional, named = self._calls[number][batch]
        found = self._blocks[number][1](self.hidden[batch].to(self._device), *positional, **named)
        hidden: Tensor = found[0] if isinstance(found, tuple) else found
        return hidden.cpu()

    @torch.inference_mode()
    def _record(self, network: PreTrainedModel, batches: Sequence[Sequence[Sequence[int]]]) -> None:
        """Note with what each block is called, and what the first one is given.

        The network runs without its blocks: they pass on what they get. So every architecture
        prepares positions and masks for each of its blocks in its own way.
        """
        inside = tuple(f"{path}." for path, _ in self._blocks)
        head = network.get_output_embeddings()
        outside = [
            (name, parameter)
            for name, parameter in network.named_parameters()
            if not name.startswith(inside)
            and (parameter is not getattr(head, "weight", None) or _tied(network))
        ]
        fill(outside, self._read, self._device)
        for number, (_, block) in enumerate(self._blocks):
            block.forward = partial(self._called, number)
        for batch in batches:
            network.base_model(**_packed_input(batch, self._device), use_cache=False)
        for _, block in self._blocks:
            del block.forward
        for _, parameter in outside:
            parameter.data = parameter.data.new_empty(0)

    def _called(self, number: int, hidden: Tensor, *positional: Any, **named: Any) -> Tensor:
        self._calls[number].append((positional, named))
        if number == 0:
            self.hidden.append(hidden.cpu())
        return hidden


def _note(moments: SecondMoments, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    moments.add(inputs[0])


def _named(path: str, block: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(f"{path}.{name}", parameter) for name, parameter in block.named_parameters()]


def _tied(network: PreTrainedModel) -> bool:
    head, tokens = network.get_output_embeddings(), network.get_input_embeddings()
    return getattr(head, "weight", None) is tokens.weight


def _packed_input(rows: Sequence[Sequence[int]], device: torch.device) -> dict[str, Tensor]:
    """Rows laid end to end, kept apart as in training."""
    ids = [token for row in rows for token in row]
    places = [place for row in rows for place in range(len(row))]
    return {
        "input_ids": torch.tensor([ids], device=device),
        "position_ids": torch.tensor([places], device=device),
        "cu_seqlens": torch.tensor([0, *accumulate(map(len, rows))], dtype=torch.int32),
    }
