"""Earlier evaluations that a report shows for comparison: what another recipe gained and forgot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.core.errors import ConfigError
from tunewright.core.records import Evaluation
from tunewright.core.store import Store

_METRIC, _ALL = "exact", "all"


@dataclass(frozen=True, slots=True)
class Beside:
    """First against last responder of another evaluation; shares in 0..1."""

    label: str
    before: float
    after: float
    general_before: float | None
    general_after: float | None


class _Facts(BaseModel):
    """The part of a record or ``report.json`` that is shown."""

    model_config = ConfigDict(extra="ignore")

    models: tuple[str, ...]
    scores: dict[str, dict[str, dict[str, float]]]
    general: dict[str, float] = {}


def read_beside(named: Mapping[str, str], store: Store) -> list[Beside]:
    """Look up ``{label: evaluation id or path of a report.json}``.

    Raises:
        ConfigError: a reference that is neither, or a file that is no evaluation's summary.
    """
    return [_beside(label, _facts(reference, store)) for label, reference in named.items()]


def _facts(reference: str, store: Store) -> _Facts:
    record = store.find(Evaluation, reference)
    if record is not None:
        return _Facts.model_validate(record.model_dump(mode="json"))
    try:
        return _Facts.model_validate_json(Path(reference).read_bytes())
    except (OSError, ValidationError):
        raise ConfigError(
            f"option 'beside': {reference!r} is neither an evaluation's id nor the path of a "
            "report.json that evaluate wrote",
            "List them with: tunewright evaluations list",
        ) from None


def _beside(label: str, facts: _Facts) -> Beside:
    first, last = facts.models[0], facts.models[-1]
    return Beside(
        label,
        facts.scores[first][_METRIC][_ALL],
        facts.scores[last][_METRIC][_ALL],
        facts.general.get(first),
        facts.general.get(last),
    )
