"""Forward passes over cached blocks give what the model gives for whole texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import write_json, write_model, write_tokenizer
from torch import Tensor

from tunewright.config.training import TrainConfig
from tunewright.core.settings import Settings
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.kv_blocks import BLOCK, Blocks, Extent
from tunewright.model.kv_cache import KvCache, Part, bytes_per_token
from tunewright.model.kv_pass import Pass, plain_forward
from tunewright.model.kv_windows import Windows
from tunewright.model.loading import load_model
from tunewright.model.tunable import Start, make_tunable

CPU = torch.device("cpu")


def tokens(length: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(3, 300) for _ in range(length)]


def base_of(folder: Path) -> Base:
    return resolve_base(str(folder), Settings(home=folder / "home", offline=True))


class Reader:
    """Rows in a cache, read in any portions."""

    def __init__(self, model: Any, blocks: int = 64, forward: Any = None) -> None:
        self.forward = forward or plain_forward(model)
        self.cache = KvCache(model.device, blocks)
        self.windows = Windows(self.cache)
        self.blocks = Blocks(blocks)
        self.rows: dict[str, tuple[list[int], Extent, int]] = {}

    def open(self, name: str, ids: list[int]) -> int:
        extent = self.blocks.open(b"", ids)
        self.rows[name] = (ids, extent, len(extent.blocks) * BLOCK)
        return self.rows[name][2]

    def read(self, counts: dict[str, int]) -> dict[str, Tensor]:
        """Read so many tokens of each row in one pass; all of their logits."""
        parts = []
        for name, count in counts.items():
            ids, extent, start = self.rows[name]
            assert self.blocks.grow(extent, start + count)
            self.blocks.note(extent, ids, start + count)
            self.rows[name] = (ids, extent, start + count)
            own = ids[start : start + count]
            parts.append(Part(own, start, extent, range(len(own))))
        with torch.inference_mode():
            logits = self.forward(Pass(self.cache, self.windows, parts))
        return dict(zip(counts, torch.split(logits, list(counts.values())), strict=True))


def whole(model: Any, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return logits


def check_portions(model: Any) -> None:
    """Three rows of different lengths, whose reading and growing overlap in every pass."""
    texts = {"a": tokens(70, 1), "b": tokens(9, 2), "c": tokens(41, 3)}
    expected = {name: whole(model, ids) for name, ids in texts.items()}
    reader = Reader(model)
    for name, ids in texts.items():
        reader.open(name, ids)
    seen: dict[str, list[Tensor]] = {name: [] for name in texts}
    for counts in (
        {"a": 20, "b": 5},
        {"b": 1, "a": 17, "c": 30},
        {"c": 1, "a": 1, "b": 1},
        {"a": 32, "b": 2, "c": 1},
        {"c": 9},
    ):
        for name, logits in reader.read(counts).items():
            seen[name].append(logits)
    for name, logits in expected.items():
        torch.testing.assert_close(torch.cat(seen[name]), logits, rtol=1e-5, atol=1e-5)


def test_portions_give_what_the_whole_gives(tiny_base: Path) -> None:
    check_portions(load_model(base_of(tiny_base), CPU, torch.float32))


def test_a_sliding_window_hides_what_is_far(tmp_path: Path) -> None:
    from transformers import Qwen3Config

    vocabulary = write_tokenizer(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=1, head_dim=16, use_sliding_window=True,
        sliding_window=13, max_window_layers=1, eos_token_id=2, pad_token_id=0,
        max_position_embeddings=256,
    )  # fmt: skip
    write_model(tmp_path, config)
    model = load_model(base_of(tmp_path), CPU, torch.float32)
    assert set(model.config.layer_types) == {"full_attention", "sliding_attention"}
    check_portions(model)


def test_a_trained_prefix_is_seen_by_every_row(tiny_base: Path) -> None:
    base = base_of(tiny_base)
    config = TrainConfig.build({"dataset": "none", "tuner": "prefix"})
    model = make_tunable(Start(base), config, CPU, torch.float32)
    with torch.no_grad():
        for number, parameter in enumerate(model.trained.parameters.values()):
            generator = torch.Generator().manual_seed(number)
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    model.model.eval()
    bare = whole(load_model(base, CPU, torch.float32), tokens(9, 2))
    assert not torch.allclose(bare, whole(model.model, tokens(9, 2)), atol=1e-3)
    check_portions(model.model)


def test_rows_of_one_pass_share_what_they_have_in_common(tiny_base: Path) -> None:
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    common = tokens(3 * BLOCK + 2, 7)
    first, second = common + tokens(9, 8), common + tokens(5, 9)
    reader = Reader(model)
    assert reader.open("first", first) == 0
    ids, extent, _ = reader.rows["first"]
    reader.blocks.grow(extent, len(ids))
    reader.blocks.note(extent, ids, len(ids))
    assert reader.open("second", second) == 3 * BLOCK
    found = reader.read({"second": len(second) - 3 * BLOCK, "first": len(first)})
    expected = whole(model, second)[3 * BLOCK :]
    torch.testing.assert_close(found["second"], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["first"], whole(model, first), rtol=1e-5, atol=1e-5)


def test_many_rows_of_very_different_lengths_grow_together(tiny_base: Path) -> None:
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    reader = Reader(model, blocks=200)
    texts = {str(length): tokens(length, length) for length in (2, 3, 17, 40, 80, 200, 255)}
    for name, ids in texts.items():
        reader.open(name, ids)
    reader.read({name: len(ids) - 1 for name, ids in texts.items()})
    for name, logits in reader.read(dict.fromkeys(texts, 1)).items():
        expected = whole(model, texts[name])[-1:]
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_used_blocks_do_not_show_through(tiny_base: Path) -> None:
    """A block that another row left is read under a mask, whatever it holds."""
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    reader = Reader(model, blocks=4)
    reader.open("old", tokens(4 * BLOCK, 1))
    reader.read({"old": 4 * BLOCK})
    with torch.inference_mode():
        for keys, values in reader.cache._layers.values():
            keys.mul_(1e4)
            values.mul_(1e4)
    reader.blocks.close(reader.rows.pop("old")[1])
    reader.blocks.forget()
    ids = tokens(BLOCK + 3, 2)
    reader.open("new", ids)
    reader.read({"new": BLOCK + 2})
    expected = whole(model, ids)[-1:]
    torch.testing.assert_close(reader.read({"new": 1})["new"], expected, rtol=1e-5, atol=1e-5)


def grow(reader: Reader, model: Any, names: list[str]) -> None:
    """One more token for each row, checked."""
    for name in names:
        ids, extent, read = reader.rows[name]
        if read == len(ids):
            reader.rows[name] = ([*ids, 7 + read % 5], extent, read)
    for name, logits in reader.read(dict.fromkeys(names, 1)).items():
        expected = whole(model, reader.rows[name][0])[-1:]
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_rows_come_and_go_while_others_grow(tiny_base: Path) -> None:
    """Windows outlast rows, take newcomers, run out of columns, and are laid out anew."""
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    reader = Reader(model, blocks=200)
    chance = random.Random(4)
    names: list[str] = []
    for step in range(150):
        if step % 9 == 0 and len(names) < 12:
            name = str(step)
            reader.open(name, tokens(chance.randrange(2, 60), step))
            ids, _, start = reader.rows[name]
            if len(ids) - start > 1:
                reader.read({name: len(ids) - start - 1})
            names.append(name)
        if step % 13 == 12:
            gone = names.pop(chance.randrange(len(names)))
            reader.blocks.close(reader.rows.pop(gone)[1])
        grow(reader, model, names)
    assert reader.cache.spare < 200 * BLOCK
    reader.windows.clear()
    assert reader.cache.spare == 200 * BLOCK


def test_without_spare_memory_rows_are_collected_for_each_pass(tiny_base: Path) -> None:
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    reader = Reader(model, blocks=20)
    reader.cache.spare = 0
    for name, length in (("a", 30), ("b", 17)):
        reader.open(name, tokens(length, length))
    reader.read({"a": 29, "b": 16})
    for _ in range(3):
        grow(reader, model, ["a", "b"])
    assert reader.cache.spare == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_of_a_token_is_told(tiny_base: Path, dtype: torch.dtype) -> None:
    model = load_model(base_of(tiny_base), CPU, dtype)
    reader = Reader(model, blocks=8)
    reader.open("a", tokens(5, 1))
    reader.read({"a": 5})
    taken = sum(t.nbytes for layer in reader.cache._layers.values() for t in layer)
    assert taken == 8 * BLOCK * bytes_per_token(model)
