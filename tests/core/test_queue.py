"""The queue: one worker per job, stale ones shut out, nothing lost, projects served in turn."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tunewright.core.errors import LeaseLost, NotFoundError, StorageError
from tunewright.core.migrations import STEPS
from tunewright.core.queue import Entry, Queue, Retry
from tunewright.core.records import Dataset, File
from tunewright.core.store import Store

ERROR = {"code": "broken", "message": "it broke", "param": None}


@dataclass
class Clock:
    """A clock that stands still until it is set."""

    time: float = 1_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(store: Store, clock: Clock) -> Queue:
    return Queue(store, clock)


def leased(queue: Queue, kind: str = "tune", slots: int = 1, seconds: float = 30) -> Entry:
    entry = queue.lease(kind, slots, "test", seconds)
    assert entry is not None
    return entry


def test_a_job_is_leased_once_worked_on_and_ended(queue: Queue, clock: Clock) -> None:
    queue.enqueue("a", "tune", "shop", {"file": 1})
    entry = leased(queue, slots=5)
    assert (entry.state, entry.token, entry.attempts) == ("running", 1, 1)
    assert (entry.payload, entry.lease_until) == ({"file": 1}, 1030.0)
    assert queue.lease("tune", 5, "other", 30) is None
    queue.keep(entry.lease, {"run": "run_1"})
    clock.time = 1010
    queue.heartbeat(entry.lease, "pid 1", 30)
    queue.end(entry.lease, "succeeded")
    done = queue.get("a")
    assert (done.state, done.finished, done.payload) == ("succeeded", 1010, {"run": "run_1"})
    with pytest.raises(LeaseLost):
        queue.end(entry.lease, "failed", ERROR)
    with pytest.raises(NotFoundError):
        queue.get("b")


def test_no_more_than_the_slots_run_and_kinds_have_their_own(queue: Queue) -> None:
    for name in "abc":
        queue.enqueue(name, "tune", "shop")
    queue.enqueue("d", "check", "shop")
    leased(queue, slots=2)
    leased(queue, slots=2)
    assert queue.lease("tune", 2, "test", 30) is None
    assert leased(queue, "check").id == "d"


def test_projects_take_turns_and_priority_goes_first(queue: Queue, clock: Clock) -> None:
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        clock.time += 1
        queue.enqueue(name, "tune", name[0], priority=5 if name == "b2" else 0)
    order = []
    for _ in range(6):
        clock.time += 1
        entry = leased(queue)
        order.append(entry.id)
        queue.end(entry.lease, "succeeded")
    assert order == ["b2", "a1", "c1", "b1", "a2", "a3"]


def test_with_many_slots_the_project_that_has_fewest_running_is_next(queue: Queue) -> None:
    for name, project in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        queue.enqueue(name, "tune", project, priority=1 if project == "a" else 0)
    assert [leased(queue, slots=9).id for _ in range(3)] == ["a1", "b1", "a2"]


def test_a_lease_that_ran_out_is_seen_and_its_holder_shut_out(queue: Queue, clock: Clock) -> None:
    queue.enqueue("a", "tune", "shop")
    stale = leased(queue).lease
    assert list(queue.expired()) == []
    clock.time += 31
    (entry,) = queue.expired()
    assert queue.retry(entry.lease, Retry(pause=0), ERROR) == "queued"
    fresh = leased(queue)
    assert (fresh.token, fresh.attempts) == (2, 2)
    for change in (
        lambda: queue.heartbeat(stale, "test", 30),
        lambda: queue.keep(stale, {}),
        lambda: queue.end(stale, "succeeded"),
        lambda: queue.release(stale),
        lambda: queue.retry(stale, Retry(), ERROR),
        lambda: queue.hand_on(stale, "other"),
    ):
        with pytest.raises(LeaseLost):
            change()
    assert queue.get("a") == fresh


def test_a_poison_job_is_given_up_and_says_why(queue: Queue, clock: Clock) -> None:
    queue.enqueue("a", "tune", "shop")
    rule = Retry(attempts=3, pause=10)
    waits = []
    while queue.get("a").state == "queued":
        clock.time = queue.get("a").not_before
        entry = leased(queue)
        queue.retry(entry.lease, rule, ERROR)
        waits.append(queue.get("a").not_before - clock.time)
    assert waits[:2] == [10, 20]
    assert len(waits) == 3
    assert (queue.get("a").state, queue.get("a").error) == ("failed", ERROR)


def test_attempts_that_got_further_do_not_count(queue: Queue, clock: Clock) -> None:
    queue.enqueue("a", "tune", "shop")
    for _ in range(10):
        clock.time += 1000
        entry = leased(queue)
        queue.keep(entry.lease, {}, further=True)
        assert queue.retry(entry.lease, Retry(attempts=2), ERROR) == "queued"
    clock.time += 1000
    assert queue.release(leased(queue).lease) == "queued"
    assert queue.get("a").attempts == 1


def test_what_waits_obeys_at_once_and_what_runs_is_asked(queue: Queue) -> None:
    for name in "abc":
        queue.enqueue(name, "tune", "shop")
    assert queue.ask("a", "pause")
    assert queue.get("a").state == "paused"
    assert queue.ask("a", "resume")
    assert queue.get("a").state == "queued"
    assert queue.ask("a", "cancel")
    assert not queue.ask("a", "cancel")
    assert not queue.ask("a", "resume")
    running = leased(queue)
    assert queue.ask("b", "pause")
    assert (queue.get("b").state, queue.get("b").asked) == ("running", "pause")
    assert queue.ask("b", "resume")
    assert queue.get("b").asked is None
    assert queue.ask("b", "cancel")
    assert not queue.ask("b", "pause")
    assert queue.get("b").asked == "cancel"
    assert queue.release(running.lease) == "cancelled"


@pytest.mark.parametrize(("asked", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_what_was_asked_outlives_the_worker(queue: Queue, asked: str, state: str) -> None:
    queue.enqueue("a", "tune", "shop")
    entry = leased(queue)
    queue.ask("a", asked)  # type: ignore[arg-type]
    assert queue.retry(entry.lease, Retry(), ERROR) == state
    assert queue.get("a").asked is None


def test_the_next_stage_is_another_kind_with_fresh_attempts(queue: Queue) -> None:
    queue.enqueue("a", "check", "shop")
    entry = leased(queue, "check")
    assert queue.hand_on(entry.lease, "tune") == "queued"
    tune = leased(queue)
    assert (tune.kind, tune.attempts, tune.token) == ("tune", 1, 2)
    queue.ask("a", "cancel")
    assert queue.hand_on(tune.lease, "more") == "cancelled"


# The fence ---------------------------------------------------------------------------------------


def make_file(name: str = "a") -> File:
    return File(id=Store.new_id(File), name=name, purpose="fine-tune", bytes=1, sha256="0" * 64)


def test_a_fenced_store_writes_only_while_its_lease_holds(
    store: Store, queue: Queue, clock: Clock
) -> None:
    queue.enqueue("a", "tune", "shop")
    entry = leased(queue)
    worker = Store(settings=store.settings, fence=entry.lease, project="shop")
    record = make_file()
    worker.add(record)
    assert store.list(File, "shop")[0].project == "shop"
    assert store.list(File, "other") == []
    clock.time += 31
    queue.retry(entry.lease, Retry(pause=0), ERROR)
    leased(queue)
    with pytest.raises(LeaseLost):
        worker.add(make_file())
    with pytest.raises(LeaseLost):
        worker.update(record.model_copy(update={"name": "stolen"}))
    with pytest.raises(LeaseLost):
        worker.delete(File, record.id)
    with pytest.raises(LeaseLost), worker.stage(Dataset, "ds_1") as folder:
        (folder / "train.jsonl").write_text("{}")
    assert not worker.folder(Dataset, "ds_1").exists()
    assert [file.name for file in store.list(File)] == ["a"]
    worker.close()


def test_a_transaction_is_all_or_nothing(store: Store, queue: Queue) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add(make_file())
        queue.enqueue("a", "tune", "shop")
        raise ZeroDivisionError
    assert store.list(File) == []
    assert queue.list() == []
    with store.transaction():
        store.add(make_file())
        queue.enqueue("a", "tune", "shop")
    assert len(store.list(File)) == len(queue.list()) == 1


# Several processes -------------------------------------------------------------------------------

WRITERS = """
import sys
from pathlib import Path
from tunewright.core.queue import Queue
from tunewright.core.store import Store
store = Store(Path(sys.argv[1]))
queue = Queue(store)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    queue.enqueue(f"{sys.argv[2]}-{number}", "tune", sys.argv[2])
    entry = queue.lease("tune", 1000, sys.argv[2], 60)
    queue.keep(entry.lease, {"number": number})
    queue.end(entry.lease, "succeeded")
    print(entry.id)
