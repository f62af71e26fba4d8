"""Recipes of ChatGLM3's own fine-tuning script (``lora.yaml``, ``ptuning_v2.yaml``, ``sft.yaml``).

They hold ``data_config``, ``training_args`` (transformers' ``Seq2SeqTrainingArguments``) and
``peft_config``. Each option becomes one of ours, or is left out with a reason; a line says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunewright.config.base import merge
from tunewright.core.errors import ConfigError

_GROUPS = ("data_config", "training_args", "peft_config")
_LENGTHS = ("max_input_length", "max_output_length")

_RENAMED = {
    "training_args.num_train_epochs": "epochs",
    "training_args.learning_rate": "optimizer.learning_rate",
    "training_args.weight_decay": "optimizer.weight_decay",
    "training_args.adam_beta1": "optimizer.beta1",
    "training_args.adam_beta2": "optimizer.beta2",
    "training_args.max_grad_norm": "optimizer.max_grad_norm",
    "training_args.warmup_ratio": "optimizer.warmup",
    "training_args.save_steps": "save_steps",
    "training_args.eval_steps": "eval_steps",
    "training_args.save_total_limit": "keep_checkpoints",
    "training_args.seed": "seed",
    "peft_config.r": "lora.rank",
    "peft_config.lora_alpha": "lora.alpha",
    "peft_config.lora_dropout": "lora.dropout",
    "peft_config.use_dora": "lora.dora",
    "peft_config.num_virtual_tokens": "prefix.tokens",
    "peft_config.encoder_hidden_size": "prefix.projection",
}
"""Their option → ours, with the same meaning and value."""

_HOME = "runs live in the home folder; `tunewright runs list` shows them"
_AUTOMATIC = "found by itself"
_SHOWN = "every step is shown, and kept in the run's events"
_ASKED = "`tunewright evaluate` generates the answers and scores them"
_LEFT_OUT = {
    "data_config.num_proc": _AUTOMATIC,
    "training_args.output_dir": _HOME,
    "training_args.overwrite_output_dir": _HOME,
    "training_args.per_device_eval_batch_size": _AUTOMATIC,
    "training_args.dataloader_num_workers": _AUTOMATIC,
    "training_args.dataloader_pin_memory": _AUTOMATIC,
    "training_args.remove_unused_columns": "there are no such columns here",
    "training_args.log_level": _SHOWN,
    "training_args.logging_dir": "say --tensorboard FOLDER",
    "training_args.logging_strategy": _SHOWN,
    "training_args.logging_steps": _SHOWN,
    "training_args.report_to": "say --trackers wandb, or --tensorboard FOLDER",
    "training_args.save_strategy": "checkpoints are saved every save_steps",
    "training_args.evaluation_strategy": "validation happens every eval_steps",
    "training_args.eval_strategy": "validation happens every eval_steps",
    "training_args.predict_with_generate": _ASKED,
    "training_args.generation_config.max_new_tokens": _ASKED,
    "training_args.adam_epsilon": "always 1e-8",
    "training_args.lr_scheduler_type": "always a cosine after a linear warm-up",
    "training_args.deepspeed": "one process trains; --quantize nf4 and --tuner lora save memory",
    "training_args.fp16": "bfloat16 where the machine has it, else float32",
    "training_args.resume_from_checkpoint": "say tunewright train --resume RUN",
    "training_args.gradient_accumulation_steps": "counted in batch_rows",
    "peft_config.task_type": "always CAUSAL_LM",
    "peft_config.inference_mode": "written by every saved adapter",
    "peft_config.prefix_projection": "told by prefix.projection",
}
_NO_COUNTERPART = "it has no counterpart here"

_TUNERS = {"LORA": "lora", "PREFIX_TUNING": "prefix", "IA3": "ia3"}
_LAYERS = {
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "dense": ("o_proj",),
    "dense_h_to_4h": ("gate_up_proj",),
    "dense_4h_to_h": ("down_proj",),
}
"""ChatGLM3's layers as the native classes divide and name them."""
_PEFT_DEFAULT = ("query_key_value",)  # what PEFT adapts in ChatGLM when nothing is named


@dataclass(frozen=True)
class Translation:
    """What a recipe of the script stands for.

    Attributes:
        values: options of ``train``.
        files: ``train``, ``val`` and ``test`` → the file that it names.
        max_tokens: longest row, or None when it says nothing.
        notes: a line on every option: what it became, or why it is left out.
    """

    values: dict[str, Any]
    files: dict[str, str]
    max_tokens: int | None
    notes: tuple[str, ...]


@dataclass
class _Work:
    """A translation in the making."""

    options: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, name: str, ours: str, value: Any, why: str = "") -> None:
        """One of ours, and the line that says so."""
        self.values = merge(self.values, _nested(ours, value))
        shown = ",".join(value) if isinstance(value, tuple) else value
        given = self.options.get(name)
        was = f"{name.partition('.')[2] or name} {given}" if name in self.options else name
        self.notes.append(f"{was} → {ours} {shown}" + (f" ({why})" if why else ""))


