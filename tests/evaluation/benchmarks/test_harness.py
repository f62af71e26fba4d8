"""lm-eval in this process, on a task of our own; skipped where it is not installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.benchmarks import BenchmarkConfig
from tunewright.core.errors import ConfigError
from tunewright.core.store import Store
from tunewright.evaluation.benchmarks.harness import harness

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Two tasks of sums in a group, with data beside them."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [{"question": f"{n} + 1 =", "options": [str(n + 1), "0"], "right": 0} for n in range(8)]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "sums.jsonl")}},
        "test_split": "test",
        "fewshot_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{options}}",
        "doc_to_target": "right",
        "metric_list": [{"metric": "acc"}],
    }
    for name in ("own_one", "own_two"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **task}))
    group = {"group": "own_sums", "task": ["own_one", "own_two"]}
    (folder / "own_sums.yaml").write_text(yaml.safe_dump(group), encoding="utf-8")
    return folder


@needs_lm_eval
@pytest.mark.filterwarnings("default")  # of the packages that lm-eval brings
def test_a_group_of_own_tasks_through_the_command(
    store: Store, tiny_base: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    arguments = ["benchmark", str(tiny_base), "nano", "--tasks", "own_sums", "--shots", "1"]
    arguments += ["--task-folder", str(tasks), "--per-subject", "5", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--home", str(store.home)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])["benchmarks"]["lm-eval own_sums"]
    assert found["shots"] == 1
    for name in (str(tiny_base), "nano"):
        one = found["responders"][name]
        assert one["questions"] == 10
        assert {key: task["questions"] for key, task in one["subjects"].items()} == {
            "own_one": 5,
            "own_two": 5,
        }
    assert 0 < found["against"]["nano"]["p_holm"] <= 1
    with pytest.raises(ConfigError, match="knows no task 'absent'"):
        harness(BenchmarkConfig(models=("nano",), tasks=("absent",)), store)


@needs_lm_eval
def test_only_models_of_this_machine(store: Store) -> None:
    for name in ("openai:m@http://127.0.0.1:1/v1", "nano+5shot"):
        with pytest.raises(ConfigError, match="cannot be asked through lm-eval"):
            harness(BenchmarkConfig(models=(name,), tasks=("own",)), store)


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_without_lm_eval_the_extra_is_named(store: Store) -> None:
    with pytest.raises(ConfigError, match="lm-eval is not installed") as caught:
        harness(BenchmarkConfig(models=("nano",), tasks=("mmlu",)), store)
    assert "tunewright[benchmarks]" in caught.value.hint
    assert harness(BenchmarkConfig(models=("nano",)), store) == {}
