"""Configs: bounds, nearest names, recipes and key=value pairs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.config.base import merge, option_names, parse_settings, read_recipe
from tunewright.config.data import PrepareConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.generation import ParaphrasesConfig, QuestionsConfig, TextsConfig
from tunewright.config.serving import GenerationConfig, ServeConfig
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError

CONFIGS = (
    *(PrepareConfig, QuestionsConfig, TextsConfig, ParaphrasesConfig),
    *(TrainConfig, EvaluateConfig, GenerationConfig, ServeConfig),
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "d", "epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"dataset": "d", "lora": {"rnk": 8}}, "did you mean 'lora.rank'"),
        ({"dataset": "d", "rank": 8}, "did you mean 'lora.rank'"),
        ({"dataset": "d", "lora": {"rank": 0}}, r"'lora.rank'.*greater than or equal to 1"),
        ({}, "'dataset'.*required"),
    ],
)
def test_bad_options_are_explained(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig.build(values)


def test_pairs_become_nested_values() -> None:
    pairs = ["lora.rank=8", "optimizer.learning_rate=1e-3", "suffix=a b", "max_steps=null"]
    assert parse_settings(pairs) == {
        "lora": {"rank": 8},
        "optimizer": {"learning_rate": 0.001},
        "suffix": "a b",
        "max_steps": None,
    }
    with pytest.raises(ConfigError, match="key=value"):
        parse_settings(["epochs"])


def test_later_layers_win() -> None:
    low = {"lora": {"rank": 4, "alpha": 8}, "epochs": 1}
    assert merge(low, {"lora": {"rank": 8}}) == {"lora": {"rank": 8, "alpha": 8}, "epochs": 1}


def test_recipes_are_read_and_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("epochs: 2\noptimizer:\n  learning_rate: 5e-3\n", encoding="utf-8")
    assert read_recipe(recipe) == {"epochs": 2, "optimizer": {"learning_rate": 0.005}}
    recipe.write_text("!!python/object/apply:os.system ['true']", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"r\.yaml"):
        read_recipe(recipe)
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        read_recipe(tmp_path / "missing.yaml")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_knob_has_help_and_the_groups_stay_small(config: type) -> None:
    groups = {n for n, f in config.model_fields.items() if hasattr(f.annotation, "model_fields")}
    assert len(config.model_fields) - len(groups) <= 16
    for name, field in config.model_fields.items():
        group = name in groups
        assert group or field.description, f"{config.__name__}.{name} has no help text"
    assert option_names(config)


def test_light_packages_load_no_torch() -> None:
    program = (
        "import sys, tunewright.core.store, tunewright.config.training, tunewright.cli.stages, "
        "tunewright.jobs, tunewright.demo, tunewright.cli.records; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
