"""A ChatGLM3 folder → a folder that transformers' GLM classes read, made once and kept.

Bytes are copied range by range, so that memory never holds more than a piece of a tensor; no file
of the source folder is executed or followed. The result is an ordinary base: other tools that
know GLM (PEFT, vLLM, …) can use it too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tunewright.core.errors import ModelError, StorageError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import (
    digest,
    disk_errors,
    fsync_folder,
    fsync_tree,
    write_json_atomic,
    write_text_atomic,
)
from tunewright.core.store import sweep_temporary
from tunewright.model.chatglm3.config import native_config
from tunewright.model.chatglm3.layout import expected_shapes, native_tensors
from tunewright.model.chatglm3.torch_file import torch_tensors
from tunewright.model.folders import read_json
from tunewright.model.weights import StoredTensor, stored_tensors, weight_files, write_stored

_Item = TypeVar("_Item")
MODEL_TYPE = "chatglm"
PIECES = "tokenizer.model"
_VERSION = 2
_SLACK = 64 * 2**20
_INDEX = "model.safetensors.index.json"
_TORCH_INDEX = "pytorch_model.bin.index.json"


def is_chatglm(folder: Path) -> bool:
    """Whether the folder's ``config.json`` says so."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == MODEL_TYPE


def native_folder(
    folder: Path, home: Path, sha256: Callable[[Path], str], listen: Listener = ignore
) -> Path:
    """The folder's model as one that GLM's classes read; made on first use, then found again.

    Args:
        folder: of ChatGLM3.
        home: where bases are kept.
        sha256: gives the hash of a file.
        listen: hears ``progress`` of the copy, by files.

    Raises:
        ModelError: the folder is incomplete, damaged, or of another model.
        StorageError: there is no room for the copy.
    """
    path = folder / "config.json"
    config = native_config(read_json(path), path)
    if not (folder / PIECES).is_file():
        raise ModelError(
            f"model folder {folder} has no {PIECES}",
            "A ChatGLM3 folder holds config.json, tokenizer.model and its weights.",
        )
    files = _weight_files(folder)
    named = (path, folder / PIECES, *files)
    sources = {file.name: sha256(file) for file in named}
    kept = home / "bases" / "chatglm3"
    target = kept / digest({"version": _VERSION, "files": sources})[:16]
    if (target / "config.json").is_file():
        return target
    shards = {file: native_tensors(_tensors(file), config) for file in files}
    _refuse_gaps(shards.values(), config, folder)
    with disk_errors(kept):
        kept.mkdir(parents=True, exist_ok=True)
        _refuse_full_disk(kept, shards.values())
        # What a killed process left; such a folder is as large as the model.
        sweep_temporary(kept)
        text = f"{folder.name} is copied once, in the layout of transformers' GLM, into {target}"
        listen(Event(kind="note", data={"text": text}))
        work = Path(tempfile.mkdtemp(dir=kept, prefix=f".tmp-{os.getpid()}-"))
        try:
            _write(folder, config, list(shards.values()), work, listen)
            fsync_tree(work)
            _settle(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        fsync_folder(kept)
    return target


def _told(stage: str, items: Sequence[_Item], listen: Listener) -> Iterator[_Item]:
    """The items; once each was dealt with, the listener hears how many that makes."""
    for done, item in enumerate(items):
        listen(Event(kind="progress", data={"stage": stage, "done": done, "total": len(items)}))
        yield item
    listen(Event(kind="progress", data={"stage": stage, "done": len(items), "total": len(items)}))


def _weight_files(folder: Path) -> list[Path]:
    """Safetensors where there are such, else torch files."""
    index = folder / _TORCH_INDEX
    if any(folder.glob("*.safetensors")):
        return weight_files(folder)
    if index.is_file():
        places = read_json(index).get("weight_map")
        names = {str(name) for name in places.values()} if isinstance(places, dict) else set()
    else:
        names = {path.name for path in folder.glob("pytorch_model*.bin")}
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelError(f"{folder} lacks {name}", "Download the missing part.")
    if not names:
        raise ModelError(f"{folder} has no weights", "Fetch its *.safetensors files.")
    return [folder / name for name in sorted(names)]


def _tensors(file: Path) -> dict[str, StoredTensor]:
    return stored_tensors(file) if file.suffix == ".safetensors" else torch_tensors(file)


def _refuse_gaps(
    shards: Iterable[Mapping[str, StoredTensor]], config: Mapping[str, Any], folder: Path
) -> None:
    names = [name for shard in shards for name in shard]
    missing = [name for name, _ in expected_shapes(config) if name not in set(names)]
    if missing or len(names) != len(set(names)):
        what = f"lack {missing[0]}" if missing else "hold a tensor twice"
        raise ModelError(
            f"the weights in {folder} {what}", "Its files do not belong together; fetch them again."
        )


def _refuse_full_disk(kept: Path, shards: Iterable[Mapping[str, StoredTensor]]) -> None:
    needed = sum(tensor.size for shard in shards for tensor in shard.values()) + _SLACK
    free = shutil.disk_usage(kept).free
    if needed > free:
        raise StorageError(
            f"{kept} has {free / 1e9:.1f} GB free; the base takes {needed / 1e9:.1f} GB there",
            "Free some space or choose another folder with --home, then run the command again.",
        )


def _write(
    folder: Path,
    config: dict[str, Any],
    shards: list[dict[str, StoredTensor]],
    work: Path,
    listen: Listener,
) -> None:
    # The tokenizers library takes a moment to import, and only a new folder needs this.
    from tunewright.model.chatglm3.tokenizer import (
        CHAT_TEMPLATE,
        TOKENIZER_CONFIG,
        native_tokenizer,
    )

    write_text_atomic(work / "tokenizer.json", native_tokenizer(folder / PIECES).to_str())
    write_json_atomic(work / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_text_atomic(work / "chat_template.jinja", CHAT_TEMPLATE)
    ends = {key: config[key] for key in ("eos_token_id", "pad_token_id")}
    write_json_atomic(work / "generation_config.json", ends)
    shards = [shard for shard in shards if shard]
    names = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    pairs = list(zip(names, shards, strict=True))
    for name, shard in _told("copying the base", pairs, listen):
        write_stored(shard, work / name)
    if len(shards) > 1:
        places = {t: name for name, shard in zip(names, shards, strict=True) for t in shard}
        total = sum(tensor.size for shard in shards for tensor in shard.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_json_atomic(work / _INDEX, index)
    write_json_atomic(work / "config.json", config)


def _settle(work: Path, target: Path) -> None:
    """Rename into place; another process may have made the same folder meanwhile."""
    try:
        os.rename(work, target)
    except OSError:
        if not (target / "config.json").is_file():
            raise
