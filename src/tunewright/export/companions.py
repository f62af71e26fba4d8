"""What lies beside the weights: config, tokenizer, chat template, stop tokens, licence."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunewright.core.files import write_json_atomic, write_text_atomic
from tunewright.model.chat_template import PLAIN_TEMPLATE
from tunewright.model.folders import ModelFolder, read_json
from tunewright.model.references import Resolved
from tunewright.model.rendering import Renderer

_COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
)


def companion_bytes(found: Resolved) -> int:
    """What ``copy_companions`` will write, in bytes."""
    files = (found.base.folder / name for name in _COPIED)
    return sum(file.stat().st_size for file in files if file.is_file())


def copy_tokenizer(found: Resolved, renderer: Renderer, folder: Path) -> None:
    """The tokenizer and the chat template that the model was tuned with."""
    _copy(found, folder, [n for n in _COPIED if n not in ("config.json", "generation_config.json")])
    if chat_template(found) == PLAIN_TEMPLATE:
        write_text_atomic(folder / "chat_template.jinja", PLAIN_TEMPLATE)


def copy_companions(found: Resolved, renderer: Renderer, folder: Path, dtype: str | None) -> None:
    """Everything that a model folder holds beside its weights.

    Every token that ended an answer in training ends one in other programs too: they read
    ``generation_config.json``, where bases often name only some.

    Args:
        found: whose base's files are taken.
        renderer: of that base.
        folder: gets them.
        dtype: of the weights, where it is not the base's.
    """
    copy_tokenizer(found, renderer, folder)
    config = read_json(found.base.folder / "config.json")
    if dtype is not None:
        config = {k: v for k, v in config.items() if k != "torch_dtype"} | {"dtype": dtype}
    write_json_atomic(folder / "config.json", config)
    files = ModelFolder.read(found.base.folder)
    ends = sorted(renderer.eos_ids)
    settings = {**files.generation, "eos_token_id": ends, "pad_token_id": renderer.pad_id}
    write_json_atomic(folder / "generation_config.json", settings)


def chat_template(found: Resolved) -> str:
    """The template that the model was tuned with."""
    return ModelFolder.read(found.base.folder).chat_template or PLAIN_TEMPLATE


def _copy(found: Resolved, folder: Path, names: list[str]) -> None:
    for name in names:
        source, target = found.base.folder / name, folder / name
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
