"""Every bundled recipe trains as it stands, by its name, and says nothing that is not so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.training.rated import keep, passages, preferences

from tunewright.cli.main import cli
from tunewright.config.base import bundled_recipes, read_recipe
from tunewright.config.training import TrainConfig
from tunewright.core.errors import ConfigError
from tunewright.core.messages import Row
from tunewright.core.records import Model, Run
from tunewright.core.store import Store

NAMES = ("dpo", "full", "lesson", "pretrain", "qlora")
ROOT = Path(__file__).resolve().parents[2]


def asked(row: Row) -> Row:
    return row.model_copy(update={"rejected": ()})


def test_these_are_bundled_and_shown_among_the_examples() -> None:
    assert tuple(bundled_recipes()) == NAMES
    assert {path.stem for path in (ROOT / "examples" / "recipes").iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_by_its_name(name: str, store: Store, tiny_base: Path) -> None:
    kind = {"dpo": "preference", "pretrain": "text"}.get(name, "conversation")
    if kind == "text":
        dataset = keep(store, "text", passages(12), passages(4, seed=1))
    elif kind == "preference":
        dataset = keep(store, "preference", preferences(12), preferences(4, seed=1))
    else:
        talks = [asked(row) for row in preferences(16)]
        dataset = keep(store, "conversation", talks[:12], talks[12:])
    command = ["train", "--recipe", name, "--dataset", dataset.id, "--base", str(tiny_base)]
    options = ["--max-steps", "3", "--preview", "0", "--home", str(store.home), "--device", "cpu"]
    done = CliRunner().invoke(cli, [*command, *options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["steps"] == 3
    model = store.get(Model, result["model"])
    recipe = TrainConfig.build({"dataset": "x", **read_recipe(Path(name))})
    assert model.method == recipe.method
    config = store.get(Run, result["run"]).config
    assert config["tuner"] == recipe.tuner
    assert config["optimizer"] == recipe.optimizer.json_dict()


def test_the_lesson_is_the_lesson() -> None:
    recipe = read_recipe(Path("lesson"))
    assert (recipe["max_steps"], recipe["save_steps"]) == (3000, 500)
    assert recipe["lora"] == {"rank": 8, "alpha": 32, "dropout": 0.1}


@pytest.mark.parametrize("name", NAMES)
def test_what_its_comments_suggest_can_be_set(name: str) -> None:
    text = bundled_recipes()[name].read_text(encoding="utf-8")
    for line in re.findall(r"^#\s+(tunewright \w+.*?)(?:\s+#.*)?$", text, re.MULTILINE):
        words = line.split()
        flags = [word for word in words if word.startswith("--")]
        shown = CliRunner().invoke(cli, [words[1], "--help"]).output
        assert all(flag in shown for flag in flags), line


def test_a_file_wins_over_a_bundled_name_and_a_missing_one_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lesson").write_text("max_steps: 7", encoding="utf-8")
    assert read_recipe(Path("lesson")) == {"max_steps": 7}
    for missing in ("lesson.yaml", "lessons", "../lesson"):
        with pytest.raises(ConfigError, match="no such file") as refusal:
            read_recipe(Path(missing))
        assert "dpo, full, lesson, pretrain, qlora" in refusal.value.hint
