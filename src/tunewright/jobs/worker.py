"""One job in a process of its own, started with its lease: ``python -m tunewright.jobs.worker``.

Exit status: 0 when the queue knows how the job stands, whatever that is; 3 when the job is another
worker's; anything else is a fault of ours, which the dispatcher counts as an attempt.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunewright.config.jobs import JobsConfig
from tunewright.core.errors import Interrupted, LeaseLost, StorageError, TunewrightError
from tunewright.core.queue import Queue
from tunewright.core.records import FineTuningJob
from tunewright.core.settings import set_process_defaults
from tunewright.core.store import Lease, Store
from tunewright.jobs.heart import LEASE_LOST, Heart
from tunewright.jobs.journal import Journal
from tunewright.jobs.work import (
    FILES,
    TRAINING,
    Close,
    Refused,
    Work,
    broke_off,
    fail,
    put_back,
    retry_rule,
)

_log = logging.getLogger(__name__)


def _validate(work: Work) -> Close:
    from tunewright.jobs.training_files import validate

    return validate(work)


def _tune(work: Work) -> Close:
    from tunewright.jobs.finetuning import tune

    return tune(work)


HANDLERS: dict[str, Callable[[Work], Close]] = {FILES: _validate, TRAINING: _tune}
"""What is done for a job, by its kind in the queue."""


def work_on(home: Path, lease: Lease, config: JobsConfig) -> int:
    """Do one leased job.

    Returns:
        The exit status.
    """
    plain = Store(home)
    queue = Queue(plain)
    try:
        entry = queue.get(lease.job)
        record = plain.by_id(FineTuningJob, lease.job)
        if record is None:
            raise LeaseLost(f"job {lease.job} has no record any more")
        # The tuned model's name says whose it is.
        settings = replace(plain.settings, organization=entry.project)
        store = Store(settings=settings, fence=lease, project=entry.project)
        with Heart(store, lease, config.lease) as heart:
            work = Work(store, plain, queue, lease, heart, entry.payload, record)
            close = _outcome(work, HANDLERS[entry.kind], config)
        with plain.transaction():
            Journal(plain).write(lease.job, heart.take())
            close()
    except LeaseLost as error:
        _log.error("%s", error.message)
        return LEASE_LOST
    finally:
        plain.close()
    return 0


def _outcome(work: Work, handler: Callable[[Work], Close], config: JobsConfig) -> Close:
    """Do the work; however it ends, what to tell the queue."""
    place = (work.plain, work.queue, work.lease)
    rule = retry_rule(config)
    try:
        return handler(work)
    except LeaseLost:
        raise
    except Interrupted:
        return lambda: void(put_back(*place))
    except StorageError as error:
        why = error.message
        _log.error("%s", why)
        return lambda: void(broke_off(*place, rule, why))
    except Refused as error:
        refused = error
    except TunewrightError as error:
        refused = Refused("training_failed", f"{error.message} {error.hint}".strip())
    except Exception as error:  # noqa: BLE001
        # The last boundary: a fault of ours, which may not come again.
        _log.exception("job %s", work.lease.job)
        fault = f"the worker met an unexpected {type(error).__name__}"
        return lambda: void(broke_off(*place, rule, fault))
    return lambda: fail(*place, refused)


def void(_: object) -> None:
    """Nothing to add."""


def main(arguments: list[str] | None = None) -> int:
    """The process."""
    set_process_defaults()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--token", type=int, required=True)
    parser.add_argument("--config", default="{}", help="JobsConfig as JSON")
    given = parser.parse_args(arguments)
    config = JobsConfig.model_validate_json(given.config)
    with suppress(KeyboardInterrupt):
        return work_on(given.home, Lease(given.job, given.token), config)
    return 1


if __name__ == "__main__":
    sys.exit(main())
