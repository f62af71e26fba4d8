"""The benchmarks by name: how their files are laid out, and how their questions are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import yaml

OPTIONS: Final = ("A", "B", "C", "D")
_SUBJECTS: Final = "subjects.yaml"
UNPUBLISHED: Final = "Unpublished"
"""The category of subjects that were not published with a benchmark."""
CATEGORIES: Final = (
    *("STEM", "Humanities", "Social Science", "Other", "China specific", UNPUBLISHED),
)
"""In the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One benchmark's files and its prompt as published.

    Attributes:
        title: as it is called.
        split: whose answers are public, and that is asked.
        named: whether file names end with the split, as ``law_val.csv``.
        header: whether files begin with the columns' names.
        lead: what stands before the first question; ``{subject}`` is the subject's name.
        ask: a question with its options a, b, c and d, up to where the letter follows.
    """

    title: str
    split: str
    named: bool
    header: bool
    lead: str
    ask: str


_LISTED = "A. {a}\nB. {b}\nC. {c}\nD. {d}"
LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        # Hendrycks et al. 2021, arXiv 2009.03300; github.com/hendrycks/test, evaluate.py.
        "mmlu": Layout(
            "MMLU",
            "test",
            True,
            False,
            "The following are multiple choice questions (with answers) about {subject}.",
            "{question}\n" + _LISTED + "\nAnswer:",
        ),
        # Huang et al. 2023, arXiv 2305.08322, figure 3.
        "ceval": Layout(
            "C-Eval",
            "val",
            True,
            True,
            "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。",
            "{question}\n" + _LISTED + "\n答案：",
        ),
        # Li et al. 2023, arXiv 2306.09212; github.com/haonan-li/CMMLU, mp_utils.py.
        "cmmlu": Layout(
            "CMMLU",
            "test",
            False,
            True,
            "以下是关于{subject}的单项选择题，请直接给出正确答案的选项。",
            "题目：{question}\n" + _LISTED + "\n答案是：",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is published about a subject.

    Attributes:
        name: as the prompt says it.
        categories: that it counts in.
    """

    name: str
    categories: tuple[str, ...] = ()


def read_subjects(benchmark: str) -> Mapping[str, Subject]:
    """A benchmark's subjects as published, by the names of their files."""
    text = (files("tunewright.evaluation") / "probes" / _SUBJECTS).read_text(encoding="utf-8")
    rows = yaml.safe_load(text)[benchmark].items()
    return {key: Subject(name, tuple(categories)) for key, (name, *categories) in rows}
