"""What is wrong with a job's files, in OpenAI's codes, with the row; and what is only said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import Interrupted
from tunewright.core.queue import Queue
from tunewright.core.records import Dataset, FineTuningJob
from tunewright.core.store import Store
from tunewright.jobs.heart import Heart
from tunewright.jobs.training_files import validate
from tunewright.jobs.work import FILES, TRAINING, Refused, Work

from .conftest import PROJECT, add_file, add_job, rows

PAIRS = b"".join(
    json.dumps(
        {
            "input": {"messages": [{"role": "user", "content": f"question {number}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"good answer {number}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"bad answer {number}"}],
        }
    ).encode()
    + b"\n"
    for number in range(12)
)


def work_on(store: Store, job: str, **changes: Any) -> Work:
    """A leased job, without a process of its own."""
    queue = Queue(store)
    entry = queue.lease(FILES, 9, "test", 60)
    assert entry is not None
    record = store.get(FineTuningJob, job).model_copy(update=changes)
    fenced = Store(settings=store.settings, fence=entry.lease, project=PROJECT)
    heart = Heart(fenced, entry.lease, 60)
    return Work(fenced, store, queue, entry.lease, heart, {}, record)


def refusal(store: Store, base: Path, body: bytes, **changes: Any) -> Refused:
    work = work_on(store, add_job(store, base, add_file(store, body)), **changes)
    with pytest.raises(Refused) as refused:
        validate(work)
    assert str(store.home) not in refused.value.message
    assert store.list(Dataset) == []
    return refused.value


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (rows(9), "invalid_n_examples", "has 9 example(s), but must have at least 10 examples"),
        (rows(12) + b'{"messages": [\n', "invalid_training_file", "row 13: not JSON"),
        (
            rows(5) + b'{"messages": [{"role": "pirate", "content": "a"}]}\n' + rows(9, 20),
            "invalid_training_file",
            "row 6: unknown role",
        ),
        (
            rows(12) + b'{"messages": [{"role": "user", "content": "a"}]}\n',
            "invalid_training_file",
            "row 13",
        ),
        (PAIRS, "invalid_training_file", "holds pairs of a better and a worse answer"),
        (b"\n", "invalid_training_file", "train.jsonl"),
        (b"", "invalid_training_file", "the file is empty"),
        (b"%PDF-1.4 \x00\x01", "invalid_training_file", "PDF"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_refused(
    store: Store, tiny_base: Path, body: bytes, code: str, said: str
) -> None:
    refused = refusal(store, tiny_base, body)
    assert (refused.code, refused.param) == (code, "training_file")
    assert said in refused.message


def test_wrong_rows_are_found_also_when_checks_leave_some_out(
    store: Store, tiny_base: Path
) -> None:
    checks = {"duplicates": "drop"}
    refused = refusal(store, tiny_base, rows(12) + b"{\n", checks=checks)
    assert "row 13: not JSON" in refused.message
    job = add_job(store, tiny_base, add_file(store, rows(12) + rows(2)))
    work = work_on(store, job, checks=checks)
    validate(work)
    assert store.get(Dataset, work.record.dataset or "").rows["dropped"] == {"duplicate": 2}


def test_rows_are_learnt_as_they_were_uploaded(store: Store, tiny_base: Path) -> None:
    mess = b'{"messages": [{"role": "user", "content": "<b>TEL 13800138000</b>"}, ' \
        b'{"role": "assistant", "content": "!"}]}\n'  # fmt: skip
    work = work_on(store, add_job(store, tiny_base, add_file(store, rows(12) + mess * 3)))
    close = validate(work)
    dataset = store.get(Dataset, work.record.dataset or "")
    assert (dataset.splits["train"], dataset.splits["dev"], dataset.splits["test"]) == (15, 0, 0)
    assert dataset.project == PROJECT
    text = (store.folder(Dataset, dataset.id) / "train.jsonl").read_text()
    assert text.count("<b>TEL 13800138000</b>") == 3
    close()
    assert (work.queue.get(work.lease.job).kind, work.queue.get(work.lease.job).attempts) == (
        TRAINING,
        0,
    )


def test_the_validation_file_becomes_the_dev_split(store: Store, tiny_base: Path) -> None:
    valid = add_file(store, rows(4, 10), "train.jsonl")
    job = add_job(store, tiny_base, add_file(store, rows(12)))
    work = work_on(store, job, validation_file=valid.id)
    validate(work)
    dataset = store.get(Dataset, work.record.dataset or "")
    assert (dataset.splits["train"], dataset.splits["dev"]) == (12, 4)
    warnings = [note.message for note in work.heart.take() if note.level == "warn"]
    assert any("training example(s) ask what the validation file asks" in w for w in warnings)


@pytest.mark.parametrize("body", [b'{"messages": 3}\n' + rows(3), b"", b"{"])
def test_a_bad_validation_file_is_told_apart(store: Store, tiny_base: Path, body: bytes) -> None:
    bad = add_file(store, body)
    refused = refusal(store, tiny_base, rows(12), validation_file=bad.id)
    assert (refused.code, refused.param) == ("invalid_validation_file", "validation_file")


def test_a_file_that_is_gone_is_said_to_be(store: Store, tiny_base: Path) -> None:
    refused = refusal(store, tiny_base, rows(12), training_file="file-gone")
    assert (refused.code, refused.message) == (
        "invalid_training_file",
        "Training file file-gone is gone.",
    )


def test_looking_at_files_stops_when_asked(store: Store, tiny_base: Path) -> None:
    work = work_on(store, add_job(store, tiny_base, add_file(store, rows(12))))
    work.heart._on_signal(15, None)
    with pytest.raises(Interrupted):
        validate(work)
    assert store.list(Dataset) == []
