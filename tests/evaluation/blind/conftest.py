"""An evaluation in a store with chosen answers, so that sessions can be made without a model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tunewright.config.judging import BlindConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.messages import Row, Source, conversation
from tunewright.core.records import Dataset, Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.blind.create import create_session
from tunewright.evaluation.blind.session import BlindSession, Item, read_items
from tunewright.evaluation.blind.votes import Box, Choice, Vote

BASE, TUNED = "nano", "ft:nano:local:secret-name:ab12"
EQUAL = 4

DATASET = Dataset(
    id="ds_000000000001", name="trial", files=("q.csv",), digest="0" * 64, config={}, rows={},
    splits={"test": 24}, base="nano", tokens={},
)  # fmt: skip

MakeSession = Callable[..., BlindSession]
Cast = Callable[..., None]


def write_evaluation(store: Store, rows: int, hostile: str = "") -> Evaluation:
    """Answers ``base N`` and ``tuned N``, two questions in a group; the last four are equal."""
    talks = [
        conversation(
            ("system", "简短回答。"), ("user", f"问题 {n} {hostile}"), ("assistant", f"参考 {n}")
        )
        for n in range(rows)
    ]
    made = [
        Row(conversation=talk, source=Source(file="q.csv", row=n), group=f"g{n // 2}")
        for n, talk in enumerate(talks)
    ]
    with store.stage(Dataset, DATASET.id) as folder:
        write_rows(folder / "test.jsonl", made)
    store.add(DATASET)
    record = Evaluation(
        id=Store.new_id(Evaluation), dataset=DATASET.id, models=(BASE, TUNED), config={},
        scores={}, deltas={}, intervals={}, general={}, gates={}, verdict="pass", report="",
    )  # fmt: skip
    judges = [{"judge": "judge@somewhere", "metric": "judge"}]
    with store.stage(Evaluation, record.id) as folder:
        (folder / "report.json").write_text(json.dumps({"judging": {"judges": judges}}))
        lines = [
            {
                "responder": name, "row": str(n), "group": f"g{n // 2}", "question": f"问题 {n}",
                "answer": f"{name[:2]} says {n} {hostile}" if n < rows - EQUAL else "相同",
                "scores": {"judge": 0.5 if name == BASE else float(n % 2 == 0)},
            }
            for name in (BASE, TUNED)
            for n in range(rows)
        ]  # fmt: skip
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / "outputs.jsonl").write_text(text, encoding="utf-8")
    store.add(record)
    return record


@pytest.fixture
def make_session(store: Store) -> MakeSession:
    """``make_session(questions=20, rows=24)``: a session on a fresh evaluation."""

    def make(
        questions: int = 20, rows: int = 24, hostile: str = "", **more: object
    ) -> BlindSession:
        evaluation = write_evaluation(store, rows, hostile)
        config = BlindConfig.build({"evaluation": evaluation.id, "questions": questions, **more})
        return create_session(config, store)

    return make


def box_of(store: Store, session: BlindSession) -> Box:
    """The session's votes."""
    return Box(store, session, [item.id for item in read_items(store, session)])


def choice_for(item: Item, wanted: str) -> Choice:
    """The side on which somebody who prefers ``tuned`` or ``base`` sees it; else as it is."""
    if wanted == "tuned":
        return "a" if item.flipped else "b"
    if wanted == "base":
        return "b" if item.flipped else "a"
    return "good" if wanted == "good" else "bad"


@pytest.fixture
def cast(store: Store) -> Cast:
    """``cast(session, "Wang", ["tuned", "good", …])``: votes on the first questions."""

    def vote(session: BlindSession, voter: str, wanted: list[str], at: float = 1000.0) -> None:
        items = read_items(store, session)
        votes = [
            Vote(question=item.id, choice=choice_for(item, want), cast=at)
            for item, want in zip(items, wanted, strict=False)
        ]
        box_of(store, session).add(voter, votes)

    return vote
