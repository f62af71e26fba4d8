"""The loss of packed, supervised-only batches equals that of plain transformers, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunewright.config.training import LoraConfig
from tunewright.core.messages import Row
from tunewright.core.settings import Settings
from tunewright.model.adapters import adapter_parameters, attach_lora
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.training.batches import Example, collate, render_examples
from tunewright.training.losses import next_token_loss


@pytest.fixture
def examples(tiny_base: Path, rows: list[Row]) -> list[Example]:
    return render_examples(rows[:6], Renderer(tiny_base))


@pytest.fixture
def model(tiny_base: Path, home: Path) -> torch.nn.Module:
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    return load_model(base, torch.device("cpu"), torch.float32)


def padded(examples: list[Example]) -> dict[str, torch.Tensor]:
    """The same rows as transformers wants them: padded, masked, labels at -100."""
    width = max(map(len, examples))
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    attention, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for index, example in enumerate(examples):
        ids[index, : len(example)] = torch.tensor(example.ids)
        attention[index, : len(example)] = 1
        for place, learnt in enumerate(example.mask):
            if learnt and place:
                labels[index, place] = example.ids[place]
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def test_one_document_equals_the_masked_cross_entropy_of_transformers(
    tiny_base: Path, model: torch.nn.Module, examples: list[Example]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    for example in examples:
        batch = collate([example])
        ours = next_token_loss(model, batch) / batch.supervised
        assert ours.item() == pytest.approx(plain(**padded([example])).loss.item(), abs=1e-6)


def test_packed_equals_padded(
    tiny_base: Path, model: torch.nn.Module, examples: list[Example]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    batch = collate(examples)
    ours = next_token_loss(model, batch) / batch.supervised
    assert ours.item() == pytest.approx(plain(**padded(examples)).loss.item(), abs=1e-5)


def test_packing_leaves_the_gradients_as_they_are(
    model: torch.nn.Module, examples: list[Example]
) -> None:
    attach_lora(model, LoraConfig(rank=4), seed=0)
    parameters = list(adapter_parameters(model).values())
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=0.1)
    packed = torch.autograd.grad(next_token_loss(model, collate(examples)), parameters)
    single = [torch.zeros_like(parameter) for parameter in parameters]
    for example in examples:
        alone = torch.autograd.grad(next_token_loss(model, collate([example])), parameters)
        single = [total + part for total, part in zip(single, alone, strict=True)]
    for together, apart in zip(packed, single, strict=True):
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
