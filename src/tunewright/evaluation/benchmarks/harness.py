"""Tasks of lm-eval on models of this machine, in this process; an optional extra.

lm-eval brings thousands of tasks, and fetches their data from the hub when it is reachable. Its
own way of asking applies: raw text before a base, without a chat template. Its cache is made of
pickles and not used, so these answers are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from tunewright.config.benchmarks import BenchmarkConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.store import Store
from tunewright.evaluation.benchmarks.scores import Tally, paired_json
from tunewright.evaluation.responders.names import read_name
from tunewright.evaluation.statistics.paired import Paired

METRICS = ("acc", "exact_match")
"""Of a task, the first of these that it reports, question by question."""
_EXTRA = "pip install 'tunewright[benchmarks]'"
Rights = Mapping[str, Sequence[bool]]
"""``{task: whether each question was answered right}``, in the order of its questions."""


def harness(config: BenchmarkConfig, store: Store) -> dict[str, Any]:
    """Run the tasks that are named, one model after another; the shape is ``scores_json``'s.

    Raises:
        ConfigError: lm-eval is not installed, a model is not of this machine, or no such task.
        DataError: a task's data cannot be had, or it scores nothing by right and wrong.
        NotFoundError, ModelError: a model is unknown or cannot be used.
    """
    if not config.tasks:
        return {}
    if find_spec("lm_eval") is None:
        raise ConfigError("option 'tasks': lm-eval is not installed", _EXTRA)
    for name in map(read_name, config.models):
        if name.remote or name.shots:
            raise ConfigError(
                f"option 'tasks': {name.reference!r} cannot be asked through lm-eval here",
                "Name bases and tuned models of this machine. For an endpoint, run lm-eval "
                "itself: docs/benchmarks.md shows how.",
            )
    groups: Mapping[str, Sequence[str]] = {}
    found: dict[str, Rights] = {}
    for model in config.models:
        groups, found[model] = _run(model, config, store)
    return {f"lm-eval {task}": _json(task, groups[task], found, config) for task in config.tasks}


def _run(
    reference: str, config: BenchmarkConfig, store: Store
) -> tuple[Mapping[str, Sequence[str]], Rights]:
    """One model's answers: the tasks of every name that was asked for, and who was right."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    from tunewright.model.generation import TextModel

    manager = TaskManager(include_path=config.task_folder)
    unknown = [name for name in config.tasks if name not in manager.all_tasks]
    if unknown:
        raise ConfigError(
            f"option 'tasks': lm-eval knows no task {unknown[0]!r}",
            "List them with: lm-eval ls tasks",
        )
    model = TextModel.load(store, reference)
    tokenizer = AutoTokenizer.from_pretrained(model.base.folder, local_files_only=True)
    asked = HFLM(
        pretrained=model.network,
        tokenizer=tokenizer,
        batch_size=config.batch_size,
        max_length=model.renderer.context_length,
    )
    try:
        result = simple_evaluate(
            model=asked,
            tasks=[*config.tasks],
            num_fewshot=config.benchmarks.shots,
            limit=config.benchmarks.per_subject,
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=True,
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"lm-eval could not run {', '.join(config.tasks)}: {error}",
            "Data of its own tasks come from the hub; is it reachable?",
        ) from error
    groups = {name: _leaves(name, result.get("group_subtasks", {})) for name in config.tasks}
    return groups, {task: _rights(task, rows) for task, rows in result["samples"].items()}


def _leaves(name: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks of a group, and of the groups in it; a task is its own."""
    inner = groups.get(name) or ()
    return [leaf for one in inner for leaf in _leaves(one, groups)] if inner else [name]


def _rights(task: str, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    metric = next((one for one in METRICS if rows and one in rows[0]), None)
    if metric is None:
        raise DataError(
            f"task {task} of lm-eval reports no {' or '.join(METRICS)}, which are compared here"
        )
    ordered = sorted(rows, key=lambda row: row["doc_id"])
    return [row[metric] == 1 for row in ordered]


def _json(
    task: str, leaves: Sequence[str], found: Mapping[str, Rights], config: BenchmarkConfig
) -> dict[str, Any]:
    flat = {
        name: [one for leaf in leaves for one in rights[leaf]] for name, rights in found.items()
    }
    first, *others = flat
    return {
        "title": f"lm-eval {task}",
        "split": "lm-eval's",
        "by": "lm-eval",
        "shots": config.benchmarks.shots,
        "shortened": 0,
        "left_out": 0,
        "responders": {name: _responder(leaves, rights) for name, rights in found.items()},
        "against": {name: paired_json(Paired.of(flat[first], flat[name])) for name in others},
    }


def _responder(leaves: Sequence[str], rights: Rights) -> dict[str, Any]:
    tallies = {leaf: Tally(sum(rights[leaf]), len(rights[leaf])) for leaf in leaves}
    whole = Tally(
        sum(one.right for one in tallies.values()), sum(one.questions for one in tallies.values())
    )
    return {
        **whole.json(),
        "mean_of_subjects": sum(one.share for one in tallies.values()) / len(tallies),
        "unread": 0,
        "categories": {},
        "subjects": {leaf: one.json() for leaf, one in tallies.items()},
    }
