"""The recipe and the command line that make a dataset again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tunewright.config.data import PrepareConfig


def chosen(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a record's config that are not the defaults, as JSON values."""
    stage = PrepareConfig.model_validate(config)
    return stage.model_dump(mode="json", exclude_defaults=True)


def recipe_yaml(config: Mapping[str, Any]) -> str:
    """A file for ``prepare --recipe``."""
    text: str = yaml.safe_dump(chosen(config), allow_unicode=True, sort_keys=False, width=10_000)
    return text


def command_line(config: Mapping[str, Any]) -> str:
    """The same as one command for a POSIX shell."""
    options = chosen(config)
    files = options.pop("files")
    words = ["tunewright", "prepare", *_flags(options), "--yes"]
    # After a bare "--" no file name is taken for an option.
    dashed = any(str(name).startswith("-") for name in files)
    return shlex.join([*words, *(["--"] if dashed else []), *files])


def _flags(options: Mapping[str, Any], prefix: str = "--") -> Iterator[str]:
    for name, value in options.items():
        flag = prefix + name.replace("_", "-")
        if name in ("map", "where", "mix"):
            for key, inner in value.items():
                yield from (flag, f"{key}={inner}")
        elif isinstance(value, Mapping):
            yield from _flags(value, f"{flag}-")
        elif isinstance(value, list):
            for inner in value:
                yield from (flag, str(inner))
        else:
            yield from (flag, str(value))
