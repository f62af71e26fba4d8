"""The gate: what is not equal is found, and where it parts is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.export.conftest import MakeTuned
from tests.export.test_merged import make

from tunewright.cli.main import main
from tunewright.config.export import ExportConfig, ParityConfig
from tunewright.core.errors import ConfigError
from tunewright.core.messages import conversation
from tunewright.core.records import Model
from tunewright.core.store import Store
from tunewright.export.export import export
from tunewright.export.formats import Arithmetic, load_tuned
from tunewright.export.merged import plan
from tunewright.export.parity import Sides, compare
from tunewright.export.prompts import Prompts, choose_prompts, without_tools
from tunewright.export.tolerances import TOLERANCES, Tolerance
from tunewright.model.references import resolve
from tunewright.model.rendering import Renderer

PARITY = ParityConfig(prompts=3, max_new_tokens=5, device="cpu")


def compared(store: Store, model: Model, folder: Path, tolerance: Tolerance) -> dict[str, Any]:
    """A folder of merged weights compared with its model."""
    found = resolve(store, model.id)
    how = Arithmetic(torch.device("cpu"), torch.float32)
    planned = plan(found, ExportConfig(), Renderer(found.base.folder))
    sides = Sides(lambda a: load_tuned(found, a), lambda a: planned.read(folder, a), how)
    prompts = choose_prompts(found, PARITY, store)
    return compare(sides, prompts, PARITY, tolerance, folder, lambda _: None)


def spoil(folder: Path, name: str, amount: float) -> None:
    """Change one tensor of a merged model."""
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = tensors[name] + amount * torch.randn_like(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_first_layer_that_differs_is_named(store: Store, make_tuned: MakeTuned) -> None:
    model = make_tuned()
    folder = make(store, model).folder
    torch.manual_seed(0)
    spoil(folder, "model.layers.1.self_attn.v_proj.weight", 0.5)
    report = compared(store, model, folder, TOLERANCES["float32"])
    assert not report["passed"]
    assert "logits differ" in report["failures"][0]
    where = report["first_difference"]
    assert where["layer"] == "block 1"
    assert where["prompt"] == 0
    assert where["question"].startswith("50:")
    assert where["relative_error"] > 1e-3


def test_a_spoilt_embedding_is_named(store: Store, make_tuned: MakeTuned) -> None:
    model = make_tuned()
    folder = make(store, model).folder
    spoil(folder, "model.embed_tokens.weight", 0.1)
    report = compared(store, model, folder, TOLERANCES["float32"])
    assert report["first_difference"]["layer"] == "embedding"


def test_other_prompt_ids_fail_even_where_numbers_would_pass(
    store: Store, make_tuned: MakeTuned
) -> None:
    model = make_tuned()
    folder = make(store, model).folder
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("assistant", "helper"), encoding="utf-8")
    lenient = replace(TOLERANCES["float32"], agreement=0.01, endings=0.01)
    report = compared(store, model, folder, lenient)
    assert report["failures"][0] == "3 prompts give other token ids"


def test_a_number_that_is_none_fails() -> None:
    nan = float("nan")
    found = TOLERANCES["float32"].failures(logits=nan, divergence=nan, agreement=nan, endings=nan)
    assert len(found) == 4


def test_scores_are_compared_with_their_interval(store: Store, make_tuned: MakeTuned) -> None:
    made = make(store, make_tuned())
    assert made.parity is not None
    assert made.parity["scores"]["exact"]["delta"] == 0
    assert made.parity["scores"]["char_f1"]["interval"] == [0, 0]


def test_without_a_dataset_general_questions_are_asked(store: Store, tiny_base: Path) -> None:
    config = ExportConfig.build({"model": str(tiny_base), "parity": {"max_new_tokens": 3}})
    made = export(config, store)
    assert made.passed
    assert made.parity is not None
    assert made.parity["dataset"] is None
    assert made.parity["scores"] == {}


def test_without_the_check_nothing_is_claimed(store: Store, make_tuned: MakeTuned) -> None:
    made = make(store, make_tuned(), parity={"check": False})
    assert made.parity is None
    assert not (made.folder / "parity.json").exists()
    assert "Not compared" in (made.folder / "README.md").read_text(encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON object on stdout, and stderr."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(out) if out else {}, err


def test_the_command_says_what_it_made(
    store: Store, make_tuned: MakeTuned, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_tuned()
    code, found, err = run(capsys, "export", "--home", str(store.home), "--parity-prompts", "2")
    assert code == 0
    assert Path(found["artifact"]).name.startswith("ft-tiny-local-lora-")
    assert found["format"] == "merged"
    assert found["bytes"] > 100_000
    assert found["parity"]["passed"]
    assert "parity on test rows of shop" in err
    assert f"vllm serve . --served-model-name {model.name}" in err


def test_a_failed_gate_ends_with_1_and_another_name(
    store: Store, make_tuned: MakeTuned, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_tuned()
    code, found, err = run(
        capsys, "export", "--home", str(store.home), "--output", str(tmp_path / "expert"),
        "--dtype", "bfloat16", "--parity-tolerance-logits", "1e-7", "--parity-prompts", "2",
    )  # fmt: skip
    assert code == 1
    assert found["artifact"] == str(tmp_path / "expert.failed")
    assert not (tmp_path / "expert").exists()
    assert "PARITY FAILED" in err
    assert "first at prompt 0" in err
    assert "**FAILED" in (tmp_path / "expert.failed" / "README.md").read_text(encoding="utf-8")


def test_prompts_that_cannot_be_asked_are_left_out() -> None:
    offered = {"type": "function", "function": {"name": "f", "parameters": {}}}
    plain = conversation(("user", "a"), ("assistant", "b"))
    prompts = Prompts((plain, plain.model_copy(update={"tools": (offered,)})), ("1", "2"), "rows")
    kept = without_tools(prompts)
    assert (kept.conversations, kept.groups) == ((plain,), ("1",))
    with pytest.raises(ConfigError, match="no prompt of rows does without tools"):
        without_tools(replace(prompts, conversations=prompts.conversations[1:], groups=("2",)))
