"""Adapter exports: what plain PEFT loads, and what it cannot hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.export.conftest import MakeTuned
from tests.export.test_merged import IDS, make, tuned_logits
from transformers import AutoModelForCausalLM

from tunewright.core.errors import ModelError
from tunewright.core.store import Store


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("tuner", ["lora", "ia3", "prefix"])
def test_plain_peft_gives_equal_logits(store: Store, make_tuned: MakeTuned, tuner: str) -> None:
    model = make_tuned(tuner)
    made = make(store, model, to="adapter")
    assert made.passed
    settings = json.loads((made.folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = AutoModelForCausalLM.from_pretrained(settings["base_model_name_or_path"])
    peft = PeftModel.from_pretrained(base, made.folder)
    with torch.inference_mode():
        logits = peft(input_ids=IDS).logits
    torch.testing.assert_close(logits, tuned_logits(store, model), atol=1e-4, rtol=0)


def test_the_bundled_base_goes_by_a_folder(store: Store, make_tuned: MakeTuned) -> None:
    model = make_tuned("lora", base=Path("nano"))
    made = make(store, model, to="adapter")
    settings = json.loads((made.folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert Path(settings["base_model_name_or_path"], "model.safetensors").is_file()
    assert "--max-lora-rank 8" in made.plan.runs["vllm"]


@pytest.mark.parametrize("tuner", ["full", "freeze", "bottleneck"])
def test_what_peft_cannot_hold_is_refused(store: Store, make_tuned: MakeTuned, tuner: str) -> None:
    with pytest.raises(ModelError, match="cannot be an adapter"):
        make(store, make_tuned(tuner), to="adapter")


def test_an_adapter_on_a_tuned_model_is_refused(store: Store, make_tuned: MakeTuned) -> None:
    below = make_tuned("ia3")
    with pytest.raises(ModelError, match="its adapter alone"):
        make(store, make_tuned("lora", folded=(below.id,)), to="adapter")


def test_variants_that_vllm_does_not_serve_have_no_launch_line(
    store: Store, make_tuned: MakeTuned
) -> None:
    dora = make_tuned("lora", lora={"rank": 4, "dora": True})
    assert make(store, dora, to="adapter").plan.runs == {}
