"""Graders that need nothing but the texts."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import regex

from tunewright.config.grading import (
    JsonSchemaGrader,
    LengthGrader,
    NumberMatchGrader,
    RegexGrader,
    StringCheckGrader,
    TextSimilarityGrader,
)
from tunewright.core.errors import ConfigError
from tunewright.grading.results import Case, Errors, Means, NoGrade, Scorer, each, parsed
from tunewright.grading.similarity import METRICS, words
from tunewright.grading.templates import template

_SECONDS = 1.0
"""A regular expression that searches for longer has run wild."""
_LONGEST = 1 << 20
_NUMBER = re.compile(r"(?<![\d.])[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_MINUS = str.maketrans({"−": "-", "–": "-"})


# Texts -----------------------------------------------------------------------------------------

_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}


def string_check(config: StringCheckGrader, means: Means) -> Scorer:
    """1 where the comparison holds."""
    text, reference = template(config.input), template(config.reference)
    holds = _COMPARISONS[config.operation]
    return each(lambda case: float(holds(text.fill(case), reference.fill(case))))


def text_similarity(config: TextSimilarityGrader, means: Means) -> Scorer:
    """How alike the texts are, by one of ``METRICS``."""
    text, reference = template(config.input), template(config.reference)
    alike = METRICS[config.evaluation_metric]
    return each(lambda case: alike(text.fill(case), reference.fill(case)))


def regex_match(config: RegexGrader, means: Means) -> Scorer:
    """1 where the expression matches; one that takes longer than a second gives no grade.

    Raises:
        ConfigError: it is no regular expression.
    """
    text = template(config.input)
    try:
        pattern = regex.compile(config.pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"pattern {config.pattern!r}: {error}") from None
    match = pattern.fullmatch if config.match == "full" else pattern.search

    def score(case: Case) -> float:
        try:
            return float(match(text.fill(case)[:_LONGEST], timeout=_SECONDS) is not None)
        except TimeoutError:
            raise NoGrade(Errors(other_error=True)) from None

    return each(score)


def length(config: LengthGrader, means: Means) -> Scorer:
    """1 inside the bounds; outside the share of the bound that is met."""
    text = template(config.input)
    most = math.inf if config.maximum is None else config.maximum

    def score(case: Case) -> float:
        filled = text.fill(case)
        count = len(words(filled) if config.unit == "words" else filled)
        if count < config.minimum:
            return count / config.minimum
        return most / count if count > most else 1.0

    return each(score)


# Numbers ---------------------------------------------------------------------------------------


def number_match(config: NumberMatchGrader, means: Means) -> Scorer:
    """1 where the text's number is as near to the expected one as asked."""
    text, reference = template(config.input), template(config.reference)
    place = -1 if config.pick == "last" else 0

    def score(case: Case) -> float:
        wanted = numbers(reference.fill(case))
        if not wanted:
            raise NoGrade(Errors(invalid_variable_error=True))
        found = numbers(text.fill(case))
        if not found:
            return 0.0
        allowed = max(config.tolerance, config.relative_tolerance * abs(wanted[-1]))
        # A difference that only rounding makes, as between 0.1 + 0.2 and 0.3, is none.
        allowed += 1e-9 * max(1.0, abs(wanted[-1]))
        return float(abs(found[place] - wanted[-1]) <= allowed)

    return each(score)


def numbers(text: str) -> list[float]:
    """The numbers of a text in order; ``1,234`` and full-width digits are understood."""
    folded = unicodedata.normalize("NFKC", text[:_LONGEST]).translate(_MINUS)
    found = [float(one.replace(",", "")) for one in _NUMBER.findall(folded)]
    return [number for number in found if math.isfinite(number)]


# JSON ------------------------------------------------------------------------------------------


def json_schema(config: JsonSchemaGrader, means: Means) -> Scorer:
    """1 for JSON that the schema accepts; with ``partial`` the share of its required fields.

    Raises:
        ConfigError: it is no JSON schema, or refers to another document.
    """
    text = template(config.input)
    whole = _validator(config.json_schema)
    required = _required(config.json_schema) if config.partial else {}

    def score(case: Case) -> float:
        value = parsed(text.fill(case))
        if whole.is_valid(value):
            return 1.0
        if not required or not isinstance(value, dict):
            return 0.0
        good = [name for name, one in required.items() if name in value and one(value[name])]
        # Something is wrong, or it would be valid: even with every field it is not worth 1.
        return len(good) / max(len(required), len(good) + 1)

    return each(score)


def _required(schema: dict[str, Any]) -> dict[str, Callable[[Any], bool]]:
    """Required fields of the outermost object, each with its own part of the schema."""
    parts = schema.get("properties", {})
    shared = {key: schema[key] for key in ("$schema", "$defs", "definitions") if key in schema}
    found: dict[str, Callable[[Any], bool]] = {}
    for name in schema.get("required", ()):
        part = parts.get(name, {})
        whole = {**shared, **part} if isinstance(part, dict) else part
        found[name] = _validator(whole).is_valid
    return found


def _validator(schema: Any) -> Any:
    try:
        # Linear in the text, whatever the pattern: a schema's pattern must not hang either.
        patterns = jsonschema_rs.RegexOptions()
        return jsonschema_rs.validator_for(schema, pattern_options=patterns, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise ConfigError(f"json_schema is no schema that can be used: {what}") from None
