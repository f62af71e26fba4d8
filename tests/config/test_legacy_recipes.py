"""Recipes of ChatGLM3's script: what each option becomes, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.config.base import merge
from tunewright.config.legacy_recipes import Translation, is_legacy, own_options, translate
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError

COMMON: dict[str, Any] = {
    "data_config": {"train_file": "train.json", "val_file": "dev.json", "num_proc": 16},
    "max_input_length": 256,
    "max_output_length": 512,
    "training_args": {
        "output_dir": "./output",
        "max_steps": 3000,
        "learning_rate": 5e-5,
        "per_device_train_batch_size": 4,
        "save_strategy": "steps",
        "save_steps": 500,
        "eval_steps": 250,
        "generation_config": {"max_new_tokens": 512},
        "use_cpu": False,
    },
}
LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 8,
    "lora_alpha": 32,
    "lora_dropout": 0.1,
}


def read(**more: Any) -> tuple[Translation, TrainConfig]:
    found = translate(merge(COMMON, more))
    return found, TrainConfig.build({"dataset": "latest", **found.values})


def test_lora() -> None:
    found, config = read(peft_config=LORA)
    assert (config.tuner, config.lora.rank, config.lora.alpha) == ("lora", 8, 32)
    assert (config.lora.dropout, config.lora.targets) == (0.1, ("q_proj", "k_proj", "v_proj"))
    assert (config.max_steps, config.save_steps, config.eval_steps) == (3000, 500, 250)
    assert (config.batch_rows, config.optimizer.learning_rate) == (4, 5e-5)
    assert (config.device, config.watch.patience) == ("auto", 0)
    assert found.files == {"train": "train.json", "val": "dev.json"}
    assert found.max_tokens == 769
    assert "r 8 → lora.rank 8" in found.notes
    assert sum("output_dir" in note for note in found.notes) == 1


def test_p_tuning_and_full_tuning() -> None:
    _, config = read(peft_config={"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 128})
    assert (config.tuner, config.prefix.tokens) == ("prefix", 128)
    _, config = read(training_args={"deepspeed": "configs/ds_zero_3.json", "use_cpu": True})
    assert (config.tuner, config.device) == ("full", "cpu")
    with pytest.raises(ConfigError, match="P_TUNING is not known"):
        read(peft_config={"peft_type": "P_TUNING"})


def test_values_that_change_on_the_way() -> None:
    arguments = {
        "max_steps": -1,
        "num_train_epochs": 3,
        "gradient_accumulation_steps": 8,
        "bf16": True,
        "gradient_checkpointing": True,
    }
    _, config = read(training_args=arguments, peft_config={**LORA, "target_modules": ["dense"]})
    assert (config.max_steps, config.epochs, config.batch_rows) == (None, 3, 32)
    assert (config.precision, config.memory.checkpointing) == ("bfloat16", "full")
    assert config.lora.targets == ("o_proj",)
    _, config = read(training_args={"warmup_steps": 300})
    assert config.optimizer.warmup == pytest.approx(0.1)


def test_every_option_is_told_of() -> None:
    found, _ = read(peft_config={**LORA, "bias": "all"}, training_args={"neftune_noise_alpha": 5})
    told = "\n".join(found.notes)
    options = {**COMMON["training_args"], **LORA, "neftune_noise_alpha": 5, "bias": "all"}
    quiet = {"use_cpu", "generation_config"}  # false; and told by its inner name
    assert not [name for name in options if name not in told and name not in quiet]
    assert "left out: neftune_noise_alpha, bias (it has no counterpart here)" in told
    with pytest.raises(ConfigError, match="max_input_length"):
        read(max_input_length="long")


def test_own_recipes_and_flags_stay_as_they_are() -> None:
    assert not is_legacy({"max_steps": 3, "lora": {"rank": 8}})
    assert is_legacy(COMMON)
    assert own_options({**COMMON, "base": "nano", "max_steps": 3}) == {
        "base": "nano",
        "max_steps": 3,
    }