"""


def write_together(home: Path, processes: int, jobs: int, hold: float) -> list[str]:
    """Ids that the processes leased, while somebody holds the database for some time."""
    command = [sys.executable, "-c", WRITERS, str(home)]
    writers = [
        subprocess.Popen(
            [*command, f"p{number}", str(jobs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    holder = threading.Thread(target=hold_exclusively, args=(home / "tunewright.db", hold))
    holder.start()
    told = [writer.communicate() for writer in writers]
    holder.join()
    for writer, (_, errors) in zip(writers, told, strict=True):
        assert writer.returncode == 0, errors
    return [line for out, _ in told for line in out.split()]


def hold_exclusively(database: Path, seconds: float) -> None:
    import time

    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 60})
    while not database.exists():
        time.sleep(0.01)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.isolation_level = None  # type: ignore[attr-defined]
        cursor = raw.cursor()
        cursor.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        cursor.execute("ROLLBACK")
    engine.dispose()


def test_processes_on_a_new_home_never_meet_a_locked_database(home: Path) -> None:
    ids = write_together(home, processes=6, jobs=5, hold=0.5)
    assert len(ids) == len(set(ids)) == 30
    states = {entry.state for entry in Queue(Store(home)).list()}
    assert states == {"succeeded"}


@pytest.mark.slow
def test_sixteen_writers_outlast_a_database_locked_for_long(home: Path) -> None:
    ids = write_together(home, processes=16, jobs=200, hold=30)
    assert len(ids) == len(set(ids)) == 3200


def test_a_database_of_the_first_schema_is_brought_up_to_date(home: Path) -> None:
    home.mkdir()
    engine = create_engine(f"sqlite:///{home / 'tunewright.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE schema_version (version INTEGER NOT NULL)"))
        STEPS[0](connection)
        connection.execute(text("INSERT INTO schema_version VALUES (1)"))
    engine.dispose()
    store = Store(home)
    store.add(make_file())
    assert [file.project for file in store.list(File)] == [None]
    Queue(store).enqueue("a", "tune", "shop")
    store.close()


def test_a_database_that_cannot_be_written_is_a_storage_error(store: Store, queue: Queue) -> None:
    queue.enqueue("a", "tune", "shop")
    with pytest.raises(StorageError, match=r"tunewright\.db"):
        queue.enqueue("a", "tune", "shop")
