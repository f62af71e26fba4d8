"""Memory that really runs out: the kernel refuses more address space than a process may have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CHATML, write_json, write_model, write_tokenizer
from tests.training.conftest import add_dataset, make_row

from tunewright.core.messages import Row
from tunewright.core.settings import Settings
from tunewright.core.store import Store

if not Path("/proc/self/statm").exists():
    pytest.skip("address space is only accounted for on Linux", allow_module_level=True)

# Arguments: home, base, dataset, bytes above what the loaded job holds (0: no limit, but told how
# much a whole run took). Prints the events as JSON.
WORKER = """
import json, resource, sys, time
from pathlib import Path
import torch
from tunewright.config.training import TrainConfig
from tunewright.core.errors import TrainingError
from tunewright.core.events import ignore
from tunewright.core.records import Dataset
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.model.references import resolve
from tunewright.training.assemble import Watch, build_job
from tunewright.training.control import Requests
from tunewright.training.disk import DiskPatience
from tunewright.training.rollout_loop import open_loop, with_start
from tunewright.training.methods.policy import Rollout
from tunewright.training.parts import gather
from tunewright.training.stopping import StopRequest
from tunewright.training.supervision import Supervision

torch.set_num_threads(1)
home, base, room = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
options = json.loads(sys.argv[5])
store = Store(home, Settings(home=home, offline=True))
dataset = store.get(Dataset, sys.argv[3])
config = TrainConfig.build({"dataset": dataset.id, "base": base, "precision": "float32",
    "device": "cpu", "max_steps": 3, "batch_tokens": 1024, "watch": {"preview": 0},
    "lora": {"rank": 4}, "optimizer": {"learning_rate": 1e-3}, **options})
folder = store.folder(Dataset, dataset.id)
job, plan = build_job(config, dataset, resolve(store, base), folder,
                      Watch(time.perf_counter(), ignore))
job.model.train()
# Everything that is only made once is made before the limit.
if job.drawing is None:
    gather(job.method, job.model, job.train[:1], 10**9, job.device)
else:
    loop = open_loop(with_start(job), home / "warm", ignore, None, store)
    loop._backward([Rollout(one, 1.0) for one in job.method.workload(job.train[:1])], 1, 1)
for parameter in job.parameters.values():
    parameter.grad = None

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

begun = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
if room:
    resource.setrlimit(resource.RLIMIT_AS, (begun + room, begun + room))
events, out = [], {"error": None, "hint": None}
run_folder = home / "run"
run_folder.mkdir()
disk = DiskPatience(run_folder, 0, ignore, lambda: False)

def listen(event):
    events.append({**event.data, "kind": event.kind})

with StopRequest() as stop:
    loop = open_loop(with_start(job), run_folder, listen, None, store)
    try:
        loop.run(Supervision(stop, Requests(run_folder), disk))
    except TrainingError as error:
        out = {"error": error.message, "hint": error.hint}
print(json.dumps({**out, "events": events, "grown": held("VmPeak") - begun,
                  "micro": loop.state.micro_tokens}))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few weights, but 160 kB of activations per token."""
    from transformers import Qwen3Config

    folder = tmp_path_factory.mktemp("bases") / "wide"
    folder.mkdir()
    vocabulary = write_tokenizer(folder)
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    sizes = {"hidden_size": 64, "intermediate_size": 2048, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    tokens = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    config = Qwen3Config(
        vocab_size=vocabulary, max_position_embeddings=2048, tie_word_embeddings=True,
        **sizes, **heads, **tokens,
    )  # fmt: skip
    write_model(folder, config)
    return folder


class Trainer:
    """Runs in processes of their own."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self.base = base

    def __call__(self, room: int, rows: list[Row], **options: Any) -> dict[str, Any]:
        """A run that may take so many bytes more than it held before; 0 is as many as it likes."""
        home = self.folder / f"home-{len(list(self.folder.iterdir()))}"
        store = Store(home, Settings(home=home, offline=True))
        dataset = add_dataset(store, rows, rows[:2])
        store.close()
        arguments = (str(home), str(self.base), dataset.id, str(room), json.dumps(options))
        done = subprocess.run(
            [sys.executable, "-c", WORKER, *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Trainer:
    return Trainer(tmp_path_factory.mktemp("homes"), base)


ROWS = [make_row(number, 60) for number in range(12)]


@pytest.fixture(scope="module")
def whole(trained: Trainer) -> dict[str, Any]:
    """A run that gets all the memory it wants."""
    found = trained(0, ROWS)
    assert found["micro"] is None
    return found


def losses(found: dict[str, Any]) -> list[float]:
    return [event["loss"] for event in found["events"] if event["kind"] == "step"]


def test_a_step_that_does_not_fit_is_done_again_in_parts(
    trained: Trainer, whole: dict[str, Any]
) -> None:
    limited = trained(int(0.4 * whole["grown"]), ROWS)
    assert limited["error"] is None
    divided = [event for event in limited["events"] if event["kind"] == "divided"]
    assert limited["micro"] == divided[-1]["tokens"] < 1024
    assert "do not fit into the memory" in divided[0]["text"]["en"]
    assert losses(limited) == pytest.approx(losses(whole), abs=1e-5)
    tokens = [
        [event["tokens"] for event in found["events"] if event["kind"] == "step"]
        for found in (whole, limited)
    ]
    assert tokens[0] == tokens[1]


@pytest.mark.slow
def test_a_rehearsal_finds_it_before_the_first_step(
    trained: Trainer, whole: dict[str, Any]
) -> None:
    found = trained(int(0.4 * whole["grown"]), ROWS, memory={"rehearse": "always"})
    kinds = [event["kind"] for event in found["events"]]
    assert kinds.index("divided") < kinds.index("rehearsed") < kinds.index("step")
    assert losses(found) == pytest.approx(losses(whole), abs=1e-5)


@pytest.mark.slow
def test_a_row_that_does_not_fit_by_itself_ends_the_run_and_is_named(trained: Trainer) -> None:
    rows = [*(make_row(number, 3) for number in range(6)), make_row(6, 250)]
    found = trained(40_000_000, rows)
    assert "is out of memory: rows.csv row 8 (" in found["error"]
    assert "even alone" in found["error"]
    assert "memory.checkpointing=full" in found["hint"]
    assert "--max-tokens" in found["hint"]


@pytest.mark.slow
def test_answers_that_do_not_fit_at_once_are_learnt_in_parts(trained: Trainer) -> None:
    grader = {"type": "regex", "pattern": "[aeiou]"}
    rl = {"grader": grader, "prompts": 4, "group": 4, "max_new_tokens": 100, "beta": 0.0}
    options = {"method": "grpo", "rl": rl, "batch_tokens": 4096}
    rows = [make_row(number, 3) for number in range(12)]
    whole = trained(0, rows, **options)
    limited = trained(int(0.4 * whole["grown"]), rows, **options)
    assert limited["error"] is None
    assert any(event["kind"] == "divided" for event in limited["events"])
    assert losses(limited) == pytest.approx(losses(whole), abs=1e-5)
    assert any(losses(whole))
