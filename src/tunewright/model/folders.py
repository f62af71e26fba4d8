"""Reading a model folder's JSON without trusting it: no code, no surprises in size or shape."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core.errors import ModelError

_TEMPLATE_FILES = {
    "default": "chat_template.jinja",
    "tool_use": "additional_chat_templates/tool_use.jinja",
}
_LARGEST_JSON = 256 * 2**20
_CONFIG_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
_ADAPTER = "adapter_config.json"
# Written by the transformers library itself; every other key with a leading underscore steers
# loading (CVE-2026-4372 ran a kernel named in one) and is refused.
_HARMLESS_PRIVATE_KEYS = {
    "_name_or_path",
    "_from_model_config",
    "_commit_hash",
    "_diffusers_version",
    "_sliding_window_pattern",
}


@dataclass(frozen=True)
class ModelFolder:
    """The small JSON files of a model folder, read once.

    Attributes:
        path: the folder.
        config: ``config.json``.
        generation: ``generation_config.json`` or an empty dictionary.
        tokenizer: ``tokenizer_config.json`` or an empty dictionary.
        chat_template: the folder's own Jinja template, or None.
        tool_template: the template for conversations that offer tools, where it is another.
    """

    path: Path
    config: dict[str, Any] = field(repr=False)
    generation: dict[str, Any] = field(repr=False)
    tokenizer: dict[str, Any] = field(repr=False)
    chat_template: str | None = field(repr=False)
    tool_template: str | None = field(repr=False, default=None)

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Read and check the folder.

        Raises:
            ModelError: a needed file is missing or unreadable, a file asks to run code, or an
                adapter lies beside the model.
        """
        if not path.is_dir():
            raise ModelError(f"model folder {path} does not exist")
        for name in ("config.json", "tokenizer.json"):
            if not (path / name).is_file():
                raise ModelError(
                    f"model folder {path} has no {name}",
                    "A base is a folder with config.json, tokenizer.json and *.safetensors.",
                )
        if (path / _ADAPTER).exists():
            # The transformers library would hang it on the model without a word.
            raise ModelError(
                f"model folder {path} holds an adapter ({_ADAPTER}) beside the model",
                "Move the adapter's files to a folder of their own.",
            )
        for name in _CONFIG_FILES:
            if (path / name).is_file():
                refuse_code(read_json(path / name), path / name)
        tokenizer = _read_optional(path / "tokenizer_config.json")
        templates = _chat_templates(path, tokenizer)
        return cls(
            path=path,
            config=read_json(path / "config.json"),
            generation=_read_optional(path / "generation_config.json"),
            tokenizer=tokenizer,
            chat_template=templates.get("default"),
            tool_template=templates.get("tool_use") if "default" in templates else None,
        )

    @property
    def context_length(self) -> int:
        """Most positions the model was made for; 2,048 when the folder does not say."""
        nested = self.config.get("text_config")
        positions = self.config.get("max_position_embeddings")
        if positions is None and isinstance(nested, dict):
            positions = nested.get("max_position_embeddings")
        longest = self.tokenizer.get("model_max_length")
        sane = [int(n) for n in (positions, longest) if n is not None and _is_length(n)]
        return min(sane, default=2048)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: when it is too large, not UTF-8, not JSON or not an object.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path} is larger than {_LARGEST_JSON >> 20} MiB")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value


def refuse_code(value: Any, path: Path, where: str = "") -> None:
    """Refuse keys that make a loader import or run something, at any depth.

    Raises:
        ModelError: naming the key.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{where}.{key}" if where else key
            if key in {"auto_map", "custom_pipelines"} and inner:
                raise ModelError(
                    f"{path}: {place} asks to run code that comes with the model",
                    "Only architectures that transformers holds itself are loaded, and without it."
                    " If this is one of them, remove the key from a copy of the folder.",
                )
            if key.startswith("_") and key not in _HARMLESS_PRIVATE_KEYS:
                raise ModelError(
                    f"{path}: private key {place} can change how the model is loaded",
                    "Remove the key from the file if you trust the rest.",
                )
            refuse_code(inner, path, place)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            refuse_code(inner, path, f"{where}[{number}]")


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _is_length(value: Any) -> bool:
    # Tokenizers without a limit write 10**30.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10**8


def _chat_templates(path: Path, tokenizer: dict[str, Any]) -> dict[str, str]:
    """Templates by name, from the places where the transformers library keeps them."""
    given: Any = tokenizer.get("chat_template")
    named = {"default": given}
    if isinstance(given, list):
        named = {t["name"]: t.get("template") for t in given if _has_name(t)}
    files = {name: path / file for name, file in _TEMPLATE_FILES.items() if (path / file).is_file()}
    if "default" in files:
        named = {name: _read_text(file) for name, file in files.items()}
    return {n: text for n, text in named.items() if isinstance(text, str) and text.strip()}


def _has_name(template: Any) -> bool:
    return isinstance(template, dict) and isinstance(template.get("name"), str)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
