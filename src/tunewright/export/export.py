"""The stage: a tuned model → a folder for other programs, with the proof that it is equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from tunewright.config.export import ExportConfig, FormatName
from tunewright.core.errors import ConfigError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.core.store import Store
from tunewright.evaluation.verdicts import newest_evaluation
from tunewright.export import (
    adapter,
    bitsandbytes,
    compressed_tensors,
    merged,
    original_chatglm3,
)
from tunewright.export.card import model_card
from tunewright.export.formats import (
    DTYPES,
    Arithmetic,
    Exported,
    Plan,
    checked_renderer,
    load_tuned,
    memory_of,
)
from tunewright.export.gguf import write as gguf
from tunewright.export.parity import Sides, compare
from tunewright.export.prompts import Prompts, choose_prompts
from tunewright.export.record import CARD, note_export
from tunewright.export.staging import (
    folder_name,
    refuse_existing,
    refuse_full_disk,
    staged,
    with_name,
)
from tunewright.export.tolerances import TOLERANCES
from tunewright.model.loading import pick_device
from tunewright.model.references import Resolved, resolve_responder
from tunewright.model.rendering import Renderer
from tunewright.training.machine import free_memory

Planner = Callable[[Resolved, ExportConfig, Renderer, Store], Plan]


def _without_rows(plan: Callable[[Resolved, ExportConfig, Renderer], Plan]) -> Planner:
    """A planner that looks at no dataset."""
    return lambda found, config, renderer, store: plan(found, config, renderer)


FORMATS: Mapping[FormatName, Planner] = MappingProxyType(
    {
        "merged": _without_rows(merged.plan),
        "adapter": _without_rows(adapter.plan),
        "gguf": _without_rows(gguf.plan),
        "chatglm3": _without_rows(original_chatglm3.plan),
        "compressed-tensors": compressed_tensors.plan,
        "bitsandbytes": _without_rows(bitsandbytes.plan),
    }
)
"""Format → what checks and plans an export to it; a new one is one file and one entry here."""


def export(
    config: ExportConfig, store: Store, listen: Listener = ignore, record_id: str | None = None
) -> Exported:
    """Make an export, read it back, compare it with its model, and note it in the store.

    Args:
        config: what, and how.
        store: where the model is.
        listen: hears ``progress``.
        record_id: of the record that was made when it was asked for, if it was.

    Raises:
        InputError: an unknown model, one that the format cannot hold, or a folder that exists.
        StorageError: too little disk; nothing stays behind.
    """
    found = resolve_responder(store, config.model, listen)
    renderer = checked_renderer(found)
    target = _target(config, found, store)
    for failed in (False, True):
        refuse_existing(with_name(target, failed), config.overwrite or failed)
    plan = FORMATS[config.to](found, config, renderer, store)
    prompts = choose_prompts(found, config.parity, store) if config.parity.check else None
    refuse_full_disk(target, plan.bytes + _logit_bytes(config, prompts, renderer))
    with staged(target) as stage:
        arithmetic = _arithmetic(config, plan)
        plan.write(stage.folder, _telling(listen))
        parity = None
        if prompts is not None:
            parity = _compared(found, plan, stage.folder, arithmetic, prompts, config, listen)
            evaluation = found.model and newest_evaluation(store, found.model)
            parity["evaluation"] = evaluation.id if evaluation else None
            stage.failed = not parity["passed"]
            write_json_atomic(stage.folder / "parity.json", parity)
        card = model_card(found, plan, config.to, parity, store)
        write_text_atomic(stage.folder / CARD, card)
    folder = with_name(target, stage.failed)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    made = Exported(folder, config.to, size, parity, plan)
    return replace(made, record=note_export(store, made, found, config, record_id).id)


def _target(config: ExportConfig, found: Resolved, store: Store) -> Path:
    if config.output is not None:
        return Path(config.output).expanduser().absolute()
    kind: str = config.to
    if config.to == "gguf":
        kind = f"gguf-{config.gguf}"
    elif config.to in ("compressed-tensors", "bitsandbytes"):
        kind = f"{config.to}-{config.quantize.bits}bit"
    return store.home / "exports" / folder_name(found.name, kind)


def _compared(
    found: Resolved,
    plan: Plan,
    folder: Path,
    arithmetic: Arithmetic,
    prompts: Prompts,
    config: ExportConfig,
    listen: Listener,
) -> dict[str, Any]:
    sides = Sides(
        tuned=lambda how: load_tuned(found, how),
        export=lambda how: plan.read(folder, how),
        arithmetic=arithmetic,
    )
    tolerance = TOLERANCES[plan.precision].overruled(config.parity.tolerance)
    report = compare(sides, prompts, config.parity, tolerance, folder, listen)
    how = {"precision": plan.precision, "computed_in": config.parity.precision}
    return {"format": config.to, **how, **report}


def _arithmetic(config: ExportConfig, plan: Plan) -> Arithmetic:
    """Where to compare; refused when one copy of the weights does not fit.

    Raises:
        ConfigError: too little memory.
    """
    device = pick_device(config.parity.device)
    dtype = DTYPES[config.parity.precision]
    if config.parity.check:
        needed = memory_of(plan.parameters, dtype)
        free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
        if needed > free:
            raise ConfigError(
                f"comparing takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
                "Use --parity-precision bfloat16, or --no-parity-check and compare elsewhere.",
            )
    return Arithmetic(device, dtype)


def _logit_bytes(config: ExportConfig, prompts: Prompts | None, renderer: Renderer) -> int:
    """Room on the disk for the tuned model's logits while the export is compared."""
    if prompts is None:
        return 0
    tokens = len(prompts.conversations) * config.parity.max_new_tokens
    return 4 * tokens * renderer.tokenizer.get_vocab_size(with_added_tokens=True)


def _telling(listen: Listener) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        listen(Event(kind="progress", data={"stage": "export", "done": done, "total": total}))

    return tell
