"""Benchmarks among everything else that responders are asked, or alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunewright.config.benchmarks import BenchmarkConfig, BenchmarksConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.core.errors import ConfigError
from tunewright.core.events import Listener, ignore
from tunewright.core.messages import Conversation
from tunewright.core.store import Store
from tunewright.evaluation.benchmarks.layouts import LAYOUTS
from tunewright.evaluation.benchmarks.questions import Benchmark, Fits, open_benchmarks
from tunewright.evaluation.benchmarks.scores import Scores
from tunewright.evaluation.collect import Batch, Collected, Collector, in_turn
from tunewright.evaluation.responders.base import Responder
from tunewright.evaluation.responders.local import Local
from tunewright.evaluation.responders.table import open_responders
from tunewright.model.rendering import Renderer


def benchmark(config: BenchmarkConfig, store: Store, listen: Listener = ignore) -> list[Scores]:
    """Ask models public benchmarks, without a dataset of one's own.

    Answers are kept as they come: a stopped command goes on where it was.

    Raises:
        ConfigError: no benchmark is named, or one that is not known, or a model twice.
        DataError: a folder that cannot be used.
        NotFoundError, ModelError: a model is unknown or cannot be used.
        EndpointError: an endpoint stopped answering; what it answered is kept.
    """
    if not config.benchmarks.folders:
        raise ConfigError(
            "no benchmark is named",
            f"Example: --benchmark cmmlu=FOLDER; there are {', '.join(LAYOUTS)}.",
        )
    if len({*config.models}) < len(config.models):
        raise ConfigError("option 'models': one of them is named twice", "Name every model once.")
    asked = EvaluateConfig.build(
        {"dataset": "", "models": config.models, "scoring": {"key_file": config.key_file}}
    )
    responders, weights = open_responders(asked, store, None)
    opened = benchmarks_for(config.benchmarks, responders, config.max_new_tokens)
    batches = benchmark_batches(opened)
    total = sum(len(batch.questions) for batch in batches)

    def collect(responder: Responder) -> Collected:
        return Collector(responder, store, total, config.batch_size, listen).ask(batches)

    return scores_of(opened, in_turn(responders, weights, collect))


def benchmarks_for(
    config: BenchmarksConfig, responders: Sequence[Responder], room: int
) -> list[Benchmark]:
    """The benchmarks with prompts that every responder of this machine can read.

    Raises:
        ConfigError, DataError: see ``open_benchmarks``.
    """
    if not config.folders:
        return []
    local = [one for one in responders if isinstance(one, Local)]
    renderers = {one.resolved.base.digest: one.renderer for one in local}
    fits = [_fits(renderer) for renderer in renderers.values()]
    return open_benchmarks(config, fits, len(local) < len(responders), room)


def _fits(renderer: Renderer) -> Fits:
    def fits(prompts: Sequence[Conversation], room: int) -> list[bool]:
        return [n + room <= renderer.context_length for n in renderer.count_many(prompts)]

    return fits


def benchmark_batches(benchmarks: Sequence[Benchmark]) -> list[Batch]:
    """What is asked, by benchmark."""
    return [Batch(_name(one), one.questions, one.how) for one in benchmarks]


def scores_of(benchmarks: Sequence[Benchmark], found: Mapping[str, Collected]) -> list[Scores]:
    """What everybody said to each benchmark."""
    return [
        Scores(one, {reference: said.said[_name(one)] for reference, said in found.items()})
        for one in benchmarks
    ]


def _name(one: Benchmark) -> str:
    return f"benchmark {one.key}"


def write_answers(path: Path, scores: Sequence[Scores]) -> None:
    """One JSON object per responder and question."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for one in scores:
            for name, letters in one.letters.items():
                answers = zip(one.benchmark.questions, one.said[name], letters, strict=True)
                for question, said, letter in answers:
                    line = {
                        "benchmark": one.benchmark.key,
                        "responder": name,
                        "question": question.id,
                        "reference": question.reference,
                        "letter": letter,
                        "answer": said.text,
                        "probability": said.probability,
                    }
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
