"""What layers see of rows: the same, block by block, as in the whole network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.export.conftest import MakeTuned
from tests.export.gguf_families import family_base
from tests.training.conftest import add_dataset, make_rows
from torch import Tensor

from tunewright.config.export import QuantizeConfig
from tunewright.core.dataset_io import write_rows
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.messages import Passage, Source
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.export.calibration import BlockWalk, calibration_ids, packed
from tunewright.export.merging import MergedWeights
from tunewright.export.skeleton import hollow_network
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.references import Resolved, resolve
from tunewright.model.rendering import Renderer
from tunewright.model.tuners.targets import blocks, linear_layers

CPU = torch.device("cpu")
ROWS = [list(range(3, 20)), list(range(30, 36)), list(range(8, 40))]


@pytest.mark.parametrize("family", ["qwen2", "glm4", "gemma2", "gemma3", "phi3"])
def test_blocks_see_what_they_see_in_the_whole_network(
    store: Store, tmp_path: Path, family: str
) -> None:
    """Windows, several rotary embeddings and fused layers included."""
    base = resolve_base(str(family_base(family, tmp_path)), store.settings)
    weights = MergedWeights(Resolved(family, base))
    walk = BlockWalk(
        hollow_network(base.folder, torch.float32), weights.read, packed(ROWS, 24), CPU
    )
    network = load_model(base, CPU, torch.float32)
    expected, moments = _whole(network, ROWS)
    seen: dict[str, Tensor] = {}

    def kept(name: str, weight: Tensor, moment: Tensor) -> Tensor:
        seen[name] = moment
        return weight

    for number, (path, _) in enumerate(blocks(network)):
        torch.testing.assert_close(torch.cat(walk.hidden, 1), expected[number], atol=1e-4, rtol=0)
        walk.visit(number, [n for n in linear_layers(network) if n.startswith(f"{path}.")], kept)
    torch.testing.assert_close(torch.cat(walk.hidden, 1), expected[-1], atol=1e-4, rtol=0)
    assert seen.keys() == linear_layers(network).keys()
    name, found = list(seen.items())[-1]
    torch.testing.assert_close(found, moments[name], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def _whole(
    network: torch.nn.Module, rows: list[list[int]]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Each block's input and the last one's output, and layers' moments, row after row."""
    inputs: dict[str, list[Tensor]] = {name: [] for name in linear_layers(network)}
    places: list[list[Tensor]] = [[] for _ in range(len(blocks(network)) + 1)]

    def note(number: int, found: Any) -> None:
        places[number].append(found[0] if isinstance(found, tuple) else found)

    for number, (_, block) in enumerate(blocks(network)):
        block.register_forward_pre_hook(lambda _, given, n=number: note(n, given))
    last = len(places) - 1
    blocks(network)[-1][1].register_forward_hook(lambda _, given, found: note(last, found))
    for name, layer in linear_layers(network).items():
        layer.register_forward_pre_hook(lambda _, args, n=name: inputs[n].append(args[0][0]))
    for row in rows:
        network(input_ids=torch.tensor([row]), use_cache=False)
    moments = {name: (x := torch.cat(seen)).T @ x / len(x) for name, seen in inputs.items()}
    return [torch.cat(place, 1) for place in places], moments


def test_a_changed_weight_reaches_the_next_block(store: Store, tiny_base: Path) -> None:
    base = resolve_base(str(tiny_base), store.settings)
    read = MergedWeights(Resolved("tiny", base)).read
    plain, changed = (
        BlockWalk(hollow_network(base.folder, torch.float32), read, packed(ROWS, 24), CPU)
        for _ in range(2)
    )
    layer = ["model.layers.0.mlp.down_proj"]
    plain.visit(0, layer, lambda name, weight, moments: weight)
    changed.visit(0, layer, lambda name, weight, moments: weight * 0.5)
    assert (plain.hidden[0] - changed.hidden[0]).abs().max() > 1e-3


def test_rows_are_packed_in_order() -> None:
    assert packed([[1, 2], [3], [4, 5, 6], [7] * 9, [8]], 4) == [
        [[1, 2], [3]], [[4, 5, 6]], [[7] * 9], [[8]]
    ]  # fmt: skip


def ids_of(store: Store, found: Resolved, **options: object) -> list[list[int]]:
    """Calibration rows of a model."""
    config = QuantizeConfig.build(dict(options))
    return calibration_ids(found, config, Renderer(found.base.folder), store)[0]


def test_rows_are_those_of_training(store: Store, make_tuned: MakeTuned, tested: Dataset) -> None:
    found = resolve(store, make_tuned().id)
    renderer = Renderer(found.base.folder)
    expected = [renderer.render(row.conversation).ids for row in make_rows(2)]
    assert ids_of(store, found) == expected
    assert ids_of(store, found, tokens=16) == [row[:16] for row in expected]
    many = add_dataset(store, make_rows(40), [], "many")
    spread = ids_of(store, found, dataset=many.id, rows=4)
    rows = [make_rows(40)[n] for n in (0, 10, 20, 30)]
    assert spread == [renderer.render(row.conversation).ids for row in rows]


def test_plain_text_is_read_as_plain_text(store: Store, tiny_base: Path) -> None:
    found = Resolved("tiny", resolve_base(str(tiny_base), store.settings))
    passage = Passage(text="押金七日内退还。", source=Source(file="a.txt", row=1), group="a")
    plain = add_dataset(store, [], [])
    text = plain.model_copy(update={"id": store.new_id(Dataset), "content": "text"})
    with store.stage(Dataset, text.id) as folder:
        write_rows(folder / "train.jsonl", [passage])
    store.add(text)
    expected = Renderer(tiny_base).render_text(passage.text).ids
    assert ids_of(store, found, dataset=text.id) == [expected]


def test_without_rows_it_says_what_to_do(store: Store, tiny_base: Path) -> None:
    found = Resolved("tiny", resolve_base(str(tiny_base), store.settings))
    with pytest.raises(ConfigError, match="is not here") as error:
        ids_of(store, found)
    assert "--quantize-method nearest" in str(error.value.hint)
    empty = add_dataset(store, [], [], "empty")
    with pytest.raises(ConfigError, match="no training rows"):
        ids_of(store, found, dataset=empty.id)


def test_a_network_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}', encoding="utf-8")
    with pytest.raises(ModelError, match="describes no network"):
        hollow_network(tmp_path, torch.float32)
