"""Which names are served."""

from pathlib import Path

import pytest

from tunewright.config.serving import ServeConfig
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.deployment.catalog import find_target, public_base_name, served_targets
from tunewright.deployment.replies import RequestError
from tunewright.model.tuners.files import head_file


def add_model(store: Store, name: str, base: str = "nano", created: float = 1.0) -> Model:
    model = Model(
        id=Store.new_id(Model), created=created, name=name, base=base, base_digest="b" * 64,
        renderer_hash="r" * 64, run="run_0123456789ab", step=1,
    )  # fmt: skip
    store.add(model)
    return model


def test_without_models_the_bundled_base_is_served(store: Store) -> None:
    assert [t.name for t in served_targets(store, ServeConfig())] == ["nano"]


def test_models_come_first_then_their_bases_then_more_bases(store: Store) -> None:
    add_model(store, "ft:nano:acme:legal:a1", created=1)
    add_model(store, "ft:tiny:acme:law:b2", base="/models/tiny", created=2)
    targets = served_targets(store, ServeConfig(bases=("org/other",)))
    assert [t.name for t in targets] == [
        "ft:tiny:acme:law:b2", "ft:nano:acme:legal:a1", "nano", "org/other", "tiny",
    ]  # fmt: skip
    assert targets[0].base == "/models/tiny"
    assert (targets[0].created, targets[2].created) == (2, 0)


def test_a_model_is_found_by_name_and_by_id_only(store: Store) -> None:
    old = add_model(store, "same-name", created=1)
    new = add_model(store, "same-name", created=2)
    config = ServeConfig()
    assert find_target(store, config, "same-name").id == new.id
    assert find_target(store, config, old.id).id == old.id
    for reference in ("latest", old.id[:10], "same", "", "/models/tiny"):
        with pytest.raises(RequestError) as caught:
            find_target(store, config, reference)
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_reward_models_are_not_served_and_asking_one_says_why(store: Store) -> None:
    judge = add_model(store, "ft:nano:acme:judge:c3", base="/models/own")
    head = head_file(store.folder(Model, judge.id))
    head.parent.mkdir(parents=True)
    head.write_bytes(b"")
    assert judge.name not in [target.name for target in served_targets(store, ServeConfig())]
    for reference in (judge.name, judge.id):
        with pytest.raises(RequestError, match="reward model") as caught:
            find_target(store, ServeConfig(), reference)
        assert (caught.value.status, caught.value.code) == (400, "model_not_supported")


def test_a_folders_path_stays_private(tmp_path: Path) -> None:
    folder = tmp_path / "our-base"
    folder.mkdir()
    assert public_base_name(str(folder)) == "our-base"
    assert public_base_name("/gone/base/") == "base"
    assert public_base_name("org/name") == "org/name"
    assert public_base_name("modelscope:org/name") == "modelscope:org/name"
