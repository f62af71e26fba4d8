"""Adapters that were trained elsewhere become tuned models of the store."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.core.events import Listener, ignore
from tunewright.core.files import write_json_atomic
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.chatglm3.torch_file import torch_tensors
from tunewright.model.chatglm3_adapters import is_original, native_adapter
from tunewright.model.folders import read_json
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.files import PEFT_SETTINGS, PEFT_TENSORS, read_settings, tuner_of
from tunewright.model.tuners.peft_format import PREFIX
from tunewright.model.weights import StoredTensor, stored_tensors, weight_files, write_stored

_PICKLED = "adapter_model.bin"
_RANKED = {"lora_A": 0, "lora_B": 1}
"""The side of each matrix that is the rank."""


def import_adapter(
    folder: Path,
    base_name: str,
    store: Store,
    name: str | None = None,
    listen: Listener = ignore,
) -> Model:
    """Take a LoRA adapter in PEFT's format into the store.

    Adapters of ChatGLM3's own layers (``query_key_value`` and so on) are divided among the layers
    of transformers' GLM without changing a value. An ``adapter_model.bin`` is read apart, tensors
    only.

    Args:
        folder: with ``adapter_config.json`` and the tensors.
        base_name: the base that it was trained on.
        store: gets the model.
        name: middle part of the model's name; the folder's name when not given.
        listen: hears of a base that is copied first.

    Raises:
        ModelError: no LoRA adapter, one with options we do not compute, or one for another base.
        StorageError: when the disk refuses; nothing is added.
    """
    settings = read_settings(folder, PEFT_SETTINGS)
    if tuner_of(folder) != "lora":
        raise ModelError(
            f"{folder} holds a {settings.get('peft_type')} adapter; only LoRA is taken over",
            "Train it again with the same data: docs/from-chatglm3.md says how.",
        )
    base = resolve_base(base_name, store.settings, listen)
    tensors = _stored(folder)
    if is_original(tensors):
        tensors = native_adapter(tensors, read_json(base.folder / "config.json"))
    _refuse_false_ranks(settings, tensors, folder)
    layers = _linear_layers(base)
    _refuse_misfit(tensors, layers, base, folder)
    model = Model(
        id=(new := store.new_id(Model)),
        name=_name(base, store, name or folder.resolve().name, new),
        base=base.lasting_name,
        base_digest=base.digest,
        renderer_hash=Renderer(base.folder).hash,
        run="",
        step=0,
        method="sft",
    )
    with store.stage(Model, model.id) as target:
        write_stored(tensors, target / PEFT_TENSORS)
        write_json_atomic(target / PEFT_SETTINGS, _settings(settings, tensors, layers, base))
        _check(target, folder)
    store.add(model)
    return model


def _stored(folder: Path) -> dict[str, StoredTensor]:
    if (folder / PEFT_TENSORS).is_file():
        return stored_tensors(folder / PEFT_TENSORS)
    if (folder / _PICKLED).is_file():
        return torch_tensors(folder / _PICKLED)
    raise ModelError(f"{folder} has no {PEFT_TENSORS}", "Copy the adapter's whole folder.")


def _linear_layers(base: Base) -> dict[str, tuple[int, ...]]:
    """The base's matrices (out, in) by their layers' names, told by the files' headers."""
    return {
        name.removesuffix(".weight"): tensor.shape
        for file in weight_files(base.folder)
        for name, tensor in stored_tensors(file).items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }


def _refuse_false_ranks(
    settings: dict[str, Any], tensors: dict[str, StoredTensor], folder: Path
) -> None:
    """Compare what the settings say of ranks and scale with the tensors; PEFT computes by both.

    Raises:
        ModelError: they differ, or are no ranks.
    """
    pattern = settings.get("rank_pattern") or {}
    said = [settings.get("r"), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    alpha = settings.get("lora_alpha")
    if any(type(rank) is not int or rank < 1 for rank in said):
        raise ModelError(f"adapter {folder}: its ranks {said[:9]} are no whole numbers above 0")
    if isinstance(alpha, int | float) and not math.isfinite(alpha):
        raise ModelError(f"adapter {folder}: lora_alpha={alpha} is no number to scale by")
    for name, tensor in tensors.items():
        kind = name.removesuffix(".weight").rpartition(".")[2]
        if kind not in _RANKED or len(tensor.shape) != 2:
            continue
        rank = tensor.shape[_RANKED[kind]]
        if rank not in said:
            raise ModelError(
                f"adapter {folder}: {name} has rank {rank}; {PEFT_SETTINGS} says {said[:9]}",
                "Its files do not belong together; copy the adapter's whole folder again.",
            )


def _refuse_misfit(
    tensors: dict[str, StoredTensor], layers: dict[str, tuple[int, ...]], base: Base, folder: Path
) -> None:
    """Compare sizes with those of the base's weights, without reading any.

    Raises:
        ModelError: a layer has another size there, or none of them is there.
    """
    known = 0
    for name, tensor in tensors.items():
        path, _, kind = name.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        shape = layers.get(path)
        if shape is None or not tensor.shape:
            continue
        known += 1
        size, wanted = (tensor.shape[-1], shape[1]) if kind == "lora_A" else (
            tensor.shape[0], shape[0])  # fmt: skip
        if size != wanted:
            raise ModelError(
                f"adapter {folder}: {path} has {size} channels, the base's layer {wanted}",
                "It was made for another base.",
            )
    if not known:
        raise ModelError(
            f"adapter {folder} adapts no layer that {base.name} has",
            "It was made for another base.",
        )


def _settings(
    settings: dict[str, Any],
    tensors: dict[str, StoredTensor],
    layers: dict[str, tuple[int, ...]],
    base: Base,
) -> dict[str, Any]:
    """``adapter_config.json`` for the layers as the base names them."""
    ranks = {
        name.removeprefix(PREFIX).split(".lora_")[0]: tensor.shape[0]
        for name, tensor in tensors.items()
        if ".lora_A." in name and tensor.shape
    }
    # Ends of names count, as PEFT reads them, where they select no layer besides.
    tails = {path.rsplit(".", 1)[-1] for path in ranks}
    selected = {path for path in layers if path.rsplit(".", 1)[-1] in tails}
    return {
        **settings,
        "base_model_name_or_path": base.name,
        "auto_mapping": None,
        "inference_mode": True,
        "use_rslora": bool(settings.get("use_rslora")),
        "use_dora": bool(settings.get("use_dora")),
        "target_modules": sorted(tails if selected == ranks.keys() else ranks),
        "layers_to_transform": None,
        "layers_pattern": None,
        "rank_pattern": {p: rank for p, rank in ranks.items() if rank != settings.get("r")},
    }


def _check(target: Path, folder: Path) -> None:
    """Read back what was written, as loading would.

    Raises:
        ModelError: options or tensors that are not a plain LoRA adapter's.
    """
    from tunewright.model.tuners.lora import read_lora

    try:
        read_lora(target)
    except ModelError as error:
        message = error.message.replace(str(target), str(folder))
        raise ModelError(message, error.hint) from None


def _name(base: Base, store: Store, suffix: str, identity: str) -> str:
    """``ft:base:organization:suffix:six digits``, as tuned models are called."""
    stem = re.split(r"[/:]", base.lasting_name)[-1].partition("@")[0]
    parts = (stem, store.settings.organization, suffix, identity.split("_")[1][:6])
    return ":".join(("ft", *(re.sub(r"[^\w.-]+", "-", part).lower() for part in parts)))
