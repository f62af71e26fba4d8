"""Answers that have a form: labels, numbers, JSON, phrases that must or must not be there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field, ValidationError

from tunewright.config.base import StageConfig
from tunewright.config.grading import AnyGrader, JsonSchemaGrader, NumberMatchGrader
from tunewright.core.errors import ConfigError
from tunewright.evaluation.scorers.base import Material, Sample, Score, Value
from tunewright.evaluation.scorers.normal import normalise
from tunewright.evaluation.statistics.bootstrap import Floats
from tunewright.grading.results import Case, Means, NoGrade, parsed
from tunewright.grading.table import open_grader
from tunewright.model.calls.spelling import same_calls

MOST_CLASSES = 100
"""Classes up to which macro-F1 has an interval: each costs three sums per group."""
_MOST_BYTES = 1 << 20


# Labels ----------------------------------------------------------------------------------------


def label_key(labels: Sequence[str]) -> Callable[[str], str]:
    """How labels are compared: as ``exact`` does, unless two of them are then one."""
    return normalise if len({normalise(label) for label in labels}) == len(labels) else str.strip


def label(material: Material) -> Score:
    """1 where the answer is the reference's class."""
    key = label_key(material.labels)
    return lambda samples: [Value(float(key(one.answer) == key(one.reference))) for one in samples]


def valid(material: Material) -> Score:
    """1 where the answer is one of the classes, right or wrong."""
    key = label_key(material.labels)
    known = {key(one) for one in material.labels}
    return lambda samples: [Value(float(key(one.answer) in known)) for one in samples]


def macro_f1(material: Material) -> Score:
    """F1 of every class, each counting the same. A single answer is right or wrong."""
    key = label_key(material.labels)
    places = {key(one): place for place, one in enumerate(material.labels)}
    count = len(places)

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [value(one) for one in samples]

    def value(one: Sample) -> Value | None:
        wanted, found = places.get(key(one.reference)), places.get(key(one.answer))
        if wanted is None:
            return None
        parts = [0.0] * (2 * count)
        # Twice the rows given their class; the rows of a class and those given it.
        parts[wanted] += 2.0 * (wanted == found)
        parts[count + wanted] += 1.0
        if found is not None:
            parts[count + found] += 1.0
        return Value(float(wanted == found), tuple(parts))

    return run


def mean_f1(parts: Floats) -> Floats:
    """Mean F1 of the classes that occur, from sums of ``macro_f1``'s parts: ``(…, 2k)`` → ``(…)``.

    F1 = 2 · right / (rows + given).
    """
    count = parts.shape[-1] // 2
    twice, both = parts[..., :count], parts[..., count:]
    occurs = both > 0
    scores = np.divide(twice, both, out=np.zeros_like(twice), where=occurs)
    found: Floats = scores.sum(axis=-1) / np.maximum(1, occurs.sum(axis=-1))
    return found


# Calls -----------------------------------------------------------------------------------------


def calls(material: Material) -> Score:
    """1 where the answer calls what the reference calls: the same functions, equal arguments.

    Where the reference calls none of the functions on offer, the answer must not either.
    """
    return lambda samples: [
        None if one.wanted is None else Value(float(same_calls(one.calls, one.wanted)))
        for one in samples
    ]


# By graders ------------------------------------------------------------------------------------


def graded(grader: AnyGrader, material: Material) -> Score:
    """A scorer that is a grader; where the grader gives no score, there is no value.

    Raises:
        InputError: the grader cannot work.
    """
    grade = open_grader(grader, Means(material.store))

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        cases = [
            Case(one.answer, {"reference_answer": one.reference, "question": one.question})
            for one in samples
        ]
        return [None if one.failed else Value(one.score) for one in grade(cases)]

    return run


def number_match(material: Material) -> Score:
    """1 where the answer's last number is the reference's."""
    return graded(NumberMatchGrader(type="number_match"), material)


def json_schema(material: Material) -> Score:
    """1 where the answer is JSON that the schema accepts.

    Raises:
        ConfigError: no schema is given, or it is none.
    """
    if material.config.json_schema is None:
        raise ConfigError(
            "scorer 'json_schema' needs a JSON schema", "Name its file: --json-schema FILE"
        )
    schema = read_mapping(Path(material.config.json_schema), "json_schema")
    return graded(JsonSchemaGrader(type="json_schema", json_schema=schema), material)


def json_match(material: Material) -> Score:
    """1 where the answer is the same JSON value as the reference, however it is written."""

    def run(samples: Sequence[Sample]) -> list[Value | None]:
        return [_same_json(one) for one in samples]

    return run


def _same_json(one: Sample) -> Value | None:
    try:
        wanted = parsed(one.reference)
    except NoGrade:
        return None
    try:
        return Value(float(_typed(parsed(one.answer)) == _typed(wanted)))
    except NoGrade:
        return Value(0.0)


def _typed(value: Any) -> Any:
    """Python takes True for 1; JSON does not."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# Phrases ---------------------------------------------------------------------------------------


class Phrases(StageConfig):
    """What answers must and must not say."""

    required: tuple[str, ...] = ()
    """Every answer must say each of these."""
    forbidden: tuple[str, ...] = ()
    """No answer may say any of these."""
    questions: dict[str, Phrases] = Field(default_factory=dict)
    """More of them for single questions, by the question's text."""

    def of(self, question: str, kind: str) -> list[str]:
        """The phrases that apply to a question, in their normal form."""
        own = {normalise(text): more for text, more in self.questions.items()}
        here = own.get(normalise(question))
        found = (*getattr(self, kind), *(getattr(here, kind) if here else ()))
        return [normalise(phrase) for phrase in found]


def required(material: Material) -> Score:
    """Share of the required phrases that the answer says."""
    return _by_phrases(material, "required", lambda said: sum(said) / len(said))


def forbidden(material: Material) -> Score:
    """1 where the answer says a forbidden phrase."""
    return _by_phrases(material, "forbidden", lambda said: float(any(said)))


def _by_phrases(material: Material, kind: str, value: Callable[[list[bool]], float]) -> Score:
    path = material.config.phrases
    own_only = path is None and kind in material.phrased
    phrases = Phrases() if own_only else read_phrases(path, kind)

    def score(one: Sample) -> Value | None:
        own = [normalise(phrase) for phrase in getattr(one, kind)]
        wanted = [*dict.fromkeys([*phrases.of(one.question, kind), *own])]
        answer = normalise(one.answer)
        return Value(value([phrase in answer for phrase in wanted])) if wanted else None

    return lambda samples: [score(one) for one in samples]


def read_phrases(path: str | None, kind: str) -> Phrases:
    """The phrases of a YAML or JSON file.

    Raises:
        ConfigError: no file is named, it cannot be read, or it holds something else.
    """
    if path is None:
        raise ConfigError(
            f"scorer '{kind}' needs a file of phrases", "Name it: --phrases FILE (YAML or JSON)"
        )
    try:
        return Phrases.model_validate(read_mapping(Path(path), "phrases"))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"phrases file {path}, {where}: {problem['msg']}",
            "It holds lists named required and forbidden, and questions: {question: {…}}.",
        ) from None


def read_mapping(path: Path, option: str) -> dict[str, Any]:
    """A YAML or JSON file that holds a mapping.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_MOST_BYTES)
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"option '{option}': {path}: {error}", "It is YAML or JSON.") from None
    if not isinstance(value, dict):
        raise ConfigError(f"option '{option}': {path} holds no mapping")
    return value
