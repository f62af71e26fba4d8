"""Knobs of ``benchmark``, and of benchmarks beside an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunewright.config.base import StageConfig


class BenchmarksConfig(StageConfig):
    """Public benchmarks: MMLU, C-Eval and CMMLU from folders of their CSV files."""

    folders: dict[str, str] = Field(default_factory=dict, json_schema_extra={"flag": "--benchmark"})
    """Benchmark and the folder of its files: mmlu=FOLDER, ceval=FOLDER, cmmlu=FOLDER."""
    by: Literal["likelihood", "answer"] = "likelihood"
    """The likeliest letter, or the letter that a written answer names; endpoints only write."""
    shots: int = Field(default=5, ge=0, le=32, json_schema_extra={"flag": "--shots"})
    """Examples of the dev split shown before each question; published results use 5 or 0."""
    split: Literal["dev", "val", "test"] | None = None
    """Split that is asked; the one with public answers where nothing is said (C-Eval: val)."""
    subjects: tuple[str, ...] = Field(default=(), json_schema_extra={"split": True})
    """Ask only these subjects, by the names of their files, with commas between."""
    per_subject: int | None = Field(default=None, ge=1, json_schema_extra={"flag": "--per-subject"})
    """Ask only the first n questions of every subject."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """Loss of accuracy on a benchmark that the forgetting gate must be able to rule out."""


class BenchmarkConfig(StageConfig):
    """Models + folders of benchmarks → accuracies."""

    models: tuple[str, ...] = Field(min_length=1)
    """Who is asked; the others are compared with the first."""
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    tasks: tuple[str, ...] = Field(default=(), json_schema_extra={"split": True})
    """Tasks of lm-eval by name, with commas between; its data come from the hub or your folder."""
    task_folder: str | None = None
    """Folder with task files of your own for lm-eval; what they name is run as your own code."""
    max_new_tokens: int = Field(default=128, ge=1, le=8192)
    """Longest written answer, in tokens."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Questions answered at once."""
    key_file: str | None = None
    """File with the key of endpoints; otherwise the variable TUNEWRIGHT_ENDPOINT_KEY."""
