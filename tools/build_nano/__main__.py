"""Builds everything: `python -m tools.build_nano --out FOLDER`.

Tokenizer, training, export, probe and general set, in this order; an interrupted build goes on
from its last checkpoint when called again with the same --work folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import export, probe, tokenizer
from .corpus import Example, question_key, stream
from .model import Nano, Shape
from .train import Plan, Trainer, run
from .workers import Group

GENERAL_ROWS = 3000
PROBE_SEED, GENERAL_SEED = 99, 7
log = logging.getLogger("build_nano")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.build_nano", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("src/tunewright/bases/nano"))
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="checkpoints, log")
    parser.add_argument("--minutes", type=float, default=80, help="training time")
    parser.add_argument("--tokens", type=int, default=0, help="train on so many tokens instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--score", type=Path, help="only score the model in this folder")
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    return parser.parse_args()


def train(options: argparse.Namespace) -> None:
    """Start the workers and wait for them; raises CalledProcessError when one fails."""
    meeting = options.work / "meeting"
    meeting.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tools.build_nano", *sys.argv[1:], "--rank"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen([*command, str(rank)], env=environment) for rank in range(options.workers)
    ]
    for worker in workers:
        if worker.wait() != 0:
            for other in workers:
                other.kill()
            raise subprocess.CalledProcessError(worker.returncode, command)


def work(options: argparse.Namespace) -> None:
    """What one worker does."""
    torch.set_num_threads(1)
    group = Group(options.rank, options.workers)
    group.join(options.work / "meeting")
    plan = Plan(minutes=options.minutes, tokens=options.tokens, seed=options.seed)
    trainer = Trainer(options.work, tokenizer.load(options.work), Shape(), plan, group)
    trainer.resume()
    run(trainer)
    group.leave()


def general_set(seed: int, rows: int = GENERAL_ROWS) -> list[Example]:
    """Training examples to mix into other data against forgetting.

    Leaves out the kinds that answer many questions alike: replayed, they would teach a tuned
    model to go on giving the vague answer.
    """
    chosen: dict[str, Example] = {}
    for example in stream(seed):
        if example.kind not in probe.SKIPPED:
            chosen.setdefault(question_key(example.question), example)
        if len(chosen) == rows:
            break
    found = list(chosen.values())
    random.Random(seed).shuffle(found)
    return found


def assemble(exported: Path, out: Path) -> list[Example]:
    """Copy the exported model to `out` and add card, probe and general set; returns the probe."""
    shutil.copytree(exported, out, dirs_exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "MODEL_CARD.md", out / "README.md")
    examples = probe.build(PROBE_SEED)
    probe.write(out / "probe.jsonl", examples)
    probe.write(out / "general.jsonl", general_set(GENERAL_SEED))
    return examples


def load(folder: Path) -> Nano:
    """The exported model of `folder`, computing in float32."""
    model = Nano(Shape())
    stored = load_file(folder / "model.safetensors")
    model.load_state_dict({name: weight.float() for name, weight in stored.items()})
    return model.eval()


def score(folder: Path, examples: list[Example]) -> None:
    """Print the probe's score of an exported model, by kind, and what it got wrong."""
    result = probe.score(load(folder), tokenizer.load(folder), examples)
    json.dump(result, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


def main() -> None:
    """Run what the command line asks for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = arguments()
    if options.score:
        score(options.score, probe.build(PROBE_SEED))
        return
    if options.rank >= 0:
        work(options)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "tokenizer.json").exists():
        tokenizer.build(options.seed).save(str(options.work / "tokenizer.json"))
    train(options)
    examples = assemble(options.work / "export", options.out)
    gap = export.check_against_transformers(options.out, load(options.out))
    log.info("largest difference to transformers' logits: %.2g", gap)
    score(options.out, examples)


if __name__ == "__main__":
    main()
