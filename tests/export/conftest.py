"""Tuned models of every kind, made without training: their weights are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import add_dataset, make_rows

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.records import Dataset, Model, Run
from tunewright.core.store import Store
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.table import TUNERS

MakeTuned = Callable[..., Model]


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tested(store: Store) -> Dataset:
    """A dataset with six locked test rows."""
    dataset = add_dataset(store, make_rows(2), [])
    folder = store.folder(Dataset, dataset.id)
    write_rows(folder / "test.jsonl", make_rows(6, first=50))
    return dataset


@pytest.fixture
def make_tuned(store: Store, tested: Dataset, tiny_base: Path) -> MakeTuned:
    """Puts a tuned model with drawn weights into the store."""

    def make(tuner: str = "lora", base: Path = tiny_base, **options: Any) -> Model:
        folded = options.pop("folded", ())
        values: dict[str, Any] = {"lora": {"rank": 4}} if tuner == "lora" else {}
        config = TrainConfig.build(
            {"dataset": tested.id, "base": str(base), "tuner": tuner, **values, **options}
        )
        found = resolve_base(str(base), store.settings)
        model = load_model(found, torch.device("cpu"), torch.float32)
        trained = TUNERS[tuner].attach(model, config)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in trained.parameters.values():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.05 * noise)
        run = Run(
            id=store.new_id(Run), dataset=tested.id, base=str(base), config=config.json_dict(),
            state="succeeded",
        )  # fmt: skip
        store.add(run)
        record = Model(
            id=(new := store.new_id(Model)), name=f"ft:tiny:local:{tuner}:{new[-6:]}",
            base=str(base), base_digest=found.digest, renderer_hash=Renderer(found.folder).hash,
            run=run.id, step=1, folded=folded,
        )  # fmt: skip
        with store.stage(Model, record.id) as folder:
            TUNERS[tuner].save(model, config, found, folder)
        store.add(record)
        return record

    return make
