"""``train --recipe lora.yaml``: the script's recipe and its data, from one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """\
data_config:
  train_file: train.json
  val_file: dev.json
  test_file: dev.json
  num_proc: 16
max_input_length: 256
max_output_length: 512
training_args:
  output_dir: ./output
  max_steps: 3000
  learning_rate: 5e-4
  per_device_train_batch_size: 4
  save_steps: 500
  eval_steps: 500
  use_cpu: true
peft_config:
  peft_type: LORA
  task_type: CAUSAL_LM
  r: 2
"""


def tunewright(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunewright", *arguments],
        cwd=folder,
        env={**os.environ, "TUNEWRIGHT_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The recipe, and its data in a folder of its own."""
    (tmp_path / "lora.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "data").mkdir()
    for name, numbers in (("train", range(30)), ("dev", range(30, 36))):
        rows = [
            {"conversations": [
                {"role": "user", "content": f"第{n}号合同的押金什么时候退？"},
                {"role": "assistant", "content": f"第{n}号合同期满后{n}日内退。"},
            ]}
            for n in numbers
        ]  # fmt: skip
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / "data" / f"{name}.json").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_the_scripts_command_runs(folder: Path, tiny_base: Path) -> None:
    done = tunewright(
        folder, "train", "--recipe", "lora.yaml", "--dataset", "data", "--base", str(tiny_base),
        "--max-steps", "2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 2
    assert "r 2 → lora.rank 2" in done.stderr
    assert "left out: output_dir" in done.stderr
    assert "6 test" in done.stderr
    # A name is no picture: ":train:" would be one.
    assert f"Model {result['model']} " in done.stderr
    assert ":train:" in result["model"]
    settings = folder / "home" / "models"
    adapter = json.loads(next(settings.glob("*/adapter_config.json")).read_text())
    assert (adapter["r"], adapter["target_modules"]) == (2, ["k_proj", "q_proj", "v_proj"])


def test_data_that_is_not_there_is_named(folder: Path, tiny_base: Path) -> None:
    done = tunewright(folder, "train", "--recipe", "lora.yaml", "--base", str(tiny_base))
    assert done.returncode == 2
    assert f"the recipe names train.json, which {folder} does not hold" in done.stderr
    assert "--dataset FOLDER" in done.stderr
    assert not (folder / "home" / "runs").exists()
