"""Rows of every kind, of the shapes that real files have, for the tests of methods."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.training.conftest import WORDS

from tunewright.core.dataset_io import write_rows
from tunewright.core.messages import Message, Passage, Row, RowKind, Source, conversation
from tunewright.core.records import Dataset
from tunewright.core.store import Store


def answer(draw: random.Random, least: int = 1, most: int = 9) -> str:
    """A few words."""
    return " ".join(draw.choices(WORDS, k=draw.randint(least, most))) + "."


def preferences(count: int, seed: int = 0) -> list[Row]:
    """Questions, every third after an earlier turn, with a better and a worse answer."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        turns = [("user", f"{number}: {answer(draw)}?")]
        if number % 3 == 0:
            turns = [("user", "fox?"), ("assistant", answer(draw)), *turns]
        asked = conversation(*turns)  # type: ignore[arg-type]
        better = Message(role="assistant", content="约定 " + answer(draw))
        worse = Message(role="assistant", content="dog " + answer(draw))
        rows.append(
            Row(
                conversation=asked.model_copy(update={"messages": (*asked.messages, better)}),
                rejected=(worse,),
                source=Source(file="pairs.jsonl", row=number + 1),
                group=str(number),
            )
        )
    return rows


def ratings(count: int, seed: int = 0) -> list[Row]:
    """Questions with one answer each, good or bad by turns."""
    rows = []
    for row in preferences(count, seed):
        good = row.source.row % 2 == 0
        *asked, better = row.conversation.messages
        last = better if good else row.rejected[0]
        talk = row.conversation.model_copy(update={"messages": (*asked, last)})
        rows.append(
            row.model_copy(update={"conversation": talk, "rejected": (), "desirable": good})
        )
    return rows


def passages(count: int, seed: int = 0) -> list[Passage]:
    """Texts of a few to many words."""
    draw = random.Random(seed)
    return [
        Passage(text=answer(draw, 3, 30), source=Source(file="text.md", row=n + 1), group=str(n))
        for n in range(count)
    ]


def keep(
    store: Store, kind: RowKind, train: Sequence[Row | Passage], dev: Sequence[Row | Passage] = ()
) -> Dataset:
    """Put rows of a kind into the store as ``prepare`` would."""
    dataset = Dataset(
        id=store.new_id(Dataset),
        name=kind,
        files=("rows",),
        digest="0" * 64,
        config={},
        content=kind,
        rows={"read": len(train), "kept": len(train), "dropped": {}, "truncated": 0},
        splits={"train": len(train), "dev": len(dev), "test": 0},
        base="tiny",
        tokens={},
    )
    with store.stage(Dataset, dataset.id) as folder:
        write_rows(folder / "train.jsonl", train)
        write_rows(folder / "dev.jsonl", dev)
    store.add(dataset)
    return dataset
