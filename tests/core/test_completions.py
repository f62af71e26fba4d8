"""Stored completions: pages, labels and bounds."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from tunewright.core.completions import Completions, StoredCompletion, new_completion_id
from tunewright.core.store import Store

A, B = "shop", "lab"


def add(
    completions: Completions, project: str = A, model: str = "nano", age: float = 0, **labels: str
) -> str:
    made = StoredCompletion(
        new_completion_id(),
        time.time() - age,
        model,
        labels,
        {"messages": [{"role": "user", "content": "退货?"}]},
        {"model": model},
    )
    completions.add(project, made)
    return made.id


@pytest.fixture
def kept(store: Store) -> Completions:
    return Completions(store, keep=60, most=10)


def ids(
    completions: Completions, limit: int = 100, after: str | None = None, **filters: object
) -> list[str]:
    found, _ = completions.page(A, limit, after, **filters)  # type: ignore[arg-type]
    return [one.id for one in found]


def test_pages_follow_each_other_whatever_is_deleted(kept: Completions) -> None:
    made = [add(kept) for _ in range(5)]
    add(kept, B)
    found, more = kept.page(A, 2)
    assert ([one.id for one in found], more) == (made[:2], True)
    assert kept.delete(A, made[1])
    assert ids(kept, 2, made[1]) == made[2:4]
    found, more = kept.page(A, 1, made[3])
    assert ([one.id for one in found], more) == (made[4:], False)
    assert ids(kept, 2, made[4], ascending=False) == [made[3], made[2]]
    assert kept.page(A, 0) == ([], True)


def test_models_and_labels_choose(kept: Completions) -> None:
    first = add(kept, team="law", tone="dry")
    second = add(kept, model="ft:nano:a:b:c", team="law")
    assert ids(kept, metadata={"team": "law"}) == [first, second]
    assert ids(kept, metadata={"team": "law", "tone": "dry"}) == [first]
    assert ids(kept, model="ft:nano:a:b:c", metadata={"team": "law"}) == [second]
    assert kept.label(A, first, {"team": "tax"})
    assert ids(kept, metadata={"team": "law"}) == [second]
    stored = kept.get(A, first)
    assert stored is not None
    assert stored.request["messages"][0]["content"] == "退货?"


def test_another_projects_are_out_of_reach(kept: Completions) -> None:
    made = add(kept)
    assert kept.get(B, made) is None
    assert not kept.label(B, made, {"x": "y"})
    assert not kept.delete(B, made)
    assert kept.get(A, made) is not None


def test_the_oldest_of_the_same_project_make_room(store: Store) -> None:
    kept = Completions(store, keep=60, most=3)
    theirs = add(kept, B)
    made = [add(kept) for _ in range(5)]
    assert ids(kept) == made[2:]
    assert kept.get(B, theirs) is not None


def test_what_is_too_old_is_gone_before_and_after_it_is_swept(store: Store) -> None:
    def rows() -> int:
        return int(store.rows("SELECT COUNT(*) FROM stored_completions")[0][0])

    kept = Completions(store, keep=60, most=10)
    made = add(kept, age=59)
    with store.transaction() as connection:
        connection.execute(text("UPDATE stored_completions SET created = created - 2"))
    assert kept.get(A, made) is None
    assert ids(kept) == []
    assert not kept.label(A, made, {})
    assert rows() == 1
    kept.sweep()
    assert rows() == 0
