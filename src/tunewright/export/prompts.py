"""The prompts that an export and its model are both asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TypeVar

from tunewright.config.export import ParityConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError
from tunewright.core.messages import Conversation, conversation
from tunewright.core.records import Dataset, Run
from tunewright.core.store import Store
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer

_Row = TypeVar("_Row")

_PLAIN = (
    "你好，请介绍一下你自己。",
    "试用期最长可以约定多久？",
    "把“合同应当采用书面形式”译成英文。",
    "Name three colours.",
    "What is 12 + 30?",
    "用一句话说明什么是押金。",
    "Write one sentence about the sea.",
    "1 2 3 4 5",
)
"""For models whose dataset is not here: short, in both languages, with digits."""


@dataclass(frozen=True)
class Prompts:
    """What is asked.

    Attributes:
        conversations: with their references, where they have some.
        groups: label of what belongs together, one per conversation.
        source: where they come from, in words.
        dataset: id of the dataset, or None.
        labels: the dataset's classes.
    """

    conversations: tuple[Conversation, ...]
    groups: tuple[str, ...]
    source: str
    dataset: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def references(self) -> list[str] | None:
        """What should be answered; None where that is not known of all."""
        found = [c.messages[-1] for c in self.conversations]
        return (
            [str(m.content) for m in found] if all(m.role == "assistant" for m in found) else None
        )


def choose_prompts(found: Resolved, config: ParityConfig, store: Store) -> Prompts:
    """The locked test rows of the model's dataset, evenly spread; else its dev rows.

    Raises:
        ConfigError: a dataset was named that has no conversations to ask.
    """
    dataset = dataset_of(found, config.dataset, store)
    if dataset is not None and dataset.content != "text":
        folder = store.folder(Dataset, dataset.id)
        for split in ("test", "dev"):
            rows = read_rows(folder, split)
            if rows:
                picked = evenly(rows, config.prompts)
                return Prompts(
                    tuple(row.conversation for row in picked),
                    tuple(row.group for row in picked),
                    f"{split} rows of {dataset.name} ({dataset.id})",
                    dataset.id,
                    dataset.labels,
                )
    if config.dataset is not None:
        raise ConfigError(f"dataset {config.dataset!r} has no test or dev rows to ask")
    plain = _PLAIN[: config.prompts]
    asked = tuple(conversation(("user", text)) for text in plain)
    return Prompts(asked, plain, "general questions, since the model's dataset is not here")


def evenly(rows: Sequence[_Row], most: int) -> list[_Row]:
    """At most so many rows, spread over all of them."""
    step = max(1, len(rows) / most)
    return [rows[int(n * step)] for n in range(min(most, len(rows)))]


def fitting(prompts: Prompts, renderer: Renderer) -> Prompts:
    """Only prompts that leave room for an answer.

    Raises:
        ConfigError: none does.
    """
    most = renderer.context_length
    room = [len(renderer.prompt_ids(c.prompt())) < most for c in prompts.conversations]
    return _only(prompts, room, f"leaves room for an answer in {most} tokens")


def without_tools(prompts: Prompts) -> Prompts:
    """Only prompts that neither offer nor use tools.

    Raises:
        ConfigError: there is none.
    """
    plain = [
        not c.tools and not any(m.role == "tool" or m.tool_calls for m in c.messages)
        for c in prompts.conversations
    ]
    return _only(prompts, plain, "does without tools, with which endpoints are not asked here")


def _only(prompts: Prompts, wanted: list[bool], what: str) -> Prompts:
    if not any(wanted):
        raise ConfigError(f"no prompt of {prompts.source} {what}", "Name another dataset.")
    return replace(
        prompts,
        conversations=tuple(compress(prompts.conversations, wanted)),
        groups=tuple(compress(prompts.groups, wanted)),
    )


def dataset_of(found: Resolved, named: str | None, store: Store) -> Dataset | None:
    """The dataset that was named, else the one that a model was tuned on, if it is here.

    Raises:
        NotFoundError: none has that name.
    """
    if named is not None:
        return store.get(Dataset, named)
    run = None if found.model is None else store.find(Run, found.model.run)
    if run is None and "@" in found.name:
        run = store.find(Run, found.name.rpartition("@")[0])
    return None if run is None else store.find(Dataset, run.dataset)
