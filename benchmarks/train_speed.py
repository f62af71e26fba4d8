"""Training speed, side by side: one pass of LoRA over the same rows, in turns, as ratios.

    python benchmarks/train_speed.py
    python benchmarks/train_speed.py --peer-python PATH/TO/python --peer-python OTHER/python

Each side is a process of its own, so that imports and start-up count in its first step. Sides
take turns for ``--repeats`` rounds and the median counts. A run whose gradient norm is zero or
whose loss does not fall is an error: such a run can be very fast.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from work import make_work

HERE = Path(__file__).resolve().parent
MAX_LENGTH = 512


@dataclass(frozen=True)
class Side:
    """One way to train: who, with what settings, by which Python."""

    name: str
    python: str
    worker: Path
    settings: dict[str, Any]


def ours(batch_tokens: int) -> list[Side]:
    """Tunewright with its defaults."""
    settings = {"batch_tokens": batch_tokens}
    return [Side("tunewright", sys.executable, HERE / "ours_worker.py", settings)]


def peers(python: str, batch_tokens: int) -> list[Side]:
    """What a peer's Python can run: defaults, and the best settings we know."""
    # Both bring an old TRL along, which is not the peer meant.
    if _has(python, "llamafactory"):
        return _llamafactory(python, batch_tokens)
    if _has(python, "swift"):
        return _swift(python)
    return _trl(python, batch_tokens) if _has(python, "trl") else []


def _trl(python: str, batch_tokens: int) -> list[Side]:
    worker = HERE / "peers" / "trl_worker.py"
    default = {"per_device_train_batch_size": 8, "max_length": MAX_LENGTH}
    packed = {
        "per_device_train_batch_size": 1,
        "max_length": batch_tokens,
        "packing": True,
        "gradient_checkpointing": False,
    }
    return [
        Side("TRL, defaults", python, worker, default),
        Side("TRL, packing, bf16 weights", python, worker, {**packed, "dtype": "bfloat16"}),
        Side("TRL, packing, float32", python, worker, {**packed, "bf16": False}),
    ]


def _llamafactory(python: str, batch_tokens: int) -> list[Side]:
    worker = HERE / "peers" / "llamafactory_worker.py"
    default = {"per_device_train_batch_size": 8, "cutoff_len": MAX_LENGTH}
    packed = {
        "per_device_train_batch_size": 1,
        "cutoff_len": batch_tokens,
        "neat_packing": True,
        "disable_gradient_checkpointing": True,
    }
    return [
        Side("LLaMA-Factory, defaults", python, worker, default),
        Side("LLaMA-Factory, neat_packing, bf16", python, worker, {**packed, "bf16": True}),
        Side("LLaMA-Factory, neat_packing, float32", python, worker, packed),
    ]


def _swift(python: str) -> list[Side]:
    worker = HERE / "peers" / "swift_worker.py"
    default = {"per_device_train_batch_size": 8, "max_length": MAX_LENGTH}
    # Its packing wants flash attention, which needs a GPU.
    tuned = {"torch_dtype": "bfloat16", "gradient_checkpointing": False, "group_by_length": True}
    return [
        Side("ms-swift, defaults", python, worker, default),
        Side("ms-swift, bf16, rows by length", python, worker, {**default, **tuned}),
    ]


def measure(side: Side, work: Path, tokens: int, limit: float) -> dict[str, float] | None:
    """Run one side once.

    Args:
        side: whom to run.
        work: folder with ``model/`` and ``rows.jsonl``.
        tokens: tokens of one pass over the rows, padding not counted.
        limit: seconds after which the side is given up, and None returned.

    Raises:
        RuntimeError: when the run fails, does not learn or leaves no measurement.
    """
    arguments = [repr(time.time()), str(work), json.dumps(side.settings)]
    try:
        done = subprocess.run(
            [side.python, str(side.worker), *arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"},
        )
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("METER ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{side.name} failed:\n{done.stderr[-2000:]}")
    report = json.loads(lines[-1].removeprefix("METER "))
    _check_learning(side.name, report)
    after_first = tokens * (report["steps"] - 1) / report["steps"]
    return {
        "tokens_per_second": after_first / report["seconds_after_first"],
        "first_step_seconds": report["first_step_seconds"],
        "peak_memory_bytes": report["peak_memory_bytes"],
        "steps": report["steps"],
    }


def _check_learning(name: str, report: dict[str, Any]) -> None:
    losses, norms = report["losses"], report["grad_norms"]
    if not norms or min(norms) <= 0:
        raise RuntimeError(f"{name}: a gradient norm is zero; this run trains nothing")
    third = max(1, len(losses) // 3)
    if statistics.mean(losses[-third:]) >= statistics.mean(losses[:third]):
        raise RuntimeError(f"{name}: the loss does not fall: {losses}")


def _has(python: str, module: str) -> bool:
    program = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", program]).returncode == 0


def take_rows(source: Path, target: Path, count: int, model: Path) -> int:
    """Copy the first rows and return their tokens, counted by the model's own template."""
    from tunewright.core.messages import Conversation
    from tunewright.model.rendering import Renderer

    lines = source.read_text(encoding="utf-8").splitlines()[:count]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    conversations = [Conversation.model_validate(json.loads(line)) for line in lines]
    return sum(Renderer(model).count_many(conversations))


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Medians of every side, and how many times the first side is faster."""
    keys = ("tokens_per_second", "first_step_seconds", "peak_memory_bytes")
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in keys}
        for name, runs in results.items()
        if runs
    }
    first = next(iter(medians.values()))
    lines = [
        "| run | tokens/s | ours ÷ theirs | first step, s | peak memory, GB | rounds |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in medians.items():
        speed, start, memory = (row[key] for key in keys)
        lines.append(
            f"| {name} | {speed:.0f} | {first['tokens_per_second'] / speed:.2f} "
            f"| {start:.1f} | {memory / 1e9:.2f} | {len(results[name])} |"
        )
    lines += [f"| {name} | gave up | | | | 0 |" for name, runs in results.items() if not runs]
    return "\n".join(lines)


def main() -> None:
    """Make or take the work, let the sides take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, help="folder with model/ and chat.jsonl to use")
    parser.add_argument("--rows", type=int, default=160, help="rows of one pass")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="tokens per packed step")
    parser.add_argument("--repeats", type=int, default=1, help="rounds; the median counts")
    parser.add_argument("--limit", type=float, default=600, help="seconds one run may take")
    parser.add_argument("--peer-python", action="append", default=[], help="Python with a peer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if options.work:
            shutil.copytree(options.work / "model", work / "model")
            shutil.copy(options.work / "chat.jsonl", work)
        else:
            make_work(work, max(2000, options.rows))
        tokens = take_rows(work / "chat.jsonl", work / "rows.jsonl", options.rows, work / "model")
        sides = ours(options.batch_tokens)
        for python in options.peer_python:
            sides += peers(python, options.batch_tokens)
        print(f"{options.rows} rows, {tokens} tokens, {os.cpu_count()} cores", flush=True)
        results: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                print(f"running {side.name} …", file=sys.stderr, flush=True)
                result = measure(side, work, tokens, options.limit)
                results[side.name] += [result] if result else []
    print(table(results))


if __name__ == "__main__":
    main()
