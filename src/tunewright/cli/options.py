"""Flags made from config classes, and the options that every command shares."""

from __future__ import annotations

import functools
import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console

from tunewright.cli.shared import Command, laid_over, shared_options
from tunewright.config.base import StageConfig, merge, parse_settings, read_recipe
from tunewright.core.settings import Settings, read_settings
from tunewright.core.store import Store

# Marks the parameters that belong to the config; groups are joined by two underscores.
_KNOB = "knob__"


@dataclass(frozen=True)
class Common:
    """What every command takes: where the home is, how to print, which language."""

    home: Path | None
    as_json: bool
    language: str | None

    def settings(self) -> Settings:
        """The surroundings, with the command line's choices on top."""
        settings = read_settings(self.home)
        language = self.language or settings.language
        return replace(settings, language=language)

    def store(self) -> Store:
        """The store of the chosen home."""
        return Store(settings=self.settings())

    def show(self, facts: dict[str, Any]) -> None:
        """All about one thing, for people and for programs alike."""
        if not self.as_json:
            Console(emoji=False).print_json(data=facts, ensure_ascii=False)
        self.finish(facts)

    def finish(self, result: dict[str, Any]) -> None:
        """With --json, the last thing on stdout is one JSON object."""
        if self.as_json:
            click.echo(json.dumps(result, ensure_ascii=False))


def common_options(command: Command) -> Command:
    """Add what every command takes; the command gets ``common: Common`` first."""

    @shared_options
    @functools.wraps(command)
    def wrapped(
        home: Path | None, as_json: bool, lang: str | None, debug: bool, **rest: Any
    ) -> Any:
        given = laid_over({"home": home, "as_json": as_json, "language": lang})
        return command(Common(**given), **rest)

    return wrapped


def config_options(
    cls: type[StageConfig], *, skip: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """Add one flag per knob of ``cls``, plus --set and --recipe.

    The command receives ``values``: the dictionary to build the config from, with recipe, flags
    and --set laid over each other in this order.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(recipe: Path | None, settings: tuple[str, ...], **rest: Any) -> Any:
            flags: dict[str, Any] = {}
            for name in [key for key in rest if key.startswith(_KNOB)]:
                value = rest.pop(name)
                if value is not None and value != ():
                    flags = merge(flags, _nested(name.removeprefix(_KNOB), value))
            base = {} if recipe is None else read_recipe(recipe)
            return command(values=merge(base, flags, parse_settings(settings)), **rest)

        decorated: Command = click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any option by its name."
        )(wrapped)
        decorated = click.option(
            "--recipe",
            type=click.Path(path_type=Path),
            help="YAML file of options, or the name of a bundled one (lesson, qlora, …).",
        )(decorated)
        for name, field in reversed(_leaves(cls)):
            if name not in skip:
                decorated = _flag(name, field)(decorated)
        return decorated

    return decorate


def _leaves(cls: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    found: list[tuple[str, FieldInfo]] = []
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _leaves(inner, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field))
    return found


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split("__")):
        value = {part: value}
    return dict(value)


def _flag(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag = "--" + name.replace(".", "-").replace("_", "-")
    kind, many = _click_type(field.annotation)
    if kind is bool:
        flag += "/--no-" + flag.removeprefix("--")
    value = field.get_default(call_default_factory=True)
    default = "" if field.is_required() or value in (None, (), {}) else f" [{_shown(field)}]"
    options: dict[str, Any] = {"default": None, "help": f"{field.description}{default}"}
    if kind is dict:
        options |= {"multiple": True, "metavar": "KEY=VALUE", "callback": _pairs}
    elif kind is not bool:
        options |= {"type": kind, "multiple": many}
    short = (field.json_schema_extra or {}) if not callable(field.json_schema_extra) else {}
    if short.get("split"):
        options["callback"] = _split
    flags = [str(short["flag"]), flag] if "flag" in short else [flag]
    return click.option(*flags, _KNOB + name.replace(".", "__"), **options)


def _shown(field: FieldInfo) -> str:
    value, extra = field.default, field.json_schema_extra
    if isinstance(extra, dict) and extra.get("chosen"):
        return "chosen from the data"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _click_type(annotation: Any) -> tuple[Any, bool]:
    """A click type for an annotation, and whether the flag may be repeated."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _click_type(next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        return click.Choice([str(a) for a in arguments]), False
    if origin is tuple:
        return _click_type(arguments[0])[0], True
    if origin is dict:
        return dict, False
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return str, False  # one of several forms: a flag gives the file that holds it
    return annotation, False


def _split(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """One value is a list with commas between; several values are taken as they are."""
    if len(values) != 1:
        return values
    return tuple(part.strip() for part in re.split("[,，]", values[0]))


def _pairs(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    if not values:
        return None
    pairs: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not of the form key=value", ctx, parameter)
        pairs[key.strip()] = text.strip()
    return pairs
