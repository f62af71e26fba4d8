"""Runs of evals: a model's answers, or those that rows hold, tested by every criterion."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from tunewright.core.asked_records import Eval, EvalRun
from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.queue import Entry, Queue
from tunewright.core.results import Result, Results
from tunewright.core.store import Store
from tunewright.deployment.protocol import ChatRequest
from tunewright.grading.results import Case
from tunewright.jobs.answering import Answered, Answering, Cost, cost
from tunewright.jobs.asking import Asker, Question, Reply, persistently
from tunewright.jobs.criteria import Criterion, Verdict, answer_text, error_text, parse_criterion
from tunewright.jobs.eval_rows import Row, check_rows, read_rows, request, rows_path
from tunewright.jobs.pace import Pacer

EVAL = "eval"
"""Kind of a run of an eval in the queue."""
PASS, FAIL, ERROR = "pass", "fail", "error"
_CHAT = f"/v1{ChatRequest.path}"


class EvalTask:
    """One run under way; implements ``background.Task``.

    Args:
        store: where it is.
        entry: its place in the queue, leased.
        seconds: how long the lease lasts without a beat.
        asker, pacer: how models are asked, and how fast.
        workers: rows under way at once.
    """

    def __init__(
        self,
        store: Store,
        entry: Entry,
        seconds: float,
        asker: Asker,
        pacer: Pacer,
        workers: int,
    ) -> None:
        self._store, self._id, self._lease = store, entry.id, entry.lease
        self._queue = Queue(store)
        self._asker, self._pacer = asker, pacer
        self._answering = Answering(store, entry, seconds, workers, self._count)

    async def run(self) -> None:
        """From where it was left to its end."""
        run = await asyncio.to_thread(self._record)
        self._answering.api_key = run.api_key
        try:
            if run.in_progress_at is None and run.canceling_at is None:
                run = await self._begin(run)
            if run.canceling_at is None:
                await self._answer(run)
        except NotFoundError:
            raise
        except InputError as error:
            await asyncio.to_thread(self._end, error)
            return
        await asyncio.to_thread(self._end)

    async def save(self) -> None:
        """Write what was tested."""
        await self._answering.save()

    def _record(self) -> EvalRun:
        record = self._store.by_id(EvalRun, self._id)
        if record is None:
            raise NotFoundError(f"no eval run {self._id!r} in {self._store.home}")
        return record

    def _eval(self, run: EvalRun) -> Eval:
        record = self._store.by_id(Eval, run.eval)
        if record is None:
            raise NotFoundError(f"no eval {run.eval!r} in {self._store.home}")
        return record

    async def _begin(self, run: EvalRun) -> EvalRun:
        found: list[int] = []

        async def look() -> None:
            schema = (await asyncio.to_thread(self._eval, run)).source.get("item_schema")
            path = rows_path(self._store, run)
            found.append(await asyncio.to_thread(check_rows, path, schema))

        await self._answering.hold_while(look())
        return await asyncio.to_thread(self._begun, found[0])

    def _begun(self, total: int) -> EvalRun:
        with self._store.transaction():
            self._answering.hold()
            return self._store.change(EvalRun, self._id, total=total, in_progress_at=time.time())

    async def _answer(self, run: EvalRun) -> None:
        of = await asyncio.to_thread(self._eval, run)
        criteria = [parse_criterion(one) for one in of.criteria]
        done = await asyncio.to_thread(Results(self._store).numbers, run.id)
        rows = read_rows(rows_path(self._store, run), done)

        async def one(row: Row) -> Answered:
            return await self._tested(run, row, criteria)

        await self._answering.answer(rows, one, lambda: self._record().canceling_at is None)

    # One row ------------------------------------------------------------------------------------

    async def _tested(self, run: EvalRun, row: Row, criteria: Sequence[Criterion]) -> Answered:
        async def ask(body: dict[str, Any]) -> Reply:
            raw = json.dumps(body, ensure_ascii=False).encode()
            question = Question(_CHAT, raw, run.project or "", run.api_key)
            return await persistently(self._asker, self._pacer, question)

        costs: list[Cost] = []
        answer, sample = row.answer, _held(row)
        if run.model is not None:
            try:
                body = request(run, row)
            except InputError as error:
                failed = {**sample, "error": {"code": "invalid_row", "message": error.message}}
                return Answered(_result(row, ERROR, [], failed), ())
            reply = await ask(body)
            costs.append(cost(reply, run.model))
            sample = _drawn(body, reply)
            if reply.status != 200:
                return Answered(_result(row, ERROR, [], sample), tuple(costs))
            answer = answer_text(reply)
        case = Case(answer, row.item)
        verdicts = [await criterion.judged(case, ask) for criterion in criteria]
        costs += [spent for verdict in verdicts for spent in verdict.costs]
        told = [_told(*both) for both in zip(criteria, verdicts, strict=True)]
        return Answered(_result(row, _outcome(verdicts), told, sample), tuple(costs))

    def _count(self, fresh: Sequence[Answered]) -> None:
        run = self._record()
        counts = dict(run.counts)
        by_criterion = {name: dict(one) for name, one in run.by_criterion.items()}
        usage = {name: dict(one) for name, one in run.usage.items()}
        for one in fresh:
            counts[one.result.outcome] = counts.get(one.result.outcome, 0) + 1
            for told in one.result.body["results"]:
                passed = by_criterion.setdefault(told["name"], {"passed": 0, "failed": 0})
                passed["passed" if told["passed"] else "failed"] += 1
            for spent in one.costs:
                _add(usage.setdefault(spent.model, {}), spent)
        self._store.change(EvalRun, run.id, counts=counts, by_criterion=by_criterion, usage=usage)

    def _end(self, wrong: InputError | None = None) -> None:
        """The run's end: as it was asked to, or because its rows are wrong."""
        run = self._record()
        end = "failed" if wrong else "completed" if run.canceling_at is None else "canceled"
        error = None if wrong is None else {"code": "invalid_data", "message": wrong.message}
        states = {"failed": "failed", "completed": "succeeded", "canceled": "cancelled"}
        with self._store.transaction():
            self._queue.end(self._lease, states[end], error)  # type: ignore[arg-type]
            self._store.change(EvalRun, self._id, **{f"{end}_at": time.time(), "error": error})


