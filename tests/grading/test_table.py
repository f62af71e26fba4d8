"""Formulas over several graders, what is refused, and OpenAI's forms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse

from tunewright.config.grading import parse_grader, read_grader
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.store import Store
from tunewright.grading.formula import formula
from tunewright.grading.results import Means
from tunewright.grading.table import check_grader, grade, run_grader

MULTI: dict[str, Any] = {
    "type": "multi",
    "name": "both",
    "graders": {
        "right": {"type": "string_check", "name": "right", "operation": "ilike"},
        "short": {"type": "length", "name": "short", "maximum": 5},
    },
    "calculate_output": "0.75 * right + 0.25 * short ** 2",
}


def test_graders_are_joined_by_a_formula() -> None:
    items = [{"reference_answer": "yes"}] * 2
    first, second = grade(parse_grader(MULTI), ["Yes", "no, not so"], items)
    assert (first.score, dict(first.sub_scores)) == (1, {"right": 1, "short": 1})
    assert second.score == pytest.approx(0.25 * 0.5**2)


def test_a_list_of_graders_is_named_by_their_names() -> None:
    as_list = {**MULTI, "graders": list(MULTI["graders"].values())}
    assert parse_grader(as_list) == parse_grader(MULTI)
    with pytest.raises(ConfigError, match="a name each"):
        parse_grader({**MULTI, "graders": [{"type": "length", "maximum": 5}]})
    with pytest.raises(ConfigError, match="cannot hold the name"):
        parse_grader({**MULTI, "graders": {"a b": {"type": "length", "maximum": 5}}})


def test_where_one_grader_gives_no_score_there_is_none() -> None:
    wild = {"type": "regex", "pattern": "(a|aa)+$", "match": "full"}
    graders = {**MULTI["graders"], "wild": wild}
    config = parse_grader({**MULTI, "graders": graders, "calculate_output": "right + wild"})
    (found,) = grade(config, ["a" * 60 + "b"], [{"reference_answer": "a"}])
    assert found.failed
    assert (found.score, found.sub_scores["right"]) == (0, 1)


def test_a_formula_without_a_value_gives_no_score() -> None:
    config = parse_grader({**MULTI, "calculate_output": "1 / (right - 1)"})
    good, bad = grade(config, ["no", "yes"], [{"reference_answer": "yes"}] * 2)
    assert (good.score, good.failed) == (-1, False)
    assert bad.errors.names() == ("formula_parse_error",)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - -4", 11),
        ("2 ** 3 ** 2 / 512", 1),
        ("min(a, 0.2) + max(a, 1, 2) + abs(-a)", 2.7),
        ("floor(2.9) + ceil(2.1) + sqrt(16) + exp(0) + log(1)", 10),
    ],
)
def test_formulas(text: str, value: float) -> None:
    assert formula(text, {"a"})({"a": 0.5}) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "a +", "b", "__import__('os')", "a.__class__", "a[0]", "lambda: 1", "a if a else 1",
        "min()", "sqrt(a, a)", "print(a)", "'x' * 9", "True", "1e999", "a := 1", "[a]", "a < 1",
        "a % 2", "a // 2", "min(a, key=abs)", "1j", "-" * 300 + "a", "(" * 300 + "a" + ")" * 300,
        "a" * 1001, "min(*a)",
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        formula(text, {"a"})


@pytest.mark.parametrize("text", ["9 ** 99", "1e99 * 1e99", "1 / (a - a)", "log(-a)", "exp(1e9)"])
def test_values_without_bounds_are_no_values(text: str) -> None:
    with pytest.raises((ArithmeticError, ValueError)):
        formula(text, {"a"})({"a": 0.5})


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ({"type": "python", "name": "p", "source": "def grade(s, i): ..."}, "no code of others"),
        ({"type": "text_similarity", "evaluation_metric": "meteor"}, "WordNet"),
        ({"type": "text_similarity", "evaluation_metric": "cosine"}, "endpoint and model"),
        ({"type": "regexp"}, "string_check, text_similarity"),
        ({"type": "length"}, "minimum, maximum"),
        ({"type": "string_check", "refrence": "x"}, "did you mean 'reference'"),
        ({"type": "multi", "graders": {"a": {"type": "python"}}, "calculate_output": "a"}, "code"),
    ],
)
def test_what_cannot_grade_is_refused(grader: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_grader(grader)


def test_graders_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "grader.yaml"
    path.write_text("type: number_match\nreference: '1e5'\n", encoding="utf-8")
    assert read_grader(path) == parse_grader({"type": "number_match", "reference": "1e5"})
    path.write_text("type: number_match\ntolerence: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"grader\.yaml.*did you mean 'tolerance'"):
        read_grader(path)
    with pytest.raises(ConfigError, match="grader file"):
        read_grader(tmp_path / "none.json")


def test_a_run_is_told_in_openais_form() -> None:
    told = run_grader(parse_grader(MULTI), "yes", {"reference_answer": "yes"})
    response = GraderRunResponse.model_validate(told, strict=True)
    assert response.reward == 1
    assert response.sub_rewards == {"right": 1, "short": 1}
    assert (response.metadata.name, response.metadata.type) == ("both", "multi")
    assert not any(response.metadata.errors.model_dump().values())


def test_a_model_that_gives_no_rewards_is_refused(store: Store, tiny_base: Path) -> None:
    config = parse_grader({"type": "reward_model", "model": str(tiny_base)})
    with pytest.raises(ModelError, match="no reward model"):
        check_grader(config, {"question"}, Means(store))
    with pytest.raises(ConfigError, match="needs the store"):
        check_grader(config, {"question"})


def test_graders_load_no_torch() -> None:
    program = "import sys, tunewright.grading.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
