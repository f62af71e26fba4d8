"""PEFT's formats in both directions: what it reads of ours, and we of its own, answers alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.tuners.acts import IDS, gradients, logits, stir
from tests.model.tuners.conftest import Load, Recipe

from tunewright.core.errors import ModelError
from tunewright.model.adapters import load_adapter
from tunewright.model.catalog import Base
from tunewright.model.tuners.table import TUNERS

# peft meets newer transformers
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

OURS: dict[str, dict[str, Any]] = {
    "all layers": {},
    "some layers": {"lora": {"rank": 4, "targets": ("q_proj", "mlp.down_proj")}},
    "patterns": {"lora": {"rank": 4, "targets": ("mlp",), "exclude": ("*.layers.0.*",)}},
    "rslora": {"lora": {"rank": 4, "scaling": "rslora"}},
    "dora": {"lora": {"rank": 4, "dora": True, "scaling": "rslora"}},
    "ia3": {"tuner": "ia3"},
    "prefix": {"tuner": "prefix", "prefix": {"tokens": 5}},
    "projected prefix": {"tuner": "prefix", "prefix": {"tokens": 5, "projection": 12}},
}
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "rslora": ("LoraConfig", {"r": 4, "target_modules": "all-linear", "use_rslora": True}),
    "dora": ("LoraConfig", {"r": 4, "target_modules": ["k_proj", "up_proj"], "use_dora": True}),
    "ia3": (
        "IA3Config",
        {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    ),
    "prefix": ("PrefixTuningConfig", {"num_virtual_tokens": 6}),
    "projected prefix": (
        "PrefixTuningConfig",
        {"num_virtual_tokens": 6, "prefix_projection": True, "encoder_hidden_size": 12},
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_peft_reads_what_we_write(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, name: str
) -> None:
    from peft import PeftModel

    model = load()
    config = recipe(**OURS[name])
    tuner = TUNERS[config.tuner]
    stir(tuner.attach(model, config), 0.05)
    tuner.save(model, config, base, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(load(), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(load()), atol=1e-3)


def _their_model(load: Load, name: str) -> Any:
    import peft

    kind, values = THEIRS[name]
    torch.manual_seed(1)
    theirs = peft.get_peft_model(load(), getattr(peft, kind)(task_type="CAUSAL_LM", **values))
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return theirs.eval()


@pytest.mark.parametrize("name", THEIRS)
def test_we_read_what_peft_writes(load: Load, tmp_path: Path, name: str) -> None:
    theirs = _their_model(load, name)
    theirs.save_pretrained(tmp_path / "adapter")
    model = load()
    load_adapter(model, tmp_path / "adapter")
    torch.testing.assert_close(logits(model), logits(theirs), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(load()), atol=1e-3)


@pytest.mark.parametrize("name", ["dora", "ia3", "prefix"])
def test_gradients_are_those_of_peft(
    load: Load, recipe: Recipe, base: Base, tmp_path: Path, name: str
) -> None:
    from peft import PeftModel

    model = load()
    config = recipe(**OURS[name])
    tuner = TUNERS[config.tuner]
    trained = tuner.attach(model, config)
    stir(trained, 0.05)
    tuner.save(model, config, base, tmp_path)
    theirs = PeftModel.from_pretrained(load(), tmp_path)
    for key, parameter in theirs.named_parameters():
        parameter.requires_grad_("default" in key)
    ours = gradients(model, trained)
    theirs(input_ids=IDS).logits.square().mean().backward()
    found = {
        key.replace(".default", "").removesuffix(".weight"): parameter.grad
        for key, parameter in theirs.named_parameters()
        if parameter.grad is not None
    }
    if name == "prefix":
        found = {"prompt_embeddings": found.pop("prompt_encoder.embedding")}
    assert len(found) == len(ours)
    for key, gradient in ours.items():
        torch.testing.assert_close(
            gradient, found[key.removesuffix(".weight")], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3", "fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"peft_type": "IA3", "modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"peft_type": "PREFIX_TUNING"}, "prompt_embeddings"),
        ({"peft_type": "LOHA"}, "does not describe"),
        ({"peft_type": "IA3", "auto_map": {"x": "y"}}, "auto_map"),
    ],
)
def test_what_we_do_not_compute_is_refused(
    load: Load,
    recipe: Recipe,
    base: Base,
    tmp_path: Path,
    values: dict[str, Any],
    message: str,
) -> None:
    model = load()
    config = recipe(tuner="ia3")
    TUNERS["ia3"].attach(model, config)
    TUNERS["ia3"].save(model, config, base, tmp_path)
    settings = tmp_path / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **values}))
    with pytest.raises(ModelError, match=message):
        load_adapter(load(), tmp_path)