def is_legacy(values: Mapping[str, Any]) -> bool:
    """Whether a recipe is one of the script's."""
    return any(isinstance(values.get(key), dict) for key in _GROUPS)


def own_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the script's groups: options of ours, from flags and ``--set``."""
    return {key: value for key, value in values.items() if key not in (*_GROUPS, *_LENGTHS)}


def translate(values: Mapping[str, Any]) -> Translation:
    """Read one of the script's recipes.

    Raises:
        ConfigError: a kind of tuning that is not known here.
    """
    groups = {key: values[key] for key in (*_GROUPS, *_LENGTHS) if values.get(key) is not None}
    work = _Work(dict(_flat(groups)))
    files = {
        side: str(work.options.pop(f"data_config.{side}_file"))
        for side in ("train", "val", "test")
        if f"data_config.{side}_file" in work.options
    }
    longest = _longest(work)
    _tuner(work)
    left_out: dict[str, list[str]] = {}
    for name, value in work.options.items():
        if name in _CONVERTED:
            _CONVERTED[name](work, name, value)
        elif name in _RENAMED:
            work.put(name, _RENAMED[name], value)
        else:
            reason = _LEFT_OUT.get(name, _NO_COUNTERPART)
            left_out.setdefault(reason, []).append(name.partition(".")[2] or name)
    work.put("the script never ends early", "watch.patience", 0)
    told = [f"left out: {', '.join(names)} ({reason})" for reason, names in left_out.items()]
    return Translation(work.values, files, longest, (*work.notes, *told))


def _longest(work: _Work) -> int | None:
    given = [work.options.pop(name) for name in _LENGTHS if name in work.options]
    if not given:
        return None
    try:
        # The script's bound: both lengths and one end token.
        longest = sum(map(int, given)) + 1
    except (TypeError, ValueError):
        raise ConfigError(f"{' and '.join(_LENGTHS)} must be whole numbers, not {given}") from None
    work.notes.append(
        f"{' + '.join(_LENGTHS)} → rows longer than {longest} tokens are left out and counted"
        " (the script cut them off)"
    )
    return longest


def _tuner(work: _Work) -> None:
    """What is trained: the script tunes everything when it finds no ``peft_config``."""
    name = "peft_config.peft_type"
    kind = work.options.pop(name, None)
    if kind is None:
        if not any(key.startswith("peft_config.") for key in work.options):
            work.put("no peft_config", "tuner", "full")
            return
        kind = "LORA"
    if str(kind) not in _TUNERS:
        raise ConfigError(
            f"option '{name}': {kind} is not known here",
            f"Use {', '.join(_TUNERS)}; ChatGLM's P-tuning v2 is PREFIX_TUNING.",
        )
    work.put(f"peft_type {kind}", "tuner", _TUNERS[str(kind)])
    if _TUNERS[str(kind)] == "lora":
        asked = work.options.pop("peft_config.target_modules", None)
        targets = [asked] if isinstance(asked, str) else list(asked or _PEFT_DEFAULT)
        layers = tuple(layer for target in targets for layer in _LAYERS.get(target, (target,)))
        why = "" if asked else "PEFT's default for ChatGLM; all-linear learns more"
        work.put(f"target_modules {','.join(targets)}", "lora.targets", layers, why)


def _steps(work: _Work, name: str, value: Any) -> None:
    if isinstance(value, int) and value > 0:
        work.put(name, "max_steps", value)


def _rows(work: _Work, name: str, value: Any) -> None:
    times = work.options.get("training_args.gradient_accumulation_steps", 1)
    why = f"{value} × {times} accumulated" if times != 1 else "rows of mean length, packed"
    work.put(name, "batch_rows", value * times, why)


def _warm_up(work: _Work, name: str, value: Any) -> None:
    steps = work.options.get("training_args.max_steps")
    if value and isinstance(steps, int) and steps > 0:
        work.put(name, "optimizer.warmup", min(0.99, value / steps), "a share of the steps")


def _device(work: _Work, name: str, value: Any) -> None:
    if value:
        work.put(name, "device", "cpu")


def _brain_float(work: _Work, name: str, value: Any) -> None:
    if value:
        work.put(name, "precision", "bfloat16")


def _checkpointing(work: _Work, name: str, value: Any) -> None:
    work.put(name, "memory.checkpointing", "full" if value else "none")


def _rslora(work: _Work, name: str, value: Any) -> None:
    if value:
        work.put(name, "lora.scaling", "rslora")


_CONVERTED: dict[str, Callable[[_Work, str, Any], None]] = {
    "training_args.max_steps": _steps,
    "training_args.per_device_train_batch_size": _rows,
    "training_args.warmup_steps": _warm_up,
    "training_args.use_cpu": _device,
    "training_args.no_cuda": _device,
    "training_args.bf16": _brain_float,
    "training_args.gradient_checkpointing": _checkpointing,
    "peft_config.use_rslora": _rslora,
}
"""Their option → what makes ours of it, when the value changes too."""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)
