"""Answers → rows: read, verified, without duplicates, judged by the checks of the data gate.

Everything here follows from the journal alone, in the order of the sources: the same answers
give the same rows, however often the asking was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.config.generation import GenerateConfig
from tunewright.core.settings import Settings
from tunewright.data.checks.base import Finding
from tunewright.data.checks.table import CHECKS, check_named
from tunewright.data.collect import Collection
from tunewright.data.generate.answers import results_of
from tunewright.data.generate.journal import Journal
from tunewright.data.generate.work import Ask, Result, Row, Work
from tunewright.data.normal import near_key
from tunewright.data.pipeline import run_checks
from tunewright.data.records import Unusable
from tunewright.endpoints.endpoint import NoAnswer
from tunewright.model.catalog import resolve_base
from tunewright.model.rendering import Renderer

_DEFAULT_BASE = "nano"


@dataclass(frozen=True)
class Rejected:
    """A result that is no row, as the file of rejected results holds it."""

    reason: str
    detail: str
    result: Mapping[str, Any] | None
    count: int = 1

    def json_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        found = {} if self.result is None else {"result": dict(self.result)}
        return {"reason": self.reason, "detail": self.detail, "results": self.count, **found}


@dataclass
class Assembly:
    """What the answers came to: ``asked`` = rows + rejected results.

    Attributes:
        asked: results that were wanted.
        replies: completions that were answered.
        surplus: results beyond those wanted, which are not used.
        rows: of the output, in the order of their sources.
        rejected: results that are no rows, and results that never came.
        findings: what the checks found in the rows, as sentences.
    """

    asked: int = 0
    replies: int = 0
    surplus: int = 0
    rows: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Reason → results, the commonest first."""
        counter: Counter[str] = Counter()
        for one in self.rejected:
            counter[one.reason] += one.count
        return dict(counter.most_common())

    def reject(self, why: Unusable | NoAnswer, result: Result | None, count: int = 1) -> None:
        """Leave out a result, or several that never came."""
        self.rejected.append(Rejected(why.reason, why.detail, result, count))


def assemble(
    work: Work,
    asks: Sequence[Ask],
    journal: Journal,
    config: GenerateConfig,
    failures: Mapping[str, NoAnswer],
    settings: Settings,
) -> Assembly:
    """Make the rows.

    Args:
        work: what was made.
        asks: all prompts, in order.
        journal: their answers.
        config: options.
        failures: why prompts without an answer have none, where that is known.
        settings: the language of the findings, and where the base lies.

    Raises:
        ModelError: the base cannot be found.
    """
    made = Assembly()
    for ask in asks:
        for index in range(ask.completions):
            _read(made, work, ask, index, journal, config, failures)
    _unique(made, work)
    _judge(made, work, config, settings)
    return made


def _read(
    made: Assembly,
    work: Work,
    ask: Ask,
    index: int,
    journal: Journal,
    config: GenerateConfig,
    failures: Mapping[str, NoAnswer],
) -> None:
    made.asked += ask.count
    made.replies += journal.get(ask.key, index) is not None
    try:
        results = results_of(ask, index, journal, work, config)
    except ValueError as error:
        made.reject(Unusable("not the JSON asked for", str(error)), None, ask.count)
        return
    if results is None:
        unasked = Unusable("not asked yet", "run the command again to go on")
        made.reject(failures.get(ask.key, unasked), None, ask.count)
        return
    made.surplus += max(0, len(results) - ask.count)
    if len(results) < ask.count:
        detail = f"{len(results)} of {ask.count}"
        made.reject(Unusable("fewer than asked for", detail), None, ask.count - len(results))
    for result in results[: ask.count]:
        _accept(made, work, ask, result)


def _accept(made: Assembly, work: Work, ask: Ask, result: Result) -> None:
    empty = [name for name in work.fields if not near_key(result[name])]
    try:
        if empty:
            raise Unusable("empty field", empty[0])
        made.rows.append(work.items[ask.item].accept(result))
    except Unusable as why:
        made.reject(why, result)


def _unique(made: Assembly, work: Work) -> None:
    """Leave out what repeats an earlier row, or a question that must not be repeated."""
    seen: set[str] = set()
    kept: list[Row] = []
    for number, row in enumerate(made.rows, start=1):
        key = near_key(work.draft(row, number).question)
        if key in work.known:
            made.reject(Unusable("repeats an existing question"), row)
        elif key in seen:
            made.reject(Unusable("duplicate"), row)
        else:
            seen.add(key)
            kept.append(row)
    made.rows = kept


def _judge(made: Assembly, work: Work, config: GenerateConfig, settings: Settings) -> None:
    """Let the data gate's checks look at the rows; those that they would drop are left out."""
    if not made.rows:
        return
    base = resolve_base(config.base or _DEFAULT_BASE, settings)
    gate = PrepareConfig(files=(work.output,), base=base.name)
    drafts = [work.draft(row, number) for number, row in enumerate(made.rows, start=1)]
    collection = Collection(train=drafts, read=len(drafts))
    checks = [check for check in CHECKS if check.name not in work.without]
    found = run_checks(collection, gate, Renderer(base.folder), checks=checks)
    dropped = {one.row: one for one in collection.dropped}
    kept: list[Row] = []
    for number, row in enumerate(made.rows, start=1):
        if number in dropped:
            made.reject(Unusable(dropped[number].reason, dropped[number].text), row)
        else:
            kept.append(row)
    made.rows = kept
    made.findings = [_sentence(finding, settings.language) for finding in found]


def _sentence(finding: Finding, language: str) -> str:
    check = check_named(finding.check)
    says = check.says[language].format(**{"rows": finding.rows, **finding.facts})
    return f"{check.title[language]}{'：' if language == 'zh' else ': '}{says}"
