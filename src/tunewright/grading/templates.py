"""Texts with blanks such as ``{{ sample.output_text }}`` and ``{{ item.reference_answer }}``.

Only the forms in ``_FORMS`` are filled in, once, with no expressions and no second pass: what
an answer or a row says is never read as a template.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import ConfigError
from tunewright.grading.results import Case, Errors, NoGrade

_BLANK = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"\s*(sample|item)((?:\.[\w-]+)+)\s*")
_FORMS = "{{ sample.output_text }}, {{ sample.output_json.FIELD }} or {{ item.FIELD }}"
_INVALID = Errors(invalid_variable_error=True)


@dataclass(frozen=True)
class Template:
    """A text with blanks.

    Attributes:
        parts: literal texts and paths by turns; a path is a tuple such as ``("item", "answer")``.
    """

    parts: tuple[str | tuple[str, ...], ...]

    def fill(self, case: Case) -> str:
        """The text for one answer.

        Raises:
            NoGrade: the answer is no JSON though a field of it is wanted, or a field is missing.
        """
        return "".join(
            part if isinstance(part, str) else _text(_value(part, case)) for part in self.parts
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the row that it names."""
        return tuple(
            part[1] for part in self.parts if not isinstance(part, str) and part[0] == "item"
        )


def template(text: str) -> Template:
    """Read a text with blanks.

    Raises:
        ConfigError: a blank of another form.
    """
    parts: list[str | tuple[str, ...]] = []
    end = 0
    for blank in _BLANK.finditer(text):
        parts += [text[end : blank.start()], _path(blank)]
        end = blank.end()
    return Template((*parts, text[end:]))


def refuse_unknown(templates: Collection[Template], known: Collection[str]) -> None:
    """Refuse templates that name fields which rows do not have.

    Raises:
        ConfigError: naming the fields that there are.
    """
    for name in dict.fromkeys(field for one in templates for field in one.fields):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"the grader reads item.{name}, which rows do not have"
                + (f"; did you mean item.{close[0]}?" if close else ""),
                f"Known: {', '.join(f'item.{one}' for one in sorted(known))}",
            )


def _path(blank: re.Match[str]) -> tuple[str, ...]:
    found = _PATH.fullmatch(blank[1])
    if found is None:
        raise ConfigError(f"the grader holds {blank[0]!r}; a blank is {_FORMS}")
    path = (found[1], *found[2][1:].split("."))
    if path[0] == "sample" and not (path[1:] == ("output_text",) or path[1] == "output_json"):
        raise ConfigError(f"the grader holds {blank[0]!r}; of a sample there is {_FORMS}")
    return path


def _value(path: tuple[str, ...], case: Case) -> Any:
    if path == ("sample", "output_text"):
        return case.sample
    if path[0] == "item":
        return _inside(case.item, path[1:], NoGrade(_INVALID))
    # The answer's own JSON lacks the field: that is the answer's fault.
    return _inside(case.output_json, path[2:], NoGrade(Errors(sample_parse_error=True)))


def _inside(value: Any, path: Sequence[str], absent: NoGrade) -> Any:
    for name in path:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, Sequence) and not isinstance(value, str) and _within(name, value):
            value = value[int(name)]
        else:
            raise absent
    return value


def _within(name: str, values: Sequence[Any]) -> bool:
    return name.isascii() and name.isdigit() and int(name[:9]) < len(values)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
