"""From references to responders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tunewright.config.endpoint import EndpointConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError
from tunewright.core.events import Listener, ignore
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.endpoints.address import find_address
from tunewright.evaluation.responders.base import Responder
from tunewright.evaluation.responders.few_shot import Example, pick_examples
from tunewright.evaluation.responders.local import Local, Weights
from tunewright.evaluation.responders.names import ENDPOINT, Name, at_url, read_name
from tunewright.evaluation.responders.remote import Remote
from tunewright.model.deployed import named
from tunewright.model.references import resolve_responder

_ANY = ""


@dataclass(frozen=True)
class Surroundings:
    """What responders are made from.

    Attributes:
        store: finds models, and has the settings.
        config: of the evaluation.
        weights: by the model's reference, see ``Weights``.
        examples: by number of shots.
    """

    store: Store
    config: EvaluateConfig
    weights: Mapping[str, Weights]
    examples: Mapping[int, tuple[Example, ...]]


def _local(name: Name, here: Surroundings) -> Responder:
    found = named(here.store, name.target)
    resolved = resolve_responder(here.store, found.reference)
    shown, weights = here.examples[name.shots], here.weights[found.reference]
    seed = here.config.seed
    return Local(name.reference, found.reference, resolved, weights, shown, found.manner, seed)


def _endpoint(name: Name, here: Surroundings) -> Responder:
    model, url = at_url(name.target.removeprefix(ENDPOINT), "models")
    key_file = here.config.scoring.key_file
    asked = EndpointConfig(endpoint=url, model=model, key_file=key_file)
    address = find_address(asked, here.store.settings)
    return Remote(name.reference, model, address, key_file, here.examples[name.shots])


RESPONDERS: Final[Mapping[str, Callable[[Name, Surroundings], Responder]]] = MappingProxyType(
    {ENDPOINT: _endpoint, _ANY: _local}
)
"""How a reference begins → what makes its responder; anything else runs here."""


def open_responders(
    config: EvaluateConfig, store: Store, dataset: Dataset | None, listen: Listener = ignore
) -> tuple[list[Responder], list[Weights]]:
    """The responders in the order of their references, and the weights to free between them.

    Nothing is loaded or asked yet. Examples are from ``dataset``; ``listen`` hears of bases
    that are copied first.

    Raises:
        ConfigError: a reference that cannot be read, or examples where there are no rows for them.
        NotFoundError, ModelError: a model that is unknown or cannot be used.
    """
    names = [read_name(reference) for reference in config.models]
    shared = _shared(store, names, listen)
    here = Surroundings(store, config, shared, _examples(store, dataset, names, config.seed))
    found = [_maker(name)(name, here) for name in names]
    return found, list({id(one): one for one in shared.values()}.values())


def _maker(name: Name) -> Callable[[Name, Surroundings], Responder]:
    return next(make for begin, make in RESPONDERS.items() if name.target.startswith(begin))


def _shared(store: Store, names: Sequence[Name], listen: Listener) -> dict[str, Weights]:
    """The weights of every model; those that stand on the same ones share them."""
    local = (name.target for name in names if not name.remote)
    targets = dict.fromkeys(named(store, target).reference for target in local)
    keys = {target: resolve_responder(store, target, listen).foundation.key for target in targets}
    together = {
        key: Weights(store, tuple(target for target in targets if keys[target] == key))
        for key in keys.values()
    }
    return {target: together[key] for target, key in keys.items()}


def _examples(
    store: Store, dataset: Dataset | None, names: Sequence[Name], seed: int
) -> dict[int, tuple[Example, ...]]:
    counts = {name.shots for name in names}
    rows = []
    if any(counts) and dataset is not None:
        rows = read_rows(store.folder(Dataset, dataset.id), "train")
    found = {count: pick_examples(rows, count, seed) if count else () for count in counts}
    for name in names:
        if name.shots and not found[name.shots]:
            raise ConfigError(
                f"option 'models': {name.reference!r} needs examples, and "
                + (f"dataset {dataset.name}" if dataset else "without a dataset there are")
                + (" has" if dataset else "")
                + " no training rows that could serve as such"
            )
    return found
