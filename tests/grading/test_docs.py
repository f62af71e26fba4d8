"""The graders in the docs are graders, the same in both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tunewright.config.grading import AnyGrader, parse_grader
from tunewright.config.training import TrainConfig
from tunewright.grading.table import GRADERS, check_grader, grade

DOCS = Path(__file__).resolve().parents[2] / "docs"


def examples(name: str) -> list[AnyGrader]:
    text = (DOCS / name).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    lines = re.findall(r"^echo '(\{.*\})'", text, re.MULTILINE)
    return [
        *(parse_grader(yaml.safe_load(block)) for block in blocks),
        *(parse_grader(json.loads(line)) for line in lines),
    ]


def test_the_graders_in_the_docs_work() -> None:
    english, chinese = examples("reinforcement.md"), examples("reinforcement.zh-CN.md")
    assert english == chinese
    first = english[0]
    check_grader(first, {"reference_answer"})
    (found,) = grade(first, ["答案：42"], [{"reference_answer": "42"}])
    assert found.score == pytest.approx(1)


@pytest.mark.parametrize("name", ["reinforcement.md", "reinforcement.zh-CN.md"])
def test_the_docs_name_every_grader_and_option(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    assert all(f"`{kind}`" in text for kind in GRADERS)
    options = {
        f"{group}.{option}"
        for group in ("rl", "grpo", "rloo")
        for option in getattr(TrainConfig.model_fields[group].annotation, "model_fields", {})
    }
    named = set(re.findall(r"`((?:rl|grpo|rloo)\.\w+)`", text))
    assert named <= options
