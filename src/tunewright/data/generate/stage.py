"""``generate``: plan, show the cost, ask, assemble, write."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.config.generation import (
    GenerateConfig,
    ParaphrasesConfig,
    QuestionsConfig,
    TextsConfig,
)
from tunewright.core.errors import ConfigError, EndpointError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import write_text_atomic
from tunewright.core.store import Store
from tunewright.data.generate.answers import waiting
from tunewright.data.generate.assemble import Assembly, assemble
from tunewright.data.generate.engine import Ended, Ending, Engine
from tunewright.data.generate.estimate import Counter, Estimate, estimate, token_counter
from tunewright.data.generate.journal import Journal
from tunewright.data.generate.paraphrases import make_paraphrases
from tunewright.data.generate.questions import make_questions
from tunewright.data.generate.texts import make_texts
from tunewright.data.generate.work import Ask, Row, Work, make_asks
from tunewright.endpoints.address import Address, find_address
from tunewright.endpoints.dialect import Messages
from tunewright.endpoints.prices import cost

Maker = Callable[[Any, Store], Work]
MAKERS: dict[type[GenerateConfig], Maker] = {
    QuestionsConfig: make_questions,
    TextsConfig: make_texts,
    ParaphrasesConfig: make_paraphrases,
}
"""Config → what is asked for; a new kind of generation is one entry and one module."""

_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first request.

    Attributes:
        config: options.
        work: what is made.
        asks: the prompts.
        address: the endpoint.
        output: the file to be written.
        journal: the answers so far.
        count: counts a prompt's tokens.
        estimate: what is still to be paid for.
    """

    config: GenerateConfig
    work: Work
    asks: Sequence[Ask]
    address: Address
    output: Path
    journal: Journal
    count: Counter
    estimate: Estimate

    @property
    def first_prompt(self) -> Messages:
        """The first prompt in full."""
        return self.asks[0].messages


@dataclass(frozen=True)
class Account:
    """What came of it: ``asked`` = ``accepted`` + all of ``rejected``.

    Attributes:
        how: ``done``, or what stopped it.
        error: what made the endpoint useless, if anything did.
        output: the file of rows; None when there is no row.
        rejects: the file of rejected results; None without any.
        journal: where the answers lie.
        asked: results wanted.
        replies: completions answered.
        accepted: rows written.
        rejected: reason → results.
        surplus: results beyond those wanted.
        skipped: reason → sources that were not asked about.
        findings: what the checks say about the rows.
        calls: answered requests; these and the tokens count earlier runs of the output too.
        prompt_tokens: as the endpoint counts them, where it does.
        completion_tokens: likewise.
        cost: None without both prices.
        seconds: of this run.
    """

    how: Ending
    error: EndpointError | None
    output: Path | None
    rejects: Path | None
    journal: Path
    asked: int
    replies: int
    accepted: int
    rejected: Mapping[str, int]
    surplus: int
    skipped: Mapping[str, int]
    findings: Sequence[str]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float


def plan(config: GenerateConfig, store: Store) -> Job:
    """Read the sources, make every prompt, and say what they will cost; nothing is sent.

    Raises:
        ConfigError: options that do not fit together.
        DataError: sources that cannot be read, or an output that is somebody else's file.
        NotFoundError: no such dataset.
        ModelError: no such base.
    """
    if config.limits.budget is not None and None in (config.price.input, config.price.output):
        raise ConfigError(
            "option 'limits.budget': a budget needs the prices",
            "Give --price-input and --price-output, per million tokens.",
        )
    address = find_address(config, store.settings)
    work = MAKERS[type(config)](config, store)
    output = _output(config, work)
    journal = Journal(output.with_name(output.name + ".journal"))
    if output.exists() and not journal.path.exists():
        raise ConfigError(
            f"option 'output': {output} exists already",
            "Choose another --output, or move the file away.",
        )
    asks = make_asks(work, config)
    count = token_counter(config, store.settings)
    shown = estimate(asks, work, journal, config, count)
    return Job(config, work, asks, address, output, journal, count, shown)


def generate(job: Job, store: Store, listen: Listener = ignore) -> Account:
    """Ask for everything that the journal does not hold, then write the rows.

    An interrupted or killed run loses nothing: the same command goes on where it stopped. The
    output is written whenever there are rows, complete or not; the account says which.

    Raises:
        DataError: another process writes the same output.
        StorageError: the disk refuses.
    """
    begun = time.monotonic()
    if job.address.exposed:
        host = job.address.url.host
        text = f"The key crosses the network to {host} unencrypted: the endpoint is not https."
        listen(Event(kind="note", data={"text": text}))
    with job.journal.writing():
        engine = Engine(job.work, job.address, job.config, job.journal, job.count, listen)
        open_asks = [ask for ask in job.asks if waiting(ask, job.journal, job.work, job.config)]
        ended = engine.run(open_asks) if open_asks else Ended()
        made = assemble(job.work, job.asks, job.journal, job.config, ended.failures, store.settings)
        output, rejects = _write(job.output, made)
    return _account(job, ended, made, output, rejects, time.monotonic() - begun)


def _account(
    job: Job, ended: Ended, made: Assembly, output: Path | None, rejects: Path | None, took: float
) -> Account:
    spent = job.journal.spent
    return Account(
        how=ended.how,
        error=ended.error,
        output=output,
        rejects=rejects,
        journal=job.journal.path,
        asked=made.asked,
        replies=made.replies,
        accepted=len(made.rows),
        rejected=made.counts(),
        surplus=made.surplus,
        skipped=dict(job.work.skipped),
        findings=made.findings,
        calls=spent.calls,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        cost=cost(spent.prompt_tokens, spent.completion_tokens, job.config.price),
        seconds=round(took, 3),
    )


def _output(config: GenerateConfig, work: Work) -> Path:
    output = Path(config.output or work.output)
    if output.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"option 'output': {output.name} must end in {' or '.join(_WRITERS)}",
            f"Example: --output {output.stem or work.name}.jsonl",
        )
    if not output.parent.is_dir():
        raise ConfigError(f"option 'output': there is no folder {output.parent}", "Make it first.")
    return output


def _write(output: Path, made: Assembly) -> tuple[Path | None, Path | None]:
    rejects = output.with_name(output.name + ".rejected.jsonl")
    if made.rejected:
        write_text_atomic(rejects, _jsonl([one.json_dict() for one in made.rejected]))
    else:
        rejects.unlink(missing_ok=True)
    if made.rows:
        write_text_atomic(output, _WRITERS[output.suffix.lower()](made.rows))
    return output if made.rows else None, rejects if made.rejected else None


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: Sequence[Row]) -> str:
    """A table that spreadsheets open: with a byte order mark, and no cell that is a formula."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(flat)
    return "\ufeff" + file.getvalue()


def _flat(row: Row) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in row.items():
        inner = value if isinstance(value, dict) else {"": value}
        for key, cell in inner.items():
            text = str(cell)
            # Outer space is no part of a text when it is read again.
            cells[f"{name}_{key}" if key else name] = (
                f" {text}" if text.startswith(_FORMULA) else text
            )
    return cells


_WRITERS: dict[str, Callable[[Sequence[Row]], str]] = {".jsonl": _jsonl, ".csv": _csv}
