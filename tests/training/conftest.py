"""A small dataset in a store, and recipes small enough for a test."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset
from tunewright.core.store import Store

WORDS = ("trial", "period", "notice", "contract", "押金", "书面", "约定", "七日", "fox", "dog")


def make_row(number: int, words: int) -> Row:
    """A question and an answer of a known number of words, the same for the same number."""
    draw = random.Random(number)
    return Row(
        conversation=conversation(
            ("user", f"{number}: {' '.join(draw.choices(WORDS, k=3))}?"),
            ("assistant", " ".join(draw.choices(WORDS, k=words)) + "."),
        ),
        source=Source(file="rows.csv", row=number + 2),
        group=str(number),
    )


def make_rows(count: int, first: int = 0) -> list[Row]:
    """Rows of varying length."""
    return [make_row(number, 2 + number % 7) for number in range(first, first + count)]


def add_dataset(store: Store, train: list[Row], dev: list[Row], name: str = "shop") -> Dataset:
    """Put rows into the store as ``prepare`` would."""
    dataset = Dataset(
        id=store.new_id(Dataset),
        name=name,
        files=("rows.csv",),
        digest="0" * 64,
        config={},
        rows={"read": len(train), "kept": len(train), "dropped": {}, "truncated": 0},
        splits={"train": len(train), "dev": len(dev), "test": 0},
        base="tiny",
        tokens={},
    )
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "train.jsonl", train)
        write_rows(folder / "dev.jsonl", dev)
        write_rows(folder / "test.jsonl", [])
    store.add(dataset)
    return dataset


@pytest.fixture
def dataset(store: Store) -> Dataset:
    """24 rows to learn and 4 to watch."""
    return add_dataset(store, make_rows(24), make_rows(4, first=100))


@pytest.fixture
def new_dataset(store: Store) -> Callable[..., Dataset]:
    """Puts a dataset of chosen rows into the store."""

    def add(train: list[Row], dev: list[Row], name: str = "shop") -> Dataset:
        return add_dataset(store, train, dev, name)

    return add


@pytest.fixture
def rows() -> list[Row]:
    """24 rows of varying length."""
    return make_rows(24)


@pytest.fixture
def recipe(dataset: Dataset, tiny_base: Path) -> Callable[..., TrainConfig]:
    """Recipes with the fixture's dataset and base; keywords overrule."""

    def build(**values: Any) -> TrainConfig:
        options: dict[str, Any] = {
            "dataset": dataset.id,
            "base": str(tiny_base),
            "epochs": 2,
            "batch_tokens": 192,
            "save_steps": 5,
            "eval_steps": 5,
            "precision": "float32",
            "device": "cpu",
            "lora": {"rank": 4},
            "optimizer": {"learning_rate": 1e-2},
        }
        return TrainConfig.build(
            {**options, **values, "watch": {"preview": 0, **values.get("watch", {})}}
        )

    return build
