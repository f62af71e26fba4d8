"""The leaner forward pass gives what the model's own gives, whatever hangs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import write_json, write_model, write_tokenizer
from tests.model.test_kv_cache import Reader, base_of, tokens
from torch import Tensor, nn

from tunewright.config.training import LoraConfig, TrainConfig
from tunewright.model.adapters import (
    adapter_parameters,
    attach_lora,
    load_adapter,
    save_adapter,
    set_active,
)
from tunewright.model.lean_decoder import LeanDecoder
from tunewright.model.loading import load_model
from tunewright.model.mixed_lora import Mixture
from tunewright.model.packed_linear import PackedLinear, pack_linears
from tunewright.model.tunable import Start, make_tunable

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 256,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True, "head_dim": 24},
    "mistral": {"sliding_window": 13},
    "qwen2": {"use_sliding_window": True, "sliding_window": 13, "max_window_layers": 1},
    "qwen3": {"head_dim": 32, "tie_word_embeddings": True},
}


def read(model: Any, lean: LeanDecoder | None) -> Tensor:
    """Two rows that are read in portions and then grow; all of their logits."""
    reader = Reader(model, forward=lean.read if lean else None)
    reader.open("a", tokens(40, 1))
    reader.open("b", tokens(21, 2))
    found: list[Tensor] = []
    for counts in ({"a": 17, "b": 3}, {"a": 20, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 16}):
        found += reader.read(counts).values()
    return torch.cat(found)


def agree(model: Any, lean: LeanDecoder, dtype: torch.dtype = torch.float32) -> Tensor:
    """Check both passes and return what they give."""
    expected = read(model, None)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(read(model, lean), expected, rtol=tolerance, atol=tolerance)
    return expected


def randomise(parameters: dict[str, nn.Parameter]) -> None:
    for number, parameter in enumerate(parameters.values()):
        generator = torch.Generator().manual_seed(number)
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def made(kind: str, folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoConfig

    vocabulary = write_tokenizer(folder)
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    write_model(folder, AutoConfig.for_model(kind, vocab_size=vocabulary, **SIZES, **KINDS[kind]))
    model = load_model(base_of(folder), CPU, dtype)
    # Fresh models have biases of zero and norms of one.
    randomise({name: p for name, p in model.named_parameters() if p.dim() == 1})
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_computed_as_by_its_own(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = made(kind, tmp_path, dtype)
    assert LeanDecoder.suits(model)
    agree(model, LeanDecoder(model), dtype)


def test_other_kinds_are_left_to_themselves(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

    gelu = Qwen3Config(vocab_size=64, hidden_act="gelu", head_dim=16, **SIZES)
    assert not LeanDecoder.suits(Qwen3ForCausalLM(gelu))
    other = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    assert not LeanDecoder.suits(GPT2LMHeadModel(other))


@pytest.mark.parametrize("kind", KINDS)
def test_packed_layers_give_the_same(kind: str, tmp_path: Path) -> None:
    model = made(kind, tmp_path, torch.float32)
    expected = read(model, None)
    lean = LeanDecoder(model)
    count = sum(type(module) is nn.Linear for module in model.modules())
    if not (packed := pack_linears(model, 1 << 30, lean.joints)):
        pytest.skip("this processor has no such products")
    assert packed == count
    # What is packed together needs no copy of its own.
    alone = {n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, PackedLinear)}
    assert alone == {"o_proj", "down_proj", "lm_head"}
    torch.testing.assert_close(agree(model, lean), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def folders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random LoRA adapters: on all layers, on some, and one that is no plain LoRA."""
    base = base_of(tiny_base)
    made = {}
    for name, options in {
        "all": {"rank": 4, "alpha": 16.0},
        "some": {"rank": 2, "alpha": 8.0, "targets": ("q_proj", "v_proj", "down_proj")},
        "dora": {"rank": 4, "alpha": 16.0, "dora": True},
    }.items():
        model = load_model(base, CPU, torch.float32)
        config = LoraConfig.model_validate(options)
        attach_lora(model, config, seed=len(name))
        randomise(adapter_parameters(model))
        made[name] = tmp_path_factory.mktemp(name)
        save_adapter(model, config, base.name, made[name])
    return made


@pytest.mark.parametrize("pack", [False, True])
def test_adapters_come_and_go(tiny_base: Path, folders: dict[str, Path], pack: bool) -> None:
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    lean, mixture = LeanDecoder(model), Mixture(model)
    if pack:
        pack_linears(model, 1 << 30, lean.joints)
    seen = [agree(model, lean)]
    for name in ("all", "some", "dora"):
        load_adapter(model, folders[name], name)
        mixture.refresh()
        set_active(model, name)
        seen.append(agree(model, lean))
    for number, one in enumerate(seen):
        assert not any(torch.allclose(one, other, atol=1e-3) for other in seen[:number])


def test_tokens_go_by_their_own_adapters(tiny_base: Path, folders: dict[str, Path]) -> None:
    """A row of each adapter and one of the base in a pass, and the same adapter loaded anew."""
    model = load_model(base_of(tiny_base), CPU, torch.float32)
    lean, mixture = LeanDecoder(model), Mixture(model)
    pack_linears(model, 1 << 30, lean.joints)
    rows: dict[str, str | None] = {"base": None, "first": "all", "second": "some"}
    for _ in range(2):
        for name in ("all", "some"):
            load_adapter(model, folders[name], name)
        mixture.refresh()
        alone = []
        for owner in rows.values():
            set_active(model, owner)
            alone.append(growing(model, lean, ["row"], mixture, None)["row"])
        set_active(model, mixture.active)
        owners = list(rows.values())
        together = growing(model, lean, list(rows), mixture, owners)
        for one, other in zip(alone, together.values(), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def growing(
    model: Any, lean: LeanDecoder, names: list[str], mixture: Mixture, owners: list[Any] | None
) -> dict[str, Tensor]:
    """Logits of the last of 20 tokens of every row, read one by one."""
    reader = Reader(model, forward=lean.read)
    for name in names:
        reader.open(name, tokens(20, 5))
    for _ in range(20):
        if owners is not None:
            mixture.choose(owners, CPU)
        found = reader.read(dict.fromkeys(names, 1))
    return found


def test_a_prefix_is_seen(tiny_base: Path) -> None:
    config = TrainConfig.build({"dataset": "none", "tuner": "prefix"})
    tunable = make_tunable(Start(base_of(tiny_base)), config, CPU, torch.float32)
    bare = load_model(base_of(tiny_base), CPU, torch.float32)
    randomise(dict(enumerate(tunable.trained.parameters.values())))  # type: ignore[arg-type]
    tunable.model.eval()
    found = agree(tunable.model, LeanDecoder(tunable.model))
    assert not torch.allclose(found, read(bare, None), atol=1e-3)
