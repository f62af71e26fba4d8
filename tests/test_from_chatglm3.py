"""docs/from-chatglm3.md, command by command, with a small model in the place of the 6B one."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.model.chatglm3.files import CONFIG, write_folder

DOCS = Path(__file__).parents[1] / "docs"
RECIPE = """\
data_config: {train_file: train.json, val_file: dev.json, test_file: dev.json, num_proc: 16}
max_input_length: 100
max_output_length: 100
training_args:
  output_dir: ./output
  max_steps: 2
  learning_rate: 5e-5
  per_device_train_batch_size: 4
  save_steps: 500
peft_config: {peft_type: LORA, task_type: CAUSAL_LM, r: 2, lora_alpha: 8, lora_dropout: 0.1}
"""


def commands(name: str) -> list[list[str]]:
    """What the page's console blocks say, in order."""
    lines = re.findall(r"^\$ tunewright (.+)$", (DOCS / name).read_text(encoding="utf-8"), re.M)
    return [shlex.split(line) for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the page takes for granted: the model, data, recipe and an adapter of old."""
    write_folder(tmp_path / "chatglm3-6b", "shards")
    for name, numbers in (("train", range(40)), ("dev", range(40, 46))):
        rows = [
            {"conversations": [
                {"role": "user", "content": f"问题{n}:{n * 37 % 101}?"},
                {"role": "assistant", "content": f"回答{n * 53 % 97}。"},
            ]}
            for n in numbers
        ]  # fmt: skip
        path = tmp_path / "data" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "lora.yaml").write_text(RECIPE, encoding="utf-8")
    adapter = tmp_path / "output" / "checkpoint-3000"
    adapter.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
    settings["target_modules"] = ["query_key_value"]
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    layer = "base_model.model.transformer.encoder.layers.1.self_attention.query_key_value"
    pair = {"A": torch.randn(2, CONFIG["hidden_size"]), "B": torch.randn(64, 2)}
    tensors = {f"{layer}.lora_{name}.weight": tensor for name, tensor in pair.items()}
    torch.save(tensors, adapter / "adapter_model.bin")
    return tmp_path


def test_both_pages_name_the_same_commands() -> None:
    ours = commands("from-chatglm3.md")
    assert len(ours) > 6
    assert ours == commands("from-chatglm3.zh-CN.md")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_page_works(place: Path) -> None:
    environment = {**os.environ, "TUNEWRIGHT_HOME": str(place / "home"), "HF_HUB_OFFLINE": "1"}
    for arguments in commands("from-chatglm3.md"):
        done = subprocess.run(
            [sys.executable, "-m", "tunewright", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        # Random weights pass no gate; that is exit code 1 of evaluate.
        allowed = (0, 1) if arguments[0] == "evaluate" else (0,)
        assert done.returncode in allowed, (arguments, done.stderr)
