"""Scorers from outside: a Python function of the user's, and an embedding model."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunewright.config.grading import TextSimilarityGrader
from tunewright.core.errors import ConfigError
from tunewright.evaluation.responders.names import at_url
from tunewright.evaluation.scorers.base import Material, Sample, Score, Scorer, Value, on_demand
from tunewright.evaluation.scorers.form import graded

_EXAMPLE = "Example: --scorer-file my.py:score, with def score(answer, reference, question)"
_PARAMETERS = 3


def embedding(material: Material) -> Score:
    """Cosine of the embeddings of answer and reference.

    Raises:
        ConfigError: no model is given.
    """
    if material.config.embedding is None:
        raise ConfigError(
            "scorer 'embedding' needs an embedding model", "Name it: --embedding MODEL@URL"
        )
    model, url = at_url(material.config.embedding, "embedding")
    return graded(
        TextSimilarityGrader(
            type="text_similarity",
            evaluation_metric="cosine",
            endpoint=url,
            model=model,
            key_file=material.config.key_file,
        ),
        material,
    )


def own_scorer(reference: str) -> tuple[str, Scorer]:
    """The function that ``FILE.py:NAME`` names, as a scorer of that name.

    The file is run: it is the user's own code, with all that the user may do. The function gets
    answer, reference and question, and returns a number in 0..1, or None where it has nothing to
    say.

    Raises:
        ConfigError: there is no such file or function.
    """
    path, colon, name = reference.rpartition(":")
    if not colon or not name.isidentifier():
        raise ConfigError(f"option 'scorer_file': {reference!r} is not FILE.py:NAME", _EXAMPLE)
    function = _function(Path(path), name)
    return name, Scorer(lambda material: _scoring(function, name), on_demand)


def _function(path: Path, name: str) -> Callable[[str, str, str], Any]:
    spec = importlib.util.spec_from_file_location(f"tunewright_scorer_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"option 'scorer_file': {path} is no Python file", _EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # Whatever the user's file does wrong is the user's to see, with its own words.
        raise ConfigError(
            f"option 'scorer_file': {path} cannot be run: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"option 'scorer_file': {path} defines no function {name!r}", _EXAMPLE)
    if len(inspect.signature(function).parameters) != _PARAMETERS:
        raise ConfigError(
            f"option 'scorer_file': {name} must take answer, reference and question", _EXAMPLE
        )
    found: Callable[[str, str, str], Any] = function
    return found


def _scoring(function: Callable[[str, str, str], Any], name: str) -> Score:
    def score(number: int, one: Sample) -> Value | None:
        try:
            value = function(one.answer, one.reference, one.question)
        except Exception as error:
            raise ConfigError(
                f"scorer '{name}' failed on question {number + 1}: {type(error).__name__}: {error}",
                "Nothing was recorded; the answers are kept, so a repaired scorer starts at once.",
            ) from error
        return None if value is None else Value(_within(value, number, name))

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [score(number, one) for number, one in enumerate(samples)]

    return run


def _within(value: Any, number: int, name: str) -> float:
    good = isinstance(value, bool | int | float) and math.isfinite(value) and 0 <= value <= 1
    if not good:
        raise ConfigError(
            f"scorer '{name}' gave {value!r} for question {number + 1}; it must be a number from "
            "0 to 1, or None"
        )
    return float(value)
