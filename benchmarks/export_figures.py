"""How far each export of a tuned model is from it, as rows of a Markdown table.

    python benchmarks/export_figures.py --home HOME
    python benchmarks/export_figures.py --home HOME --only q4_k_m --only q8_0

Every export is made, read back and compared as ``tunewright export`` does, in a folder that is
deleted again; the home stays as it is. Where llama-cpp-python is installed it reads each GGUF file
too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch

from tunewright.config.export import ExportConfig, GgufType, ParityConfig
from tunewright.core.events import ignore
from tunewright.core.store import Store
from tunewright.export.export import FORMATS
from tunewright.export.formats import Arithmetic, Plan, load_tuned
from tunewright.export.observation import Spoken, answer_logits, speak
from tunewright.export.parity import Sides, compare
from tunewright.export.prompts import Prompts, choose_prompts
from tunewright.export.tolerances import TOLERANCES
from tunewright.model.references import Resolved, resolve_responder
from tunewright.model.rendering import Renderer

PARITY = ParityConfig()
HOW = Arithmetic(torch.device("cpu"), torch.float32)
_GGML_F32 = 0
EXPORTS: Mapping[str, Mapping[str, str]] = {
    "merged": {"to": "merged"},
    "merged, float32": {"to": "merged", "dtype": "float32"},
    "merged, float16": {"to": "merged", "dtype": "float16"},
    "adapter": {"to": "adapter"},
    **{f"GGUF {kind}": {"to": "gguf", "gguf": kind} for kind in get_args(GgufType)},
}

COLUMNS = (
    "export", "MB", "largest logit difference", "divergence (nats)", "tokens agree",
    "answers identical", "character F1", "llama.cpp: logits", "llama.cpp: identical",
)  # fmt: skip


def main() -> None:
    """Print one row per export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a home folder with the model")
    parser.add_argument("--model", default="latest")
    parser.add_argument("--only", action="append", default=[], help="exports whose name has this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(options.home)
    found = resolve_responder(store, options.model)
    prompts = choose_prompts(found, PARITY, store)
    tuned = load_tuned(found, HOW)
    spoken = speak(tuned, prompts.conversations, PARITY.max_new_tokens)
    logits = [answer_logits(tuned, one) for one in spoken]
    print(f"{len(spoken)} prompts, {sum(len(one.tokens) for one in spoken)} tokens\n")
    print(f"| {' | '.join(COLUMNS)} |\n|---|" + "---:|" * (len(COLUMNS) - 1))
    for name, values in EXPORTS.items():
        if options.only and not any(part in name for part in options.only):
            continue
        config = ExportConfig.build(dict(values))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            plan = FORMATS[config.to](found, config, Renderer(found.base.folder), store)
            plan.write(folder, lambda done, total: None)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            ours = _ours(found, plan, prompts, folder)
            theirs = _theirs(folder, spoken, logits)
        print(f"| {name} | {size / 1e6:.1f} | {ours} | {theirs} |", flush=True)


def _ours(found: Resolved, plan: Plan, prompts: Prompts, folder: Path) -> str:
    """What the gate finds."""
    sides = Sides(lambda how: load_tuned(found, how), lambda how: plan.read(folder, how), HOW)
    report = compare(sides, prompts, PARITY, TOLERANCES[plan.precision], folder, ignore)
    f1 = report["scores"]["char_f1"]
    low, high = f1["interval"]
    spread = f" [{low:+.3f}, {high:+.3f}]" if low != high else ""
    failed = "" if report["passed"] else " (failed)"
    far, near = report["logits"]["largest_difference"], report["logits"]["mean_divergence"]
    return (
        f"{far:.2g} | {near:.1e} | {report['tokens']['agreement']:.2%}"
        f" | {report['answers']['identical']}{failed} | {f1['delta']:+.3f}{spread}"
    )


def _theirs(folder: Path, spoken: Sequence[Spoken], logits: Sequence[torch.Tensor]) -> str:
    """What llama.cpp computes from a GGUF file, with a cache that rounds nothing."""
    file = next(iter(folder.glob("*.gguf")), None)
    if file is None or find_spec("llama_cpp") is None:
        return "– | –"
    llama_cpp = import_module("llama_cpp")
    llama = llama_cpp.Llama(
        str(file), n_ctx=1024, logits_all=True, verbose=False, n_threads=1,
        type_k=_GGML_F32, type_v=_GGML_F32,
    )  # fmt: skip
    furthest, identical = 0.0, 0
    for one, ours in zip(spoken, logits, strict=True):
        llama.reset()
        llama.eval([*one.prompt, *one.tokens])
        first = len(one.prompt) - 1
        theirs = torch.tensor(llama.scores[first : first + len(one.tokens)].copy())
        furthest = max(furthest, float((theirs - ours).abs().max()))
        identical += _greedy(llama_cpp, llama, one.prompt) == one.tokens
    llama.close()
    return f"{furthest:.2g} | {identical}"


def _greedy(llama_cpp: Any, llama: Any, prompt: tuple[int, ...]) -> tuple[int, ...]:
    llama.reset()
    found: list[int] = []
    for token in llama.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0):
        found.append(token)
        if (
            llama_cpp.llama_vocab_is_eog(llama._model.vocab, token)
            or len(found) == PARITY.max_new_tokens
        ):
            break
    return tuple(found)


if __name__ == "__main__":
    main()