def _add(sums: dict[str, int], spent: Cost) -> None:
    more = {
        "invocation_count": 1,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cached_tokens": spent.cached_tokens,
    }
    for name, amount in more.items():
        sums[name] = sums.get(name, 0) + amount


def _outcome(verdicts: Sequence[Verdict]) -> str:
    if any(verdict.failed is not None for verdict in verdicts):
        return ERROR
    return PASS if all(verdict.passed for verdict in verdicts) else FAIL


def _told(criterion: Criterion, verdict: Verdict) -> dict[str, Any]:
    told = {
        "name": criterion.name,
        "type": criterion.grader.type,
        "score": verdict.score,
        "passed": verdict.passed,
        "sample": verdict.sample,
    }
    return told if verdict.failed is None else {**told, "error": verdict.failed}


def _result(
    row: Row, outcome: str, results: list[dict[str, Any]], sample: dict[str, Any]
) -> Result:
    body = {"created": time.time(), "item": row.item, "results": results, "sample": sample}
    return Result(row.number, outcome, body)


_NOTHING = {"total_tokens": 0, "completion_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0}


def _held(row: Row) -> dict[str, Any]:
    """The sample that a row holds, in OpenAI's shape."""
    given = row.sample or {}
    return {
        "input": given.get("input") or [],
        "output": [{"role": "assistant", "content": row.answer}] if row.sample else [],
        "finish_reason": given.get("finish_reason") or "",
        "model": given.get("model") or "",
        "usage": given.get("usage") or _NOTHING,
        "error": None,
        **_settings({}),
    }


def _drawn(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """A model's answer, in OpenAI's shape."""
    good = reply.status == 200
    choice = reply.body["choices"][0] if good else {}
    usage = reply.usage
    told = {name: int(usage.get(name) or 0) for name in _NOTHING}
    told["cached_tokens"] = cost(reply, "").cached_tokens
    return {
        "input": body["messages"],
        "output": [{"role": "assistant", "content": answer_text(reply)}] if good else [],
        "finish_reason": choice.get("finish_reason") or "",
        "model": reply.model or body["model"],
        "usage": told,
        "error": None if good else {"code": reply.code, "message": error_text(reply)},
        **_settings(body),
    }


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    names = ("temperature", "max_completion_tokens", "top_p", "seed")
    return {name: body.get(name) for name in names}
