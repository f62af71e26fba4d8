"""How a stage's config is built: from YAML, from ``key=value``, with helpful refusals."""

from __future__ import annotations

import difflib
import json
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.core.errors import ConfigError


class StageConfig(BaseModel):
    """A frozen group of knobs; unknown names are refused with the nearest valid one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def build(cls, values: dict[str, Any]) -> Self:
        """Validate ``values``.

        Raises:
            ConfigError: naming every unknown or out-of-bounds option.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [_explain(cls, problem) for problem in error.errors()]
            raise ConfigError("\n".join(lines)) from None

    def json_dict(self) -> dict[str, Any]:
        """The config as plain JSON values, for records."""
        result: dict[str, Any] = self.model_dump(mode="json")
        return result


def _explain(cls: type[BaseModel], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown option {where!r}{_nearest(cls, problem['loc'])}"
    given = problem.get("input")
    shown = "" if problem["type"] == "missing" else f" (given: {given!r})"
    return f"option {where!r}: {problem['msg']}{shown}"


def _nearest(cls: type[BaseModel], loc: tuple[Any, ...]) -> str:
    names = option_names(cls)
    wanted = ".".join(str(part) for part in loc)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    if not close:
        tails = {name.rsplit(".", 1)[-1]: name for name in names}
        tail = difflib.get_close_matches(wanted.rsplit(".", 1)[-1], list(tails), n=1, cutoff=0.6)
        close = [tails[name] for name in tail]
    return f"; did you mean {close[0]!r}?" if close else f"; valid options: {', '.join(names)}"


def option_names(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every option, nested groups included."""
    names: list[str] = []
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += option_names(inner, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def parse_settings(pairs: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """``["lora.rank=8", "epochs=3"]`` → ``{"lora": {"rank": 8}, "epochs": 3}``; values are YAML.

    Raises:
        ConfigError: for a pair without ``=``.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{pair!r} is not of the form key=value", "Example: --set epochs=3")
        target = result
        *groups, last = key.strip().split(".")
        for group in groups:
            target = target.setdefault(group, {})
        try:
            target[last] = _number(yaml.safe_load(text))
        except yaml.YAMLError:
            target[last] = text
    return result


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries laid over each other; later ones win."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, dict) and isinstance(result.get(key), dict):
                result[key] = merge(result[key], value)
            else:
                result[key] = value
    return result


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe file (YAML or JSON), or a bundled one by its bare name, as a dictionary.

    Raises:
        ConfigError: when the file cannot be read or does not hold a mapping.
    """
    shipped = bundled_recipes()
    source = path if path.exists() else shipped.get(str(path), path)
    try:
        text = source.read_bytes().decode("utf-8-sig")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(
            f"recipe {path}: there is no such file",
            f"Bundled ones for train go by their names: {', '.join(shipped)}.",
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"recipe {path}: expected 'option: value' lines, found {type(data).__name__}"
        )
    return {key: _numbers(value) for key, value in data.items()}


def bundled_recipes() -> dict[str, Traversable]:
    """Name → file of the recipes that ship with the package."""
    folder = resources.files("tunewright.samples") / "recipes"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file for file in files if file.name.endswith(".yaml")}


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(inner) for key, inner in value.items()}
    return _number(value) if isinstance(value, str) and "e" in value.lower() else value
