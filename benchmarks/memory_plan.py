"""Planned against measured peak memory of short trainings, each in a process of its own.

    python benchmarks/memory_plan.py
    python benchmarks/memory_plan.py --model 100M --way lora --precision bfloat16 --tokens 1024

What importing takes is left out on both sides: the plan's overhead, and the memory that a process
holds once everything is imported. Linux only: it reads the kernel's own account of the process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from work import CONFIG, make_work

STEPS = 8
WAYS: dict[str, dict[str, Any]] = {
    "lora": {},
    "full": {"tuner": "full"},
    "freeze": {"tuner": "freeze"},
    "prefix": {"tuner": "prefix"},
    "qlora-int8": {"quantize": "int8"},
    "qlora-nf4": {"quantize": "nf4"},
}
MODELS: dict[str, dict[str, Any]] = {
    "29M": CONFIG,
    "100M": {
        **CONFIG,
        "hidden_size": 768,
        "intermediate_size": 2688,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
}


def main() -> None:
    """Measure every combination and print a table; exit 1 where the plan is 15 % off or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), action="append")
    parser.add_argument("--tokens", type=int, action="append")
    parser.add_argument("--checkpointing", choices=("none", "selective", "full"), action="append")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("METER " + json.dumps(_work(**json.loads(options.worker))), flush=True)
        return
    cases = itertools.product(
        options.model or MODELS,
        options.way or WAYS,
        options.precision or ("float32", "bfloat16"),
        options.tokens or (512, 2048),
        options.checkpointing or ("none",),
    )
    print("| model | way | precision | tokens | recomputed | planned MB | measured MB | ratio |")
    print("|---|---|---|---:|---|---:|---:|---:|")
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for model, way, precision, tokens, again in cases:
            work = Path(folder) / model
            if not work.exists():
                # In bfloat16, as bases are published.
                make_work(work, 400, {**MODELS[model], "dtype": "bfloat16"})
            found = _measure(work, way, precision, tokens, again)
            ratio = found["planned"] / found["measured"]
            print(json.dumps(found), file=sys.stderr)
            worst = max(worst, ratio, 1 / ratio)
            print(
                f"| {model} | {way} | {precision} | {tokens:,} | {again} |"
                f" {found['planned'] / 1e6:.0f} | {found['measured'] / 1e6:.0f} | {ratio:.2f} |",
                flush=True,
            )
    if worst > 1.15:
        sys.exit(f"the plan is {worst - 1:.0%} off at worst")


def _measure(work: Path, way: str, precision: str, tokens: int, again: str) -> dict[str, float]:
    case = {
        "work": str(work),
        "way": way,
        "precision": precision,
        "tokens": tokens,
        "checkpointing": again,
    }
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(case)], capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("METER ")]
    if done.returncode or not lines:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(lines[-1].removeprefix("METER "))
    return found


def _work(work: str, way: str, precision: str, tokens: int, checkpointing: str) -> dict[str, Any]:
    """Train a few steps; the plan's and the process's peak besides imports, in bytes."""
    import transformers.models.qwen3.modeling_qwen3  # noqa: F401

    if way == "qlora-nf4":
        import bitsandbytes  # noqa: F401
    import tunewright.training.assemble  # noqa: F401
    from ours_worker import _add_dataset
    from tunewright.config.training import TrainConfig
    from tunewright.core.events import Event
    from tunewright.core.settings import Settings
    from tunewright.core.store import Store
    from tunewright.training.estimates import RUNTIME
    from tunewright.training.train import train

    plans: list[dict[str, Any]] = []

    def listen(event: Event) -> None:
        if event.kind == "plan":
            plans.append(event.data)

    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home), Settings(home=Path(home), offline=True))
        dataset = _add_dataset(store, _rows(Path(work)))
        config = {
            "dataset": dataset.id,
            "base": str(Path(work) / "model"),
            "max_steps": STEPS,
            "batch_tokens": tokens,
            "save_steps": 10**6,
            "precision": precision,
            "device": "cpu",
            "lora": {"rank": 8, "alpha": 16},
            "optimizer": {"learning_rate": 1e-4},
            "memory": {"checkpointing": checkpointing, "rehearse": "never"},
            **WAYS[way],
        }
        begun = _held("VmRSS")
        train(TrainConfig.build(config), store, listen)
        store.close()
    planned = plans[0]["estimate"]["memory"]
    return {
        "parts": planned,
        "planned": planned["peak"] - RUNTIME["cpu"],
        "measured": _held("VmHWM") - begun,
        "tokens": tokens,
    }


def _rows(work: Path) -> Path:
    """The conversations of the work, one JSON object per line."""
    return work / "chat.jsonl"


def _held(name: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
