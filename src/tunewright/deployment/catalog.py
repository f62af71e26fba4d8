"""Which public names are served, and what each of them stands for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunewright.config.deployment import UPSTREAM
from tunewright.config.serving import ServeConfig
from tunewright.core.errors import NotFoundError
from tunewright.core.records import CheckpointPermission, Model
from tunewright.core.store import Store
from tunewright.deployment.audience import EVERYBODY, Audience
from tunewright.deployment.replies import RequestError
from tunewright.model.references import foundation_name
from tunewright.model.tuners.files import head_file, replaces_weights

BUNDLED_BASE = "nano"


@dataclass(frozen=True)
class Target:
    """A public name and what answers for it.

    Attributes:
        name: what clients ask for.
        id: the model's id; for a base, its name.
        base: whose weights its engine holds: nano, a folder, a hub id, or a tuned model's id.
        model: the tuned model's record, or None for the base itself.
        adapter: the folder of the tuned model's adapter, or None when the weights say it all.
        server: name of the configured server that answers in an engine's place; None is an engine.
        known_as: what that server calls the base itself.
    """

    name: str
    id: str
    base: str
    model: Model | None = None
    adapter: Path | None = None
    server: str | None = None
    known_as: str | None = None

    @property
    def created(self) -> int:
        """Unix time of the tuned model; 0 for a base, whose making nobody here witnessed."""
        return int(self.model.created) if self.model else 0


def _models(store: Store, audience: Audience) -> list[Model]:
    """Tuned models that a project sees: its own, what it was given leave to use, and those made
    on the command line, which are everyone's; all of them where no project is named."""
    return _seen(store, store.list(Model), audience)


def _seen(store: Store, models: Sequence[Model], audience: Audience) -> list[Model]:
    if all(audience.among(model.project) for model in models):
        return list(models)
    lent = {p.checkpoint for p in store.list(CheckpointPermission) if p.grantee == audience.project}
    return [m for m in models if audience.among(m.project) or m.name in lent]


def served_targets(
    store: Store, config: ServeConfig, audience: Audience = EVERYBODY
) -> list[Target]:
    """Tuned models that answer, newest first, then bases; those that are there for an audience.

    A name that is taken twice means the first.
    """
    models = _models(store, audience)
    targets: dict[str, Target] = {}
    for model in models:
        if audience.may_ask(model.name, model.id) and not _scores(store, model):
            targets.setdefault(model.name, _tuned(store, model))
    for target in _untuned(config, lambda: models):
        if audience.may_ask(target.name):
            targets.setdefault(target.name, target)
    return [_placed(target, config) for target in targets.values()]


def _untuned(config: ServeConfig, models: Callable[[], Sequence[Model]]) -> Iterator[Target]:
    """Bases, those of tuned models among them, and what other servers hold.

    The models are asked for once it comes to them.
    """
    for base in (BUNDLED_BASE, *config.bases):
        yield _base_target(base)
    for model in models():
        yield _base_target(model.base)
    for server, upstream in config.upstreams.items():
        for name in upstream.models:
            yield Target(name, name, server, server=server, known_as=name)


def _base_target(base: str) -> Target:
    name = public_base_name(base)
    return Target(name, name, base)


def _placed(target: Target, config: ServeConfig) -> Target:
    """The target with the server that holds its base, if one does."""
    if target.server is not None:
        return target
    for server, upstream in config.upstreams.items():
        if upstream.base == target.base:
            return replace(target, server=server, known_as=upstream.models[0])
    return target


def _scores(store: Store, model: Model) -> bool:
    """Whether it is a reward model, which cannot answer."""
    return head_file(store.folder(Model, model.id)).is_file()


def _tuned(store: Store, model: Model) -> Target:
    folder = store.folder(Model, model.id)
    adapter = None if replaces_weights(folder) else folder
    return Target(model.name, model.id, foundation_name(store, model), model, adapter)


def public_base_name(base: str) -> str:
    """A folder is served under its own name, so that paths of this machine stay private."""
    is_folder = base.startswith(("/", ".", "~")) or Path(base).is_dir()
    return Path(base).expanduser().resolve().name if is_folder else base


def reference_target(store: Store, config: ServeConfig, reference: str) -> Target:
    """What one of a deployment's references stands for on this server.

    Args:
        reference: a tuned model's id, a base, or ``upstream:NAME`` with or without ``/MODEL``.

    Raises:
        NotFoundError: the model is gone, or no such server is configured.
    """
    if reference.startswith(UPSTREAM):
        return _upstream_target(config, reference)
    model = store.by_id(Model, reference)
    if model is not None:
        return _placed(_tuned(store, model), config)
    if reference.startswith(f"{Model.prefix}{Model.joint}"):
        raise NotFoundError(f"the tuned model {reference} is gone")
    name = public_base_name(reference)
    return _placed(Target(name, name, reference), config)


def _upstream_target(config: ServeConfig, reference: str) -> Target:
    server, _, model = reference.removeprefix(UPSTREAM).partition("/")
    upstream = config.upstreams.get(server)
    if upstream is None:
        known = ", ".join(config.upstreams) or "none"
        raise NotFoundError(f"no upstream {server!r} is configured; configured: {known}")
    name = model or upstream.models[0]
    if name not in upstream.models:
        raise NotFoundError(f"upstream {server!r} has no model {name!r}; it has {upstream.models}")
    return Target(name, f"{UPSTREAM}{server}/{name}", server, server=server, known_as=name)


def find_target(
    store: Store, config: ServeConfig, name: str, audience: Audience = EVERYBODY
) -> Target:
    """What answers for a public name or a model's id, among what is there for an audience.

    Raises:
        RequestError: 404, with the nearest names; 400 for a reward model.
    """
    # Every request comes by here: what it does not ask for is not looked at.
    named = [
        model
        for model in _seen(store, store.named(Model, name), audience)
        if audience.may_ask(model.name, model.id)
    ]
    for model in named:
        if not _scores(store, model):
            return _placed(_tuned(store, model), config)
    for target in _untuned(config, lambda: _models(store, audience)):
        if name == target.name and audience.may_ask(name):
            return _placed(target, config)
    if named:
        raise RequestError(
            400,
            f"{named[0].name} is a reward model: it gives answers a number and writes none",
            param="model",
            code="model_not_supported",
        )
    known = [target.name for target in served_targets(store, config, audience)]
    raise not_found(name, known, audience)


def not_found(name: str, known: Sequence[str], audience: Audience) -> RequestError:
    """The 404 of a name that is none, or none for this audience: nobody learns which.

    Args:
        known: what is there for the audience.
    """
    what = f"no model {name[:128]!r} is served here"
    if not audience.may_ask(name):
        what = f"this API key may ask {', '.join(audience.models)}, and not {name[:128]!r}"
    close = difflib.get_close_matches(name[:128], known, n=3, cutoff=0.4) or known[:3]
    there = f"; there is {', '.join(map(repr, close))}" if close else ""
    return RequestError(404, what + there, param="model", code="model_not_found")
