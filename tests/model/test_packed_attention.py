"""Packed attention: documents laid end to end give what each gives alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.packed_attention import _document, register

LENGTHS = (7, 1, 19, 2, 30)


def packed(lengths: tuple[int, ...], vocabulary: int) -> dict[str, torch.Tensor]:
    """Random documents as one packed batch."""
    generator = torch.Generator().manual_seed(1)
    total = sum(lengths)
    return {
        "input_ids": torch.randint(0, vocabulary, (1, total), generator=generator),
        "position_ids": torch.cat([torch.arange(n) for n in lengths])[None],
        "cu_seqlens": torch.tensor([0, *lengths]).cumsum(0).int(),
    }


def check(model: torch.nn.Module, vocabulary: int) -> None:
    batch = packed(LENGTHS, vocabulary)
    with torch.no_grad():
        together = model(**batch, use_cache=False).logits[0]
        alone = [
            model(input_ids=ids[None], use_cache=False).logits[0]
            for ids in batch["input_ids"][0].split(LENGTHS)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_packed_equals_alone(tiny_base: Path, tiny_llama: Path, home: Path) -> None:
    for folder in (tiny_base, tiny_llama):
        base = resolve_base(str(folder), Settings(home=home, offline=True))
        model = load_model(base, torch.device("cpu"), torch.float32)
        check(model, model.config.vocab_size)


def test_packed_equals_alone_with_a_sliding_window() -> None:
    config = Qwen3Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        use_sliding_window=True,
        sliding_window=5,
        max_window_layers=1,
        attn_implementation=register(),
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=register()).eval()
    assert "sliding_attention" in config.layer_types
    check(model, 50)


def test_left_padding_gives_what_the_row_alone_gives(tiny_base: Path, home: Path) -> None:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    model = load_model(base, torch.device("cpu"), torch.float32)
    row = torch.arange(3, 15)[None]
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), row], dim=1)
    mask = torch.cat([torch.zeros(1, 4, dtype=torch.long), torch.ones_like(row)], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        alone = model(input_ids=row, use_cache=False).logits
        beside = model(input_ids=padded, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(beside[:, 4:], alone, atol=1e-5, rtol=0)


def test_gradients_do_not_cross_documents(tiny_base: Path, home: Path) -> None:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    model = load_model(base, torch.device("cpu"), torch.float32)
    batch = packed((5, 9), model.config.vocab_size)
    embedded = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_()
    logits = model(inputs_embeds=embedded, use_cache=False, **batch).logits
    logits[0, 5:].sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[0, :5].abs().max() == 0
    assert embedded.grad[0, 5:].abs().max() > 0


@pytest.mark.parametrize(("window", "prefixed"), [(None, False), (5, False), (None, True)])
def test_lengths_that_are_rounded_up_change_no_output_and_no_gradient(
    window: int | None, prefixed: bool
) -> None:
    """In bfloat16 on a processor; against the same numbers in float32, which are not rounded up."""
    generator = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).bfloat16().float()

    parts = [drawn(1, heads, 33, 16) for heads in (4, 2, 2)]
    weights = drawn(1, 4, 33, 16)
    prefix = (drawn(1, 2, 3, 16), drawn(1, 2, 3, 16)) if prefixed else None
    settings = {"scale": None, "dropout_p": 0.0, "enable_gqa": True}
    found = []
    for kind in (torch.float32, torch.bfloat16):
        q, k, v = (part.to(kind, copy=True).requires_grad_() for part in parts)
        before = None if prefix is None else tuple(one.to(kind) for one in prefix)
        output = _document(q, k, v, window, settings, before)
        assert output.shape == q.shape
        (output.float() * weights).sum().backward()
        found.append([one.float() for one in (output.detach(), q.grad, k.grad, v.grad)])
    for exact, rounded in zip(*found, strict=True):
        torch.testing.assert_close(rounded, exact, atol=0.06, rtol=0.06)
