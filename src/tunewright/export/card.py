"""The model card of an export: what it is made of, what is known of it, how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tunewright import __version__
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.core.markdown import plain, table
from tunewright.core.records import Dataset, Run
from tunewright.core.store import Store
from tunewright.evaluation.verdicts import newest_evaluation
from tunewright.export.formats import Plan
from tunewright.model.references import Resolved

_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "made": ("Exported by Tunewright {version} as `{format}` ({precision}).",
                 "由 Tunewright {version} 导出，格式 `{format}`（{precision}）。"),
        "base": ("Base", "基座"),
        "dataset": ("Dataset", "数据集"),
        "rows": ("{rows} training rows", "{rows} 行训练数据"),
        "recipe": ("Recipe", "训练配方"),
        "evaluation": ("Evaluation", "评测"),
        "verdict": ("Verdict", "结论"),
        "unevaluated": ("This model was not evaluated.", "该模型未经评测。"),
        "metric": ("metric", "指标"),
        "score": ("score", "得分"),
        "change": ("against the base (95 %)", "相对基座（95 %）"),
        "parity": ("Parity with the tuned model", "与训练所得模型的一致性"),
        "unchecked": ("Not compared with the tuned model.", "未与训练所得模型比较。"),
        "passed": ("Passed", "通过"),
        "failed": ("FAILED: it does not answer as the tuned model does",
                   "未通过：回答与训练所得模型不一致"),
        "figures": (
            "largest logit difference {logits:.2e}, {agreement:.2%} of {tokens} tokens agree,"
            " {same} of {asked} answers identical; {prompts}",
            "logits 最大差 {logits:.2e}；{tokens} 个 token 中 {agreement:.2%} 一致；"
            "{asked} 个回答中 {same} 个完全相同；{prompts}",
        ),
        "run": ("Running it", "运行"),
        "here": ("In this folder:", "在本目录中："),
    }
)  # fmt: skip
_COMMANDS: Mapping[str, str] = MappingProxyType(
    {"vllm": "vLLM", "sglang": "SGLang", "ollama": "Ollama", "llama.cpp": "llama.cpp"}
)


def model_card(
    found: Resolved, plan: Plan, form: str, parity: dict[str, Any] | None, store: Store
) -> str:
    """``README.md``: YAML head and Markdown, in the user's language, without a date."""
    chinese = store.settings.language == "zh"

    def word(key: str, **values: Any) -> str:
        return _WORDS[key][chinese].format(**values)

    base = _public_name(found.base.name)
    head = yaml.safe_dump({"base_model": base, "tags": ["tunewright"]})
    lines = [f"---\n{head}---\n", f"# {plain(found.name)}\n"]
    lines.append(word("made", version=__version__, format=form, precision=plan.precision) + "\n")
    lines.append(f"- {word('base')}: {plain(base)} (`{found.base.digest[:12]}`)")
    lines += _origin(found, store, word)
    lines += ["", f"## {word('evaluation')}\n", *_evaluation(found, store, word)]
    lines += ["", f"## {word('parity')}\n", *_parity(parity, word)]
    if plan.runs:
        lines += ["", f"## {word('run')}\n", word("here") + "\n"]
        for name, command in plan.runs.items():
            lines.append(f"{_COMMANDS[name]}:\n\n```sh\n{command}\n```\n")
    lines += [f"> {note}" for note in plan.notes]
    return "\n".join(lines).rstrip() + "\n"


def _public_name(base: str) -> str:
    """A hub's id as it is; of a folder, not where it lies."""
    return Path(base).name if Path(base).expanduser().is_dir() else base


def _origin(found: Resolved, store: Store, word: Any) -> list[str]:
    run = None if found.model is None else store.find(Run, found.model.run)
    if run is None:
        return []
    lines = []
    dataset = store.find(Dataset, run.dataset)
    if dataset is not None:
        rows = word("rows", rows=dataset.splits.get("train", 0))
        lines.append(
            f"- {word('dataset')}: {plain(dataset.name)} (`{dataset.id}`, SHA-256"
            f" `{dataset.digest[:12]}`), {rows}"
        )
    text = yaml.safe_dump(_recipe(run), allow_unicode=True, sort_keys=False).rstrip()
    return [*lines, "", f"## {word('recipe')}\n", f"```yaml\n{text}\n```"]


def _recipe(run: Run) -> dict[str, Any]:
    """Method, tuner and what is no default; where the run was watched from stays here."""
    left_out = {"dataset", "base", "suffix", "watch"}
    chosen = {key: run.config.get(key) for key in ("method", "tuner")}
    try:
        config = TrainConfig.build(run.config)
    except ConfigError:  # of a version that had other options
        return {**chosen, **{k: v for k, v in run.config.items() if k not in left_out}}
    return {**chosen, **config.model_dump(mode="json", exclude=left_out, exclude_defaults=True)}


def _evaluation(found: Resolved, store: Store, word: Any) -> list[str]:
    record = None if found.model is None else newest_evaluation(store, found.model)
    if record is None:
        return [word("unevaluated")]
    lines = [f"{word('verdict')}: **{record.verdict}** (`{record.id}`)\n"]
    rows = []
    for metric, slices in record.scores.get(found.name, {}).items():
        delta = record.deltas.get(found.name, {}).get(metric, {}).get("all")
        change = ""
        if delta is not None:
            low, high = record.intervals[found.name][metric]["all"]
            change = f"{delta:+.3f} ({low:+.3f} … {high:+.3f})"
        if slices.get("all") is not None:
            rows.append((metric, f"{slices['all']:.3f}", change))
    return [*lines, table([word(key) for key in ("metric", "score", "change")], rows)]


def _parity(parity: dict[str, Any] | None, word: Any) -> list[str]:
    if parity is None:
        return [word("unchecked")]
    lines = [
        f"**{word('passed' if parity['passed'] else 'failed')}**: "
        + word(
            "figures",
            logits=parity["logits"]["largest_difference"],
            agreement=parity["tokens"]["agreement"],
            tokens=parity["tokens"]["compared"],
            same=parity["answers"]["identical"],
            asked=parity["answers"]["asked"],
            prompts=parity["prompts"],
        ),
        "",
    ]
    lines += [f"- {plain(failure)}" for failure in parity["failures"]]
    for metric, found in parity["scores"].items():
        low, high = found["interval"]
        lines.append(
            f"- {metric}: {found['tuned']:.3f} → {found['export']:.3f}"
            f" ({found['delta']:+.3f} [{low:+.3f}, {high:+.3f}])"
        )
    return lines
