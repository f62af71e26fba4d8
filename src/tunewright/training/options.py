"""A recipe's options by dotted name, for telling recipes apart. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tunewright.config.base import StageConfig
from tunewright.config.training import TrainConfig
from tunewright.core.nested import flat


@cache
def usual() -> Mapping[str, Any]:
    """What every option is when nobody sets it; without those that must be set."""
    normal: dict[str, Any] = json.loads(json.dumps(_defaults(TrainConfig)))
    return flat(normal)


def _defaults(cls: type[StageConfig]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            values[name] = default.json_dict() if isinstance(default, StageConfig) else default
    return values
