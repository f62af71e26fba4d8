"""Graders that need nothing but the texts."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.config.grading import parse_grader
from tunewright.core.errors import ConfigError
from tunewright.grading.results import Grade
from tunewright.grading.rules import numbers
from tunewright.grading.table import check_grader, grade

FIELDS = {"question", "reference_answer"}


def one(grader: dict[str, Any], sample: str, reference: str = "", **item: Any) -> Grade:
    values = {"reference_answer": reference, **item}
    return grade(parse_grader(grader), [sample], [values])[0]


def score(grader: dict[str, Any], sample: str, reference: str = "", **item: Any) -> float:
    found = one(grader, sample, reference, **item)
    assert not found.failed
    return found.score


@pytest.mark.parametrize(
    ("operation", "sample", "reference", "value"),
    [
        ("eq", "七日内", "七日内", 1),
        ("eq", "七日内 ", "七日内", 0),
        ("ne", "七日", "七日内", 1),
        ("like", "在七日内退还", "七日内", 1),
        ("like", "Yes, sir", "yes", 0),
        ("ilike", "Yes, sir", "yes", 1),
        ("ilike", "STRASSE", "straße", 1),
    ],
)
def test_string_check(operation: str, sample: str, reference: str, value: float) -> None:
    grader = {"type": "string_check", "operation": operation}
    assert score(grader, sample, reference) == value


def test_fields_of_answers_and_rows_are_filled_in_once() -> None:
    grader = {
        "type": "string_check",
        "input": "{{sample.output_json.who.0.name}} / {{ item.meta.tag }}",
        "reference": "{{ item.reference_answer }} / law",
    }
    sample = '```json\n{"who": [{"name": "{{ item.secret }}"}]}\n```'
    assert score(grader, sample, "{{ item.secret }}", meta={"tag": "law"}, secret="x") == 1
    assert one(grader, "no JSON", meta={"tag": "law"}) == one(grader, '{"who": []}', meta={})
    found = one(grader, "no JSON", meta={"tag": "law"})
    assert (found.score, found.errors.names()) == (0, ("sample_parse_error",))
    assert not found.failed
    absent = one({**grader, "input": "{{ item.meta.no }}"}, "x", meta={"tag": "law"})
    assert absent.failed
    assert absent.errors.invalid_variable_error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ item.refrence_answer }}", "did you mean item.reference_answer"),
        ("{{ item.reference_answer | upper }}", "a blank is"),
        ("{{ 1 + 1 }}", "a blank is"),
        ("{{ sample.choices }}", "of a sample there is"),
        ("{{ item.__class__.__mro__ }}", "item.__class__"),
    ],
)
def test_blanks_of_other_forms_are_refused(text: str, message: str) -> None:
    grader = parse_grader({"type": "string_check", "input": text})
    with pytest.raises(ConfigError, match=message) as caught:
        check_grader(grader, FIELDS)
    assert "item.question" in str(caught.value) or "{{ item.FIELD }}" in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "sample", "reference", "value"),
    [
        ("fuzzy_match", "abcd", "abcx", 0.75),
        ("fuzzy_match", "", "", 1.0),
        ("rouge_1", "The cat sat.", "the cat ran", 2 / 3),
        ("rouge_2", "the cat sat", "the cat ran", 1 / 2),
        ("rouge_3", "the cat sat", "the cat ran", 0.0),
        ("rouge_l", "押金七日内退", "押金应七日退", 2 * 5 / 12),
        ("rouge_l", "", "x", 0.0),
        ("gleu", "a b", "a b c", 3 / 6),
        # One of three pairs and none of two triples: smoothed to half a match.
        ("bleu", "a b c d", "a b c d", 1.0),
        ("bleu", "a b", "a b c d", 0.36787944),
        ("bleu", "a b x y", "a b c d", (2 / 4 * 1 / 3 * 0.5 / 2 * 0.25 / 1) ** 0.25),
        ("bleu", "x", "a", 0.0),
    ],
)
def test_text_similarity(metric: str, sample: str, reference: str, value: float) -> None:
    grader = {"type": "text_similarity", "evaluation_metric": metric}
    assert score(grader, sample, reference) == pytest.approx(value, abs=1e-6)


def test_regex() -> None:
    assert score({"type": "regex", "pattern": r"\d{4}年"}, "在2024年签订") == 1
    assert score({"type": "regex", "pattern": r"\d+", "match": "full"}, "12 ") == 0
    with pytest.raises(ConfigError, match="pattern"):
        check_grader(parse_grader({"type": "regex", "pattern": "(a"}), FIELDS)


def test_a_regular_expression_that_runs_wild_gives_no_grade() -> None:
    found = one({"type": "regex", "pattern": r"(a|aa)+$", "match": "full"}, "a" * 60 + "b")
    assert found.failed
    assert found.errors.names() == ("other_error",)


@pytest.mark.parametrize(
    ("sample", "reference", "options", "value"),
    [
        ("3 + 4 = 7", "7", {}, 1),
        ("3 + 4 = 7", "3", {"pick": "first"}, 1),
        ("共１，２３４．５元", "1234.5", {}, 1),
        ("about 1,234", "答案是 1234", {}, 1),
        ("温度是 −5 度", "-5", {}, 1),
        ("10-3", "3", {}, 1),
        ("0.30000000000000004", "0.3", {}, 1),
        ("102", "100", {"tolerance": 1}, 0),
        ("102", "100", {"relative_tolerance": 0.02}, 1),
        ("none", "7", {}, 0),
        ("1e400", "7", {}, 0),
    ],
)
def test_number_match(sample: str, reference: str, options: dict[str, Any], value: float) -> None:
    assert score({"type": "number_match", **options}, sample, reference) == value


def test_numbers_are_found_as_people_write_them() -> None:
    assert numbers("1,234,567.5 and 12,34 and v1.2.3 and 1e3") == [
        1234567.5, 12, 34, 1.2, 1000,
    ]  # fmt: skip
    assert one({"type": "number_match"}, "7", "no number").failed


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "days": {"$ref": "#/$defs/days"}},
    "required": ["name", "days", "law"],
    "$defs": {"days": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    ("sample", "whole", "partial"),
    [
        ('{"name": "押金", "days": 7, "law": 1}', 1, 1),
        ('```json\n{"name": "押金", "days": 7, "law": null}\n```', 1, 1),
        ('{"name": "押金", "days": -1, "law": 1}', 0, 2 / 3),
        ('{"name": "押金"}', 0, 1 / 3),
        ("[]", 0, 0),
    ],
)
def test_json_schema(sample: str, whole: float, partial: float) -> None:
    grader = {"type": "json_schema", "json_schema": SCHEMA}
    assert score(grader, sample) == whole
    assert score({**grader, "partial": True}, sample) == pytest.approx(partial)


def test_json_that_is_complete_but_not_valid_is_not_worth_one() -> None:
    schema = {"required": ["a"], "additionalProperties": False, "properties": {"a": {}}}
    grader = {"type": "json_schema", "json_schema": schema, "partial": True}
    assert score(grader, '{"a": 1, "b": 2}') == 0.5
    assert one(grader, "{broken").errors.names() == ("sample_parse_error",)


@pytest.mark.parametrize(
    "schema",
    [{"type": "no such type"}, {"$ref": "http://127.0.0.1:1/schema.json"}, {"pattern": "("}],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="json_schema"):
        check_grader(parse_grader({"type": "json_schema", "json_schema": schema}), FIELDS)


def test_a_schemas_pattern_does_not_hang() -> None:
    schema = {"type": "string", "pattern": "^(a|aa)+$"}
    assert score({"type": "json_schema", "json_schema": schema}, f'"{"a" * 5000}b"') == 0


@pytest.mark.parametrize(
    ("options", "sample", "value"),
    [
        ({"minimum": 2, "maximum": 4}, "押金退还", 1),
        ({"minimum": 8}, "押金退还", 0.5),
        ({"maximum": 2}, "押金退还", 0.5),
        ({"maximum": 2, "unit": "words"}, "two words!", 1),
        ({"minimum": 1}, "", 0),
    ],
)
def test_length(options: dict[str, Any], sample: str, value: float) -> None:
    assert score({"type": "length", **options}, sample) == value
