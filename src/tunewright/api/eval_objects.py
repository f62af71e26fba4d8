"""Evals, their runs and output items in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from tunewright.core.asked_records import Eval, EvalRun
from tunewright.core.queue import Queue
from tunewright.core.results import Result
from tunewright.core.store import Store
from tunewright.jobs.eval_rows import read_rows, rows_path
from tunewright.jobs.evals import ERROR, FAIL, PASS

_STATES = ("canceled", "failed", "completed", "in_progress")
_SAMPLE = {
    "type": "object",
    "properties": {"output_text": {"type": "string"}, "model": {"type": "string"}},
    "required": ["output_text"],
}
_STORED_ITEM = {"type": "object", "properties": {"input": {"type": "array"}}}
_WITH_SAMPLE = "include_sample_schema"


def eval_object(record: Eval) -> dict[str, Any]:
    """OpenAI's eval."""
    return {
        "id": record.id,
        "object": "eval",
        "name": record.name,
        "created_at": int(record.created),
        "data_source_config": _source_config(record.source),
        "testing_criteria": list(record.criteria),
        "metadata": record.metadata,
    }


def _source_config(source: dict[str, Any]) -> dict[str, Any]:
    """With the schema of whole rows."""
    stored = source["type"] != "custom"
    properties = {"item": _STORED_ITEM if stored else source["item_schema"]}
    if stored or source.get(_WITH_SAMPLE):
        properties["sample"] = _SAMPLE
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    told = {"type": source["type"], "schema": schema}
    return {**told, "metadata": source.get("metadata") or {}} if stored else told


def run_state(store: Store, run: EvalRun) -> tuple[str, dict[str, Any] | None]:
    """Where a run stands, and what went wrong with it."""
    found = next((one for one in _STATES if getattr(run, f"{one}_at") is not None), "queued")
    if found in ("queued", "in_progress"):
        entry = Queue(store).get(run.id)
        if entry.state == "failed":
            # Its server broke off again and again.
            error = entry.error or {}
            return "failed", {"code": error.get("code"), "message": error.get("message")}
    return found, run.error


def run_object(store: Store, run: EvalRun, base: str) -> dict[str, Any]:
    """OpenAI's run; ``base`` is how its client calls this server."""
    status, error = run_state(store, run)
    counts = {name: run.counts.get(name, 0) for name in (PASS, FAIL, ERROR)}
    return {
        "id": run.id,
        "object": "eval.run",
        "eval_id": run.eval,
        "name": run.name,
        "created_at": int(run.created),
        "status": status,
        "model": run.model or "",
        "data_source": _data_source(store, run),
        "report_url": f"{base}/v1/evals/{run.eval}/runs/{run.id}/output_items",
        "result_counts": {
            "total": run.total,
            "errored": counts[ERROR],
            "failed": counts[FAIL],
            "passed": counts[PASS],
        },
        "per_model_usage": [
            {
                "model_name": name,
                **sums,
                "total_tokens": sums["prompt_tokens"] + sums["completion_tokens"],
            }
            for name, sums in run.usage.items()
        ],
        "per_testing_criteria_results": [
            {"testing_criteria": name, **sums} for name, sums in run.by_criterion.items()
        ],
        "metadata": run.metadata,
        "error": error,
    }


def _data_source(store: Store, run: EvalRun) -> dict[str, Any]:
    """As it was given, with the rows that came with it."""
    source = run.source["source"]
    if source["type"] != "file_content":
        return run.source
    rows = read_rows(rows_path(store, run))
    content = [
        {"item": row.item, **({} if row.sample is None else {"sample": row.sample})} for row in rows
    ]
    return {**run.source, "source": {**source, "content": content}}


def item_id(run: EvalRun, number: int) -> str:
    """Of an output item; it tells the run and the row."""
    return f"outputitem_{run.id.rpartition('_')[2]}-{number}"


def item_number(run: EvalRun, item: str) -> int | None:
    """The row that an output item's id names; None where it names none of this run's."""
    begin, _, number = item.rpartition("-")
    fits = number.isascii() and number.isdigit() and len(number) < 9
    return int(number) if fits and begin == item_id(run, 0)[:-2] else None


def item_object(run: EvalRun, result: Result) -> dict[str, Any]:
    """OpenAI's output item."""
    body = result.body
    return {
        "id": item_id(run, result.number),
        "object": "eval.run.output_item",
        "created_at": int(body["created"]),
        "run_id": run.id,
        "eval_id": run.eval,
        "status": result.outcome,
        "datasource_item_id": result.number,
        "datasource_item": body["item"],
        "results": body["results"],
        "sample": body["sample"],
    }
