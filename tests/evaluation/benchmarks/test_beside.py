"""Benchmarks beside an evaluation: in its record, its files, its report and its gate."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tunewright.cli.main import cli
from tunewright.config.data import PrepareConfig
from tunewright.core.records import Evaluation
from tunewright.core.store import Store
from tunewright.data.prepare import prepare
from tunewright.evaluation.evaluate import BENCHMARK_OUTPUTS


def test_benchmarks_beside_an_evaluation(
    store: Store, tiny_base: Path, cmmlu: Path, mmlu: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shop.csv"
    lines = [f"question {n}?,answer {n}" for n in range(40)]
    file.write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    config = {"files": [str(file)], "base": str(tiny_base), "split": {"test": 0.3}}
    dataset = prepare(PrepareConfig.build(config), store)
    arguments = ["evaluate", "--dataset", dataset.id, "--models", str(tiny_base), "--models"]
    arguments += ["nano", "--benchmark", f"cmmlu={cmmlu}", "--benchmark", f"mmlu={mmlu}"]
    arguments += ["--shots", "0", "--per-subject", "4", "--no-safety", "--max-new-tokens", "4"]
    arguments += ["--bootstrap", "200", "--json", "--home", str(store.home)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code in (0, 1), done.output
    shown = json.loads(done.stdout.splitlines()[-1])
    record = store.get(Evaluation, shown["evaluation"])
    assert shown["benchmarks"] == record.benchmarks
    assert list(record.benchmarks) == ["cmmlu", "mmlu"]
    assert record.benchmarks["cmmlu"]["responders"]["nano"]["questions"] == 8
    assert set(record.gates["forgetting"]["numbers"]["benchmarks"]) == {"cmmlu", "mmlu"}
    assert "CMMLU" in record.gates["forgetting"]["evidence"]
    folder = store.folder(Evaluation, record.id)
    lines = (folder / BENCHMARK_OUTPUTS).read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == 2 * (8 + 8)
    assert {one["letter"] for one in answers} <= set("ABCD")
    assert all(0 < one["probability"] <= 1 for one in answers)
    page = (folder / record.report).read_text(encoding="utf-8")
    assert "Public benchmarks" in page
    assert "chinese history" in page
    assert f'benchmarks.folders.cmmlu="{cmmlu}"' in page.replace("&#34;", '"')
    assert "CMMLU (test, 0 examples, likeliest letter)" in done.stderr
