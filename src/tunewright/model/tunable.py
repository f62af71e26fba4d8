"""From what a run starts with to a model that can be trained: fold, quantise, attach.

A run that starts from a tuned model goes on with its adapter when the recipe describes the same
one. Otherwise the tuned model, and what it stands on, becomes part of the base first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.model.adapters import fold_in, unload
from tunewright.model.catalog import Base
from tunewright.model.loading import load_model
from tunewright.model.tuners.base import DEFAULT, Trained, Tuner
from tunewright.model.tuners.files import DERIVED, read_settings, tuner_of
from tunewright.model.tuners.quantize import quantize_base
from tunewright.model.tuners.table import TUNERS
from tunewright.model.tuners.tensors import read_trained, trained_shapes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        base: the base at the bottom.
        folders: of the tuned models that were put on it, oldest first; none for a bare base.
    """

    base: Base
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Tunable:
    """A model that is ready to be trained.

    Attributes:
        model: on its device, with what is trained attached.
        trained: what is trained.
        tuner: what made it so.
        own: weights of the base.
        weights: all weights, the trained ones included.
        continued: whether the newest folder's adapter goes on being trained.
    """

    model: PreTrainedModel
    trained: Trained
    tuner: Tuner
    own: int
    weights: int
    continued: bool


def make_tunable(
    start: Start, config: TrainConfig, device: torch.device, dtype: torch.dtype
) -> Tunable:
    """Load a start and attach what the recipe trains.

    Args:
        start: what to load.
        config: the recipe.
        device: where to train.
        dtype: of the arithmetic, and of the weights that stay as they are.

    Raises:
        ConfigError: a tuner that does not fit the base or the quantisation.
        ModelError: files that are damaged or do not belong together.
    """
    tuner = TUNERS[config.tuner]
    if tuner.trains_base and config.quantize != "none":
        raise ConfigError(
            f"option 'quantize': tuner {config.tuner} changes the base's weights, which it cannot"
            f" do in {config.quantize}",
            "Use quantize=none, or tuner=lora.",
        )
    # What is turned into another type is loaded beside the device, where it may not fit.
    at_once = not tuner.trains_base and config.quantize == "none"
    model = load_model(
        start.base,
        device if at_once else torch.device("cpu"),
        torch.float32 if tuner.trains_base else dtype,
    )
    continued = _put_on(model, start, config)
    weights = own = sum(parameter.numel() for parameter in model.parameters())
    quantize_base(model, config.quantize, device)
    trained = tuner.attach(model, config)
    if tuner.trains_base:
        _mix_precision(model, trained, device, dtype)
    else:
        weights += sum(parameter.numel() for parameter in trained.parameters.values())
        if continued:
            _copy(read_trained(start.folders[-1]), trained)
    return Tunable(model.to(device), trained, tuner, own, weights, continued)


def _put_on(model: PreTrainedModel, start: Start, config: TrainConfig) -> bool:
    """Make the start's tuned models part of the base; whether the newest is left to go on."""
    if not start.folders:
        return False
    *below, newest = start.folders
    for folder in below:
        fold_in(model, folder)
    goes_on = _goes_on(model, start.base, newest, config)
    if not goes_on or TUNERS[config.tuner].trains_base:
        fold_in(model, newest)
    return goes_on


def _goes_on(model: PreTrainedModel, base: Base, folder: Path, config: TrainConfig) -> bool:
    """Whether the recipe trains just what the folder holds: found out by attaching it once."""
    if tuner_of(folder) != config.tuner:
        return False
    tuner = TUNERS[config.tuner]
    trained = tuner.attach(model, config)
    wanted = tuner.settings(model, config, base)
    unload(model, DEFAULT)
    held = read_settings(folder, tuner.settings_file)
    if any(held.get(key) != wanted[key] for key in tuner.compared):
        return False
    shapes = {name: tuple(p.shape) for name, p in trained.parameters.items()}
    # A prefix that was made by an MLP lies beside the MLP.
    return shapes == {
        name: shape
        for name, shape in trained_shapes(folder).items()
        if name in shapes or name not in DERIVED
    }


def _mix_precision(
    model: PreTrainedModel, trained: Trained, device: torch.device, dtype: torch.dtype
) -> None:
    """Keep what is trained in float32, the rest in ``dtype``, and compute in ``dtype``."""
    if dtype == torch.float32:
        return
    kept = set(trained.parameters.values())
    for parameter in model.parameters():
        if parameter not in kept:
            parameter.data = parameter.data.to(dtype)
    model.forward = torch.autocast(device.type, dtype)(model.forward)
    model.computes_in = dtype


def _copy(tensors: dict[str, torch.Tensor], trained: Trained) -> None:
    with torch.no_grad():
        for name, parameter in trained.parameters.items():
            parameter.copy_(tensors[name])
