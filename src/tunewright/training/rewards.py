"""What answers are worth to a run: its grader, checked before anything is loaded."""

from __future__ import annotations

from tunewright.config.grading import AnyGrader, MultiGrader, RewardModelGrader
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.core.store import Store
from tunewright.grading.results import Means, Scorer
from tunewright.grading.table import check_grader, open_grader
from tunewright.model.references import resolve
from tunewright.training.methods.policy import FIELDS
from tunewright.training.methods.table import METHODS


def with_grader(config: TrainConfig, store: Store) -> TrainConfig:
    """The recipe with a grader that will be the same when the run is resumed.

    Raises:
        InputError: the method needs a grader and there is none, or one that cannot work.
    """
    if not METHODS[config.method].draws:
        return config
    grader = config.rl.grader
    if grader is None:
        raise ConfigError(
            f"method {config.method} learns what a grader rewards, and none is named",
            "Name one: --grader FILE; docs/reinforcement.md shows some.",
        )
    check_grader(grader, FIELDS, _means(config, store))
    rl = config.rl.model_copy(update={"grader": _lasting(grader, store)})
    return config.model_copy(update={"rl": rl})


def scorer_of(config: TrainConfig, store: Store) -> Scorer:
    """The recipe's grader, ready to grade.

    Raises:
        InputError: it cannot work any more.
    """
    if config.rl.grader is None:
        raise ConfigError(f"method {config.method} needs a grader")
    return open_grader(config.rl.grader, _means(config, store))


def _means(config: TrainConfig, store: Store) -> Means:
    return Means(store, config.device)


def _lasting(grader: AnyGrader, store: Store) -> AnyGrader:
    """The grader with its reward models by their ids, which never name another model."""
    if isinstance(grader, MultiGrader):
        parts = {name: _lasting(one, store) for name, one in grader.graders.items()}
        return grader.model_copy(update={"graders": parts})
    if isinstance(grader, RewardModelGrader):
        model = resolve(store, grader.model).model
        return grader.model_copy(update={"model": model.id if model else grader.model})
    return grader
