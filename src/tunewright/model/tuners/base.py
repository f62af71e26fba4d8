"""What every tuner does: put trainable weights on a base, write them, and read them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from tunewright.config.training import TrainConfig
from tunewright.core.files import disk_errors, write_json_atomic
from tunewright.model.catalog import Base

DEFAULT = "default"


@dataclass(frozen=True)
class Trained:
    """What a run trains.

    Attributes:
        parameters: by their names on disk.
        factors: learning rates as multiples of the run's, for those that differ from 1.
    """

    parameters: dict[str, nn.Parameter]
    factors: dict[str, float] = field(default_factory=dict)


class Tuner(ABC):
    """One answer to what is trained.

    Attributes:
        settings_file: the JSON file that tells this tuner's folders apart.
        trains_base: whether the base's own weights change; a model then needs its own copy.
        rate: its usual learning rate as a multiple of LoRA's.
        compared: entries of the settings that must be equal for training to go on with a folder.
    """

    settings_file: ClassVar[str]
    trains_base: ClassVar[bool] = False
    compared: ClassVar[tuple[str, ...]] = ()
    rate: ClassVar[float] = 1.0

    @abstractmethod
    def attach(self, model: nn.Module, config: TrainConfig, name: str = DEFAULT) -> Trained:
        """Freeze what stays as it is and make the rest trainable and active.

        Raises:
            ConfigError: when the base does not have what the config names.
        """

    @abstractmethod
    def settings(self, model: nn.Module, config: TrainConfig, base: Base) -> dict[str, Any]:
        """What ``settings_file`` says of an attached adapter."""

    @abstractmethod
    def write_tensors(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Write the trained weights into an existing folder, in float32."""

    @abstractmethod
    def load(self, model: nn.Module, folder: Path, name: str = DEFAULT) -> None:
        """Put what a folder holds on the model, and let it answer.

        Raises:
            ModelError: damaged, made for another base, or with options we do not compute.
        """

    def save(self, model: nn.Module, config: TrainConfig, base: Base, folder: Path) -> None:
        """Write settings and weights into a folder.

        Raises:
            StorageError: when the disk refuses.
        """
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.write_tensors(model, folder)
            write_json_atomic(folder / self.settings_file, self.settings(model, config, base))
