"""Graders by type, and how they are opened, checked and run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tunewright.config.grading import AnyGrader, MultiGrader, TextSimilarityGrader
from tunewright.core.errors import ConfigError
from tunewright.grading.formula import Formula, formula
from tunewright.grading.judges import embedded, score_model
from tunewright.grading.results import Case, Errors, Grade, Means, Scorer
from tunewright.grading.reward_models import ASKED, reward_model
from tunewright.grading.rules import (
    json_schema,
    length,
    number_match,
    regex_match,
    string_check,
    text_similarity,
)
from tunewright.grading.templates import Template, refuse_unknown, template


@dataclass(frozen=True)
class Kind:
    """One type of grader.

    Attributes:
        open: config and means → the scorer; refuses what cannot work.
        texts: the config's templates.
        asked: whether it must know what was asked.
    """

    open: Callable[[Any, Means], Scorer]
    texts: Callable[[Any], Sequence[str]]
    asked: bool = False


def _input(config: Any) -> tuple[str, ...]:
    return (config.input,)


def _both(config: Any) -> tuple[str, ...]:
    return (config.input, config.reference)


def _similarity(config: TextSimilarityGrader, means: Means) -> Scorer:
    return (embedded if config.evaluation_metric == "cosine" else text_similarity)(config, means)


def _multi(config: MultiGrader, means: Means) -> Scorer:
    """Sub scores joined by the formula; where one grader gave none, there is none.

    Raises:
        ConfigError: the formula cannot be read.
    """
    joined = formula(config.calculate_output, config.graders)
    scorers = {name: open_grader(one, means) for name, one in config.graders.items()}

    def run(cases: Sequence[Case]) -> list[Grade]:
        columns = {name: scorer(cases) for name, scorer in scorers.items()}
        return [
            _join({name: grades[number] for name, grades in columns.items()}, joined)
            for number in range(len(cases))
        ]

    return run


def _join(parts: Mapping[str, Grade], joined: Formula) -> Grade:
    scores = {name: grade.score for name, grade in parts.items()}
    errors = reduce(Errors.joined, (grade.errors for grade in parts.values()))
    tokens: dict[str, int] = {}
    for grade in parts.values():
        for model, count in grade.tokens.items():
            tokens[model] = tokens.get(model, 0) + count
    failed = any(grade.failed for grade in parts.values())
    try:
        score = 0.0 if failed else joined(scores)
    except (ArithmeticError, ValueError):
        score, errors = 0.0, errors.joined(Errors(formula_parse_error=True))
    return Grade(score, scores, errors, tokens)


GRADERS: dict[str, Kind] = {
    "string_check": Kind(string_check, _both),
    "text_similarity": Kind(_similarity, _both),
    "regex": Kind(regex_match, _input),
    "number_match": Kind(number_match, _both),
    "json_schema": Kind(json_schema, _input),
    "length": Kind(length, _input),
    "reward_model": Kind(reward_model, lambda config: (), asked=True),
    "score_model": Kind(score_model, lambda config: [one.content for one in config.input]),
    "multi": Kind(_multi, lambda config: ()),
}


def open_grader(grader: AnyGrader, means: Means | None = None) -> Scorer:
    """The scorer of a grader, for as many calls as wanted: what it loads, it loads once.

    Raises:
        InputError: it names what there is not: a blank, a model, an endpoint, a schema.
    """
    return GRADERS[grader.type].open(grader, means or Means())


def check_grader(grader: AnyGrader, fields: Collection[str], means: Means | None = None) -> None:
    """Refuse a grader that could not grade rows with these fields; nothing is loaded or asked.

    Args:
        grader: to check.
        fields: of every row.
        means: what it may use.

    Raises:
        InputError: saying what is missing, and what there is.
    """
    open_grader(grader, means)
    refuse_unknown([text for one in _singles(grader) for text in _templates(one)], fields)
    for one in _singles(grader):
        if GRADERS[one.type].asked and not set(ASKED) & set(fields):
            raise ConfigError(
                f"grader {one.label} must know what was asked: rows need {' or '.join(ASKED)}"
            )


def fields_read(grader: AnyGrader) -> tuple[str, ...]:
    """Fields of a row that a grader's texts name."""
    texts = [text for one in _singles(grader) for text in _templates(one)]
    return tuple(dict.fromkeys(name for text in texts for name in text.fields))


def _singles(grader: AnyGrader) -> Iterator[AnyGrader]:
    if isinstance(grader, MultiGrader):
        yield from grader.graders.values()
    else:
        yield grader


def _templates(grader: AnyGrader) -> list[Template]:
    return [template(text) for text in GRADERS[grader.type].texts(grader)]


def grade(
    grader: AnyGrader,
    samples: Sequence[str],
    items: Sequence[Mapping[str, Any]],
    means: Means | None = None,
) -> list[Grade]:
    """Grade answers.

    Args:
        grader: what makes them good.
        samples: the answers.
        items: the row of each answer's question.
        means: what graders may use besides.

    Raises:
        InputError: the grader cannot work.
        EndpointError: a judge refuses every request.
    """
    cases = [Case(sample, item) for sample, item in zip(samples, items, strict=True)]
    return open_grader(grader, means)(cases)


def run_grader(
    grader: AnyGrader, sample: str, item: Mapping[str, Any], means: Means | None = None
) -> dict[str, Any]:
    """Grade one answer; the reply of OpenAI's ``graders/run`` as JSON values.

    Raises:
        InputError: the grader cannot work.
        EndpointError: a judge refuses every request.
    """
    begin = time.perf_counter()
    (found,) = grade(grader, [sample], [item], means)
    spent = sum(found.tokens.values())
    return {
        "reward": found.score,
        "sub_rewards": dict(found.sub_scores),
        "metadata": {
            "name": grader.label,
            "type": grader.type,
            "errors": found.errors.data(),
            "execution_time": time.perf_counter() - begin,
            "scores": dict(found.sub_scores) or {grader.label: found.score},
            "token_usage": spent or None,
            "sampled_model_name": None,
        },
        "model_grader_token_usage_per_model": dict(found.tokens),
    }
