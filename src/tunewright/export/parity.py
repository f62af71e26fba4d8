"""The parity gate: does an export answer as the model that it was made from?"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

from tunewright.config.export import ParityConfig
from tunewright.core.events import Event, Listener
from tunewright.export.formats import Arithmetic
from tunewright.export.observation import (
    Distance,
    Spoken,
    distances,
    hidden_states,
    keep_logits,
    speak,
)
from tunewright.export.prompts import Prompts, fitting
from tunewright.export.scores import score_differences
from tunewright.export.tolerances import Tolerance
from tunewright.model.generation import TextModel

Load = Callable[[Arithmetic], TextModel]


@dataclass(frozen=True)
class Sides:
    """The two that are compared; each is loaded when it is its turn, and let go.

    Attributes:
        tuned: the model itself.
        export: what was made from it.
        arithmetic: of both.
    """

    tuned: Load
    export: Load
    arithmetic: Arithmetic


def compare(
    sides: Sides,
    prompts: Prompts,
    config: ParityConfig,
    tolerance: Tolerance,
    scratch: Path,
    listen: Listener,
) -> dict[str, Any]:
    """Ask both sides the same and say how far they are apart.

    Args:
        sides: what is compared.
        prompts: what is asked.
        config: how much.
        tolerance: what is allowed.
        scratch: an existing folder on whose disk the logits find room for a while.
        listen: hears ``progress``.

    Returns:
        What ``parity.json`` holds: ``passed``, ``failures``, ``logits``, ``tokens``, ``answers``,
        ``scores``, and ``first_difference`` where it failed.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".logits-") as name:
        folder = Path(name)
        tuned = sides.tuned(sides.arithmetic)
        asked = fitting(prompts, tuned.renderer)
        spoken = speak(tuned, asked.conversations, config.max_new_tokens)
        keep_logits(tuned, spoken, folder, _telling(listen, "tuned model"))
        del tuned
        gc.collect()
        export = sides.export(sides.arithmetic)
        own = speak(export, asked.conversations, config.max_new_tokens)
        telling = _telling(listen, "export read back")
        found = list(distances(export, spoken, folder, telling))
        del export
        gc.collect()
    report = _report(asked, spoken, own, found, tolerance)
    if not report["passed"]:
        report["first_difference"] = _first_difference(sides, asked, spoken, own, found, tolerance)
    return report


def _telling(listen: Listener, stage: str) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        listen(Event(kind="progress", data={"stage": stage, "done": done, "total": total}))

    return tell


def _report(
    prompts: Prompts,
    spoken: Sequence[Spoken],
    own: Sequence[Spoken],
    found: Sequence[Distance],
    tolerance: Tolerance,
) -> dict[str, Any]:
    pairs = list(zip(spoken, own, strict=True))
    agrees = [yes for one in found for yes in one.agrees]
    logits = {
        "largest_difference": max(value for one in found for value in one.largest),
        "mean_divergence": fmean(value for one in found for value in one.divergence),
    }
    tokens = {"compared": len(agrees), "agreement": fmean(agrees)}
    answers = {
        "asked": len(pairs),
        "same_prompt_ids": sum(a.prompt == b.prompt for a, b in pairs),
        "identical": sum(a.tokens == b.tokens for a, b in pairs),
        "same_ending": sum(a.finished == b.finished for a, b in pairs),
        "ended_by_token": sum(a.finished for a in spoken),
    }
    failures = tolerance.failures(
        logits=logits["largest_difference"],
        divergence=logits["mean_divergence"],
        agreement=tokens["agreement"],
        endings=answers["same_ending"] / len(pairs),
    )
    if answers["same_prompt_ids"] < len(pairs):
        failures.insert(
            0, f"{len(pairs) - answers['same_prompt_ids']} prompts give other token ids"
        )
    return {
        "passed": not failures,
        "failures": failures,
        "prompts": prompts.source,
        "dataset": prompts.dataset,
        "tolerance": tolerance.json(),
        "logits": logits,
        "tokens": tokens,
        "answers": answers,
        "scores": score_differences(prompts, spoken, own),
    }


def _first_difference(
    sides: Sides,
    prompts: Prompts,
    spoken: Sequence[Spoken],
    own: Sequence[Spoken],
    found: Sequence[Distance],
    tolerance: Tolerance,
) -> dict[str, Any]:
    """Where the two part first: the prompt, the token of its answer, and the layer."""
    number, place = _place(spoken, own, found, tolerance)
    one = spoken[number]
    tuned = sides.tuned(sides.arithmetic)
    expected = hidden_states(tuned, one)
    words = tuned.renderer.tokenizer
    del tuned
    gc.collect()
    export = sides.export(sides.arithmetic)
    actual = hidden_states(export, one)
    errors = [
        float((a - b).norm() / a.norm().clamp_min(1e-12))
        for a, b in zip(expected, actual, strict=True)
    ]
    layer = next((n for n, error in enumerate(errors) if error > tolerance.noise), len(errors) - 1)
    other = own[number].tokens[place] if place < len(own[number].tokens) else None
    return {
        "prompt": number,
        "question": _question(prompts, number),
        "token": place,
        "expected": words.id_to_token(one.tokens[place]),
        "found": None if other is None else words.id_to_token(other),
        "layer": "embedding" if layer == 0 else f"block {layer - 1}",
        "relative_error": errors[layer],
    }


def _place(
    spoken: Sequence[Spoken],
    own: Sequence[Spoken],
    found: Sequence[Distance],
    tolerance: Tolerance,
) -> tuple[int, int]:
    """The first prompt and token where answers or logits part; else where logits differ most."""
    for number, (one, other) in enumerate(zip(spoken, own, strict=True)):
        for place, (mine, theirs) in enumerate(zip_longest(one.tokens, other.tokens)):
            apart = tolerance.logits is not None and place < len(one.tokens) and (
                found[number].largest[place] > tolerance.logits
            )  # fmt: skip
            if mine != theirs or apart:
                return number, min(place, len(one.tokens) - 1)
    worst = [max(one.divergence) for one in found]
    number = worst.index(max(worst))
    return number, found[number].divergence.index(worst[number])


def _question(prompts: Prompts, number: int) -> str:
    users = [m for m in prompts.conversations[number].messages if m.role == "user"]
    return str(users[-1].content)[:200] if users else ""
