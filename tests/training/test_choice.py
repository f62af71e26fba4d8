"""How a recipe is made to fit: the cheap ways first, and nothing that somebody decided changed."""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.training import TrainConfig
from tunewright.core.errors import InputError
from tunewright.core.records import Run
from tunewright.core.store import Store
from tunewright.model.known_shapes import known_shapes
from tunewright.training.batches import Example
from tunewright.training.choice import Choice, Need, choose
from tunewright.training.machine import Machine
from tunewright.training.outlook import fitted, largest_pass, refuse_misfit, tight
from tunewright.training.recipes import Facts
from tunewright.training.train import train

Recipe = Callable[..., TrainConfig]
GPU = Machine("cuda", "GPU", 0, "bfloat16", 10**12, 1e14)
FACTS = Facts(rows=1000, tokens=200_000, supervised=100_000, longest=700, usual=200)
NEED = Need(known_shapes()["Qwen3-4B"], FACTS)


def recipe(**options: Any) -> TrainConfig:
    return TrainConfig.build({"dataset": "x", "batch_tokens": 8192, **options})


def chosen(gigabytes: float, machine: Machine = GPU, need: Need = NEED, **options: Any) -> Choice:
    there = replace(machine, memory=round(gigabytes * 1e9))
    return choose(recipe(**options), need, there)


def way(choice: Choice) -> tuple[str, str, int | None]:
    memory = choice.config.memory
    return choice.config.quantize, memory.checkpointing, memory.micro_tokens


def test_cheap_ways_come_first() -> None:
    """From room for everything down to none: parts, then recomputing, then 4 bits."""
    ways: list[tuple[str, str, int | None]] = []
    for gigabytes in range(100, 3, -1):
        choice = chosen(gigabytes)
        assert choice.config.batch_tokens == 8192
        if not ways or way(choice) != ways[-1]:
            ways.append(way(choice))
    assert ways[0] == ("none", "none", 8192)
    assert ways[1] == ("none", "none", 4096)
    kinds = list(dict.fromkeys((quantize, kind) for quantize, kind, _ in ways))
    order = [("none", "none"), ("none", "selective"), ("none", "full")]
    assert kinds[:3] == order
    assert {quantize for quantize, _ in kinds[3:]} == {"nf4"}
    for quantize, kind in order:
        sizes = [tokens for *named, tokens in ways if named == [quantize, kind]]
        assert sizes == sorted(sizes, reverse=True)  # type: ignore[type-var]


def test_what_is_given_stays() -> None:
    tight_gpu = {"memory": {"micro_tokens": 2048, "checkpointing": "none"}, "quantize": "none"}
    choice = chosen(6, **tight_gpu)
    assert way(choice) == ("none", "none", 2048)
    assert not choice.fits
    assert not {"memory.micro_tokens", "memory.checkpointing", "quantize"} & choice.chosen.keys()
    assert way(chosen(90, memory={"checkpointing": "full"}))[1] == "full"


def test_a_processor_is_never_given_four_bits_unasked() -> None:
    processor = replace(GPU, device="cpu", name="8 cores")
    choice = chosen(10, processor)
    assert not choice.fits
    assert choice.config.quantize == "none"
    assert any("quantize=int8" in text.en for text in choice.instead)
    assert chosen(9).config.quantize == "nf4"
    assert chosen(9, replace(GPU, nf4=False)).config.quantize == "int8"


def test_a_method_that_looks_at_a_whole_step_is_not_divided() -> None:
    need = replace(NEED, divides=False)
    for gigabytes in (20, 30, 40, 80):
        assert way(chosen(gigabytes, need=need))[2] == 8192
    none = chosen(5, need=need, method="kto")
    assert any("batch_tokens=4096: kto looks at" in text.en for text in none.instead)


def test_no_part_is_smaller_than_the_longest_row() -> None:
    sizes = {way(chosen(gigabytes))[2] for gigabytes in range(4, 100)}
    assert min(size for size in sizes if size) == 1024


def test_every_choice_has_its_reason_in_both_languages() -> None:
    for gigabytes in (4, 9, 15, 30, 90):
        choice = chosen(gigabytes)
        assert set(choice.chosen) == {
            "precision",
            "memory.micro_tokens",
            "memory.checkpointing",
            "quantize",
        }
        for text in choice.reasons:
            assert text.en != text.zh
            assert "{" not in text.en + text.zh


def units(*lengths: int) -> list[Example]:
    return [
        Example(row, array("q", [5] * length), array("b", [0] + [1] * (length - 1)))
        for row, length in enumerate(lengths)
    ]


def test_the_largest_pass_is_that_of_the_runs_own_batches() -> None:
    steps = [units(10, 20, 30), units(40, 5), units(12)]
    assert largest_pass(steps, 100).tokens == 60
    assert largest_pass(steps, 30).tokens == 40
    assert largest_pass(steps, 100).length == round((100 + 400 + 900) / 60)
    assert largest_pass(steps, 100).learnt == 57


def test_misfits_are_refused_unless_forced_and_say_what_would_fit(tiny_base: Path) -> None:
    machine = replace(GPU, memory=10**8)
    choices = [
        fitted(recipe(memory={"force": force}), tiny_base, units(90, 80), machine, divides=True)
        for force in (False, True)
    ]
    assert all(
        choice is not None and not choice.fits and tight(choice, machine) for choice in choices
    )
    with pytest.raises(InputError, match="does not fit the memory of GPU") as caught:
        refuse_misfit(choices[0], machine)  # type: ignore[arg-type]
    assert "free memory" in caught.value.hint
    assert "memory.force=true" in caught.value.hint
    refuse_misfit(choices[1], machine)  # type: ignore[arg-type]


def test_a_run_that_cannot_fit_is_refused_before_anything_is_loaded(
    store: Store, recipe: Recipe, tiny_base: Path, tmp_path: Path
) -> None:
    """The config speaks of a model that no machine holds; the weights are not even looked at."""
    huge = tmp_path / "huge"
    shutil.copytree(tiny_base, huge)
    config = json.loads((huge / "config.json").read_text())
    sizes = {"hidden_size": 65536, "intermediate_size": 262144, "num_hidden_layers": 400}
    del config["layer_types"]
    (huge / "config.json").write_text(json.dumps({**config, **sizes}))
    with pytest.raises(InputError, match="does not fit the memory of"):
        train(recipe(base=str(huge)), store)
    assert store.list(Run) == []


def test_a_small_run_is_left_as_it_is(store: Store, recipe: Recipe) -> None:
    model = train(recipe(), store)
    config = store.get(Run, model.run).config
    assert config["memory"]["checkpointing"] == "none"
    assert config["memory"]["micro_tokens"] == config["batch_tokens"] == 192
    assert config["quantize"] == "none"
