"""Which rows a method learns from, and what it says of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, Row, RowKind, Source, ToolCall
from tunewright.core.records import Dataset, Run
from tunewright.core.row_kinds import AS_CONVERSATIONS, HOLDS
from tunewright.core.store import Store
from tunewright.model.rendering import Renderer
from tunewright.training.batches import render_examples
from tunewright.training.methods import METHODS, require_rows_for
from tunewright.training.train import train

Recipe = Callable[..., TrainConfig]


def holding(dataset: Dataset, content: RowKind) -> Dataset:
    return dataset.model_copy(update={"id": "ds_00000000000a", "content": content})


def test_every_kind_of_row_has_its_words() -> None:
    kinds = set(get_args(RowKind))
    assert set(HOLDS) == set(AS_CONVERSATIONS) == kinds
    for method in METHODS.values():
        assert method.kinds
        assert method.kinds <= kinds


def test_conversations_are_learned(dataset: Dataset) -> None:
    require_rows_for("sft", dataset)


@pytest.mark.parametrize(
    ("content", "holds", "way"),
    [
        ("preference", "pairs of a better and a worse answer", "--map answer=chosen"),
        ("rating", "answers judged good or bad", "--where label=true"),
        ("text", "plain text", "tunewright generate"),
    ],
)
def test_other_rows_are_refused_before_anything_is_loaded(
    store: Store, recipe: Recipe, dataset: Dataset, content: RowKind, holds: str, way: str
) -> None:
    store.add(holding(dataset, content))
    with pytest.raises(DataError, match=f"holds {holds}; method sft") as caught:
        # The base does not exist either; that would be said if it had been looked for.
        train(recipe(dataset="ds_00000000000a", base="./nowhere"), store)
    assert way in caught.value.hint
    assert store.list(Run) == []


def test_calls_of_tools_are_learned() -> None:
    from importlib.resources import files

    renderer = Renderer(Path(str(files("tunewright"))) / "bases" / "nano")
    call = ToolCall(name="get_time", arguments="{}")
    tool = {"type": "function", "function": {"name": "get_time"}}
    talk = Conversation(
        messages=(
            Message(role="user", content="The time?"),
            Message(role="assistant", content="", tool_calls=(call,)),
        ),
        tools=(tool,),
    )
    row = Row(conversation=talk, source=Source(file="calls.jsonl", row=1), group="g")
    (example,) = render_examples([row], renderer)
    taught = [token for token, on in zip(example.ids, example.mask, strict=True) if on]
    assert renderer.decode(taught) == (
        '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
    )
