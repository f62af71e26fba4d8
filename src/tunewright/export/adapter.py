"""``--to adapter``: a folder that plain PEFT loads beside the base."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tunewright.config.export import ExportConfig
from tunewright.core.errors import ModelError
from tunewright.core.files import write_json_atomic
from tunewright.export.companions import companion_bytes, copy_tokenizer
from tunewright.export.formats import Arithmetic, Plan, load_beside
from tunewright.export.safetensors_files import Progress
from tunewright.model.generation import TextModel
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.files import PEFT_SETTINGS, PEFT_TENSORS, read_settings, tuner_of
from tunewright.model.weights import stored_tensors, weight_files

_MODELSCOPE = "modelscope:"


def plan(found: Resolved, config: ExportConfig, renderer: Renderer) -> Plan:
    """An export of the adapter alone.

    Raises:
        ModelError: a tuner without a format of PEFT's, or an adapter on changed weights.
    """
    source = _only_adapter(found)
    revision = found.base.lasting_name.partition("@")[2] or None
    settings = {
        **read_settings(source, PEFT_SETTINGS),
        "base_model_name_or_path": _base(found),
        "revision": revision,
    }
    tensors = source / PEFT_TENSORS
    weights = (t for file in weight_files(found.base.folder) for t in stored_tensors(file).values())

    def write(folder: Path, progress: Progress) -> None:
        shutil.copyfile(tensors, folder / PEFT_TENSORS)
        write_json_atomic(folder / PEFT_SETTINGS, settings)
        copy_tokenizer(found, renderer, folder)
        progress(1, 1)

    def read(folder: Path, arithmetic: Arithmetic) -> TextModel:
        return load_beside(found, folder, arithmetic)

    return Plan(
        bytes=tensors.stat().st_size + companion_bytes(found),
        precision="float32",
        parameters=sum(_numbers(t.shape) for t in weights),
        write=write,
        read=read,
        runs=_runs(found, settings),
    )


def _only_adapter(found: Resolved) -> Path:
    if not found.folders:
        raise ModelError(f"{found.name} is a base; it has no adapter", "Name a tuned model.")
    *below, newest = found.folders
    tuner = tuner_of(newest)
    if not (newest / PEFT_SETTINGS).is_file():
        reason = (
            "PEFT has no format for bottlenecks"
            if tuner == "bottleneck"
            else f"{tuner} changed the base's own weights"
        )
        hint = "Serve it with `tunewright serve`." if tuner == "bottleneck" else "Use --to merged."
        raise ModelError(f"{found.name} cannot be an adapter: {reason}", hint)
    if below:
        raise ModelError(
            f"{found.name} stands on a base that other tuned models are part of; its adapter alone"
            " would answer otherwise",
            "Use --to merged.",
        )
    return newest


def _base(found: Resolved) -> str:
    """A name by which other programs find the base: a hub's id, or a folder."""
    name = found.base.lasting_name.removeprefix(_MODELSCOPE).partition("@")[0]
    local = found.base.lasting_name == str(found.base.folder) or "/" not in name
    return str(found.base.folder) if local else name


def _runs(found: Resolved, settings: dict[str, Any]) -> dict[str, str]:
    """vLLM serves LoRA adapters without variants, and no others."""
    if settings.get("peft_type") != "LORA" or settings.get("use_dora"):
        return {}
    ranks = (8, 16, 32, 64, 128, 256, 320, 512)
    wanted = max([int(settings["r"]), *map(int, (settings.get("rank_pattern") or {}).values())])
    rank = next((n for n in ranks if n >= wanted), wanted)
    return {
        "vllm": f"vllm serve {_base(found)} --enable-lora --max-lora-rank {rank}"
        f" --lora-modules {found.name}=$PWD"
    }


def _numbers(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
