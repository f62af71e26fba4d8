"""The loss of packed, supervised-only batches equals that of plain transformers, row by row."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunewright.config.training import LoraConfig, TrainConfig
from tunewright.core.messages import Row
from tunewright.core.settings import Settings
from tunewright.model.adapters import adapter_parameters, attach_lora
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.model.rounding import SIZE_STEP
from tunewright.model.tunable import Start, make_tunable
from tunewright.training.batches import Example, collate, render_examples
from tunewright.training.losses import (
    document_lengths,
    document_sums,
    hinge_loss,
    ipo_loss,
    kto_loss,
    log_odds,
    log_probs_of,
    next_token_loss,
    sigmoid_loss,
    simpo_loss,
    token_log_probs,
)


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


def test_sums_by_document_are_what_each_document_gives_alone(
    model: torch.nn.Module, examples: list[Example]
) -> None:
    batch = collate(examples)
    together = document_sums(token_log_probs(model, batch), batch)
    alone = [-next_token_loss(model, collate([example])) for example in examples]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-4)
    assert document_lengths(batch).tolist() == [example.learnt for example in examples]


def test_a_document_without_learnt_tokens_sums_to_nothing(
    model: torch.nn.Module, examples: list[Example]
) -> None:
    mute = Example(9, examples[0].ids, type(examples[0].mask)("b", bytes(len(examples[0]))))
    batch = collate([examples[1], mute, examples[2]])
    sums = document_sums(token_log_probs(model, batch), batch)
    assert sums[1] == 0
    assert sums[0] < 0 > sums[2]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_chunks_change_neither_log_probabilities_nor_gradients(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 50, generator=generator).mul(4).to(kind)
    labels = torch.randint(0, 50, (13,), generator=generator)
    weights = torch.randn(13, generator=generator)
    found = []
    for elements in (10**6, 4 * 50, 1):
        leaf = logits.clone().requires_grad_()
        values = log_probs_of(leaf, labels, elements)
        assert values.dtype == torch.float32
        (values * weights).sum().backward()
        found.append((values.detach(), leaf.grad))
    expected = torch.log_softmax(logits.float(), dim=1).gather(1, labels[:, None])[:, 0]
    for values, gradient in found:
        torch.testing.assert_close(values, expected)
        torch.testing.assert_close(gradient, found[0][1])


def test_formulas_by_hand() -> None:
    delta = torch.tensor([0.0, 2.0, -3.0])

    def nll(x: float) -> float:
        return math.log1p(math.exp(-x))

    expected = [nll(0), nll(1), nll(-1.5)]
    assert sigmoid_loss(delta, 0.5).tolist() == pytest.approx(expected)
    smooth = [0.9 * nll(x) + 0.1 * nll(-x) for x in (0, 1, -1.5)]
    assert sigmoid_loss(delta, 0.5, 0.1).tolist() == pytest.approx(smooth)
    assert hinge_loss(delta, 0.5).tolist() == pytest.approx([1, 0, 2.5])
    assert ipo_loss(delta, 0.5).tolist() == pytest.approx([1, 1, 16])
    good = torch.tensor([True, False, True])
    sigmoid = [1 / (1 + math.exp(-x)) for x in (0.5 * (0 - 1), 0.5 * (1 - 2), 0.5 * (-3 - 1))]
    found = kto_loss(delta, good, torch.tensor(1.0), 0.5).tolist()
    assert found == pytest.approx([1 - value for value in sigmoid])
    better, worse = torch.tensor([math.log(0.8)]), torch.tensor([math.log(0.5)])
    assert log_odds(better, worse).item() == pytest.approx(math.log(4))
    assert simpo_loss(better, worse, 2, 0.5).item() == pytest.approx(nll(2 * math.log(1.6) - 0.5))


def test_the_odds_of_an_answer_known_by_heart_have_a_gradient() -> None:
    better = torch.tensor([0.0, -1e-9], requires_grad=True)
    worse = torch.tensor([-1.0, -1e-30], requires_grad=True)
    log_odds(better, worse).sum().backward()
    assert better.grad is not None
    assert worse.grad is not None
    assert torch.isfinite(better.grad).all()
    assert torch.isfinite(worse.grad).all()


@pytest.mark.parametrize("options", [{}, {"tuner": "full"}])
def test_sizes_come_in_few_where_new_ones_cost(
    tiny_base: Path, home: Path, examples: list[Example], options: dict[str, str]
) -> None:
    """On a processor in bfloat16; the numbers are those of the sizes as they are."""
    base = resolve_base(str(tiny_base), Settings(home=home, offline=True))
    config = TrainConfig.build({"dataset": "x", **options})
    model = make_tunable(Start(base), config, torch.device("cpu"), torch.bfloat16).model
    sizes: list[tuple[int, int]] = []

    def look(module: object, args: object, inputs: dict[str, torch.Tensor]) -> None:
        sizes.append((inputs["input_ids"].shape[1], len(inputs["logits_to_keep"])))

    model.register_forward_pre_hook(look, with_kwargs=True)
    batch = collate(examples)
    assert batch.tokens % SIZE_STEP
    rounded = token_log_probs(model, batch)
    rounded.sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    model.computes_in = torch.float32
    plain = token_log_probs(model, batch)
    plain.sum().backward()
    assert sizes[1] == (batch.tokens, batch.supervised)
    assert all(size % SIZE_STEP == 0 for size in sizes[0])
    torch.testing.assert_close(rounded, plain, atol=0.05, rtol=0.01)
    again = [p.grad for p in model.parameters() if p.grad is not None]
    for one, other in zip(gradients, again, strict=True):
        assert (one - other).norm() <= 0.05 * other.norm()
