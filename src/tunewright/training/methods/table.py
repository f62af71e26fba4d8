"""Training methods by name; a new one is one file and one entry here."""

from __future__ import annotations

from typing import Any

from tunewright.config.training import MethodName, TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.records import Dataset
from tunewright.core.row_kinds import AS_CONVERSATIONS, HOLDS
from tunewright.training.methods.base import Method
from tunewright.training.methods.dpo import DpoMethod
from tunewright.training.methods.grpo import GrpoMethod
from tunewright.training.methods.kto import KtoMethod
from tunewright.training.methods.orpo import OrpoMethod
from tunewright.training.methods.pretrain import PretrainMethod
from tunewright.training.methods.reward import RewardMethod
from tunewright.training.methods.rloo import RlooMethod
from tunewright.training.methods.sft import SftMethod
from tunewright.training.methods.simpo import SimpoMethod

METHODS: dict[MethodName | str, type[Method[Any, Any]]] = {
    "sft": SftMethod,
    "pretrain": PretrainMethod,
    "dpo": DpoMethod,
    "kto": KtoMethod,
    "orpo": OrpoMethod,
    "simpo": SimpoMethod,
    "reward": RewardMethod,
    "grpo": GrpoMethod,
    "rloo": RlooMethod,
}


def method_of(config: TrainConfig) -> Method[Any, Any]:
    """The method that a recipe names, with its options."""
    return METHODS[config.method](config)


def require_rows_for(method: str, dataset: Dataset) -> None:
    """Refuse rows that a method cannot learn from.

    Raises:
        DataError: saying what the dataset holds, which methods can learn from it, and how to make
            rows of it that this method can.
    """
    chosen, content = METHODS[method], dataset.content
    if content in chosen.kinds:
        return
    # Those that draw answers need a grader besides: they are no way out by themselves.
    able = [name for name, other in METHODS.items() if content in other.kinds and not other.draws]
    learns = " or ".join(HOLDS[kind] for kind in sorted(chosen.kinds))
    ways = [f"Use --method {' or '.join(able)}."] if able else []
    if "conversation" in chosen.kinds:
        ways.append(AS_CONVERSATIONS[content])
    raise DataError(
        f"dataset {dataset.name} holds {HOLDS[content]}; method {method} learns from {learns}",
        " ".join(ways),
    )
