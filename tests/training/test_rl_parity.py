"""Losses, gradients and advantages equal those of TRL's GRPO and RLOO trainers."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.test_parity_trl import agree, ours, theirs, tokenizer
from torch import Tensor

from tunewright.config.training import TrainConfig
from tunewright.training.batches import Example, collate
from tunewright.training.methods import method_of
from tunewright.training.methods.policy import (
    PolicyMethod,
    Rollout,
    RolloutBatch,
    collate_rollouts,
)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

pytestmark = [
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
PROMPTS, GROUP, LIMIT = 3, 4, 9
Built = Callable[..., Any]


@pytest.fixture
def trainer(tiny_base: Path, tmp_path: Path) -> Built:
    """TRL's trainers, each with a dataset that it never sees a batch of."""
    import trl
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()

    def build(name: str, model: Any, **options: Any) -> Any:
        config = getattr(trl, f"{name}Config")(
            output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False,
            num_generations=GROUP, per_device_train_batch_size=PROMPTS * GROUP,
            max_completion_length=LIMIT, **options,
        )  # fmt: skip
        return getattr(trl, f"{name}Trainer")(
            model=model,
            reward_funcs=lambda completions, **kwargs: [0.0] * len(completions),
            args=config,
            processing_class=tokenizer(tiny_base),
            train_dataset=Dataset.from_list([{"prompt": "fox"}] * 4),
        )

    return build


def method(name: str, rl: dict[str, Any], **group: Any) -> PolicyMethod:
    options = {"rl": {"group": GROUP, "max_new_tokens": LIMIT, **rl}, name: group}
    chosen = method_of(TrainConfig.build({"dataset": "x", "method": name, **options}))
    assert isinstance(chosen, PolicyMethod)
    return chosen


def answers() -> list[Example]:
    """Random questions with random answers of varying length."""
    draw = random.Random(0)
    examples = []
    for number in range(PROMPTS * GROUP):
        question = [draw.randrange(3, 300) for _ in range(4 + number // GROUP)]
        answer = [draw.randrange(3, 300) for _ in range(draw.randint(1, LIMIT))]
        mask = bytes(len(question)) + bytes([1] * len(answer))
        examples.append(Example(number, array("q", question + answer), array("b", mask)))
    return examples


@torch.no_grad()
def said(chosen: PolicyMethod, model: Any, examples: list[Example]) -> list[Tensor]:
    """Log-probabilities of every answer's tokens."""
    log_probs, _ = chosen.log_probs(model, collate(examples))
    return list(torch.split(log_probs, [example.learnt for example in examples]))


def right(parts: list[Tensor] | list[Any]) -> Tensor:
    """Values of the answers' tokens, padded on the right to (answers, LIMIT)."""
    rows = [torch.nn.functional.pad(torch.as_tensor(p), (0, LIMIT - len(p))) for p in parts]
    return torch.stack(rows)


def inputs(batch: RolloutBatch, examples: list[Example]) -> dict[str, Tensor]:
    """The same answers as TRL lays them out: questions padded left, answers right."""
    questions = [list(one.ids[: len(one) - one.learnt]) for one in examples]
    replies = [list(one.ids[len(one) - one.learnt :]) for one in examples]
    width = max(map(len, questions))
    lengths = torch.tensor([len(one) for one in replies])
    return {
        "prompt_ids": torch.tensor([[0] * (width - len(q)) + q for q in questions]),
        "prompt_mask": torch.tensor([[0] * (width - len(q)) + [1] * len(q) for q in questions]),
        "completion_ids": right(replies),
        "completion_mask": (torch.arange(LIMIT) < lengths[:, None]).long(),
        "advantages": batch.advantages,
        "num_items_in_batch": lengths.sum(),
    }


def batch_of(
    examples: list[Example], old: list[Any] | None, reference: list[Any] | None
) -> RolloutBatch:
    draw = random.Random(1)
    none = [None] * len(examples)
    rollouts = [
        Rollout(example, draw.gauss(0, 1), mine, start)
        for example, mine, start in zip(examples, old or none, reference or none, strict=True)
    ]
    return collate_rollouts(rollouts, len(examples), sum(one.learnt for one in examples))


@pytest.fixture
def nudged(tiny_base: Path) -> Callable[[Any], Any]:
    """Moves a model's weights as a few updates would."""

    def nudge(model: Any) -> Any:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for _, parameter in sorted(model.named_parameters()):
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
        return model

    return nudge


@pytest.mark.parametrize(
    ("group", "rl", "options"),
    [
        ({"loss": "grpo"}, {"beta": 0.0}, {"loss_type": "grpo"}),
        ({"loss": "dapo"}, {"beta": 0.3}, {"loss_type": "dapo", "beta": 0.3}),
        ({"loss": "dapo"}, {"beta": 0.0}, {"loss_type": "bnpo"}),
        ({"loss": "dr_grpo"}, {"beta": 0.1}, {"loss_type": "dr_grpo", "beta": 0.1}),
        (
            {"loss": "grpo"},
            {"beta": 0.0, "clip": 0.1, "clip_high": 0.3, "temperature": 0.7},
            {"loss_type": "grpo", "epsilon": 0.1, "epsilon_high": 0.3, "temperature": 0.7},
        ),
    ],
)
def test_grpo(
    group: dict[str, Any], rl: dict[str, Any], options: dict[str, Any],
    tiny_base: Path, trainer: Built, nudged: Callable[[Any], Any],
) -> None:  # fmt: skip
    chosen, examples = method("grpo", rl, **group), answers()
    old = said(chosen, ours(tiny_base), examples)
    start = [one + 0.1 for one in old] if rl["beta"] else None
    batch = batch_of(examples, old, start)
    model, other = nudged(ours(tiny_base)), nudged(theirs(tiny_base))
    judge = trainer("GRPO", other, **options)
    given = inputs(batch, examples) | {"old_per_token_logps": right(old)}
    if start:
        given["ref_per_token_logps"] = right(start)
    judge.model.eval()
    yours = judge._compute_loss(judge.model, given)
    outcome = chosen.loss(model, batch)
    told = {key: values[-1] for key, values in judge._metrics["eval"].items()}
    numbers = outcome.numbers()
    assert numbers["clip_share"] == pytest.approx(told["clip_ratio/region_mean"])
    assert numbers["clip_share"] > 0
    assert numbers["entropy"] == pytest.approx(told["entropy"], abs=1e-4)
    if start:
        assert numbers["kl"] == pytest.approx(told["kl"], abs=1e-4)
    agree(outcome.loss, yours, model, other)


def test_rloo(tiny_base: Path, trainer: Built, nudged: Callable[[Any], Any]) -> None:
    chosen, examples = method("rloo", {"clip": 0.15}), answers()
    old = said(chosen, ours(tiny_base), examples)
    batch = batch_of(examples, old, None)
    model, other = nudged(ours(tiny_base)), nudged(theirs(tiny_base))
    judge = trainer("RLOO", other, epsilon=0.15)
    given = inputs(batch, examples) | {"old_logps": torch.stack([one.sum() for one in old])}
    judge.model.eval()
    yours = judge._compute_loss(judge.model, given)
    outcome = chosen.loss(model, batch)
    told = {key: values[-1] for key, values in judge._metrics["eval"].items()}
    assert outcome.numbers()["clip_share"] == pytest.approx(told["clip_ratio/region_mean"])
    assert outcome.numbers()["clip_share"] > 0
    agree(outcome.loss, yours, model, other)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_a_step_in_parts_has_the_gradient_of_the_whole(loss: str, tiny_base: Path) -> None:
    chosen, examples = method("grpo", {"beta": 0.2}, loss=loss), answers()
    start = [one - 0.2 for one in said(chosen, ours(tiny_base), examples)]
    tokens = sum(one.learnt for one in examples)
    whole, parts = ours(tiny_base), ours(tiny_base)
    draw = random.Random(1)
    rollouts = [
        Rollout(one, draw.gauss(0, 1), None, said)
        for one, said in zip(examples, start, strict=True)
    ]
    chosen.loss(whole, collate_rollouts(rollouts, len(rollouts), tokens)).loss.backward()
    for part in (rollouts[:5], rollouts[5:6], rollouts[6:]):
        chosen.loss(parts, collate_rollouts(part, len(rollouts), tokens)).loss.backward()
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


REWARDS = torch.tensor([[1.0, 0.0, 0.5, 2.0], [0.3, 0.3, 0.3, 0.3], [1.0, float("nan"), 0.0, 0.0]])


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("none", [[0.125, -0.875, -0.375, 1.125], [0] * 4, [2 / 3, 0, -1 / 3, -1 / 3]]),
        ("group", [[0.1463, -1.0245, -0.4391, 1.3172], [0] * 4, [1.1545, 0, -0.5772, -0.5772]]),
    ],
)
def test_grpo_advantages(scale: str, expected: list[list[float]]) -> None:
    found = method("grpo", {}, scale=scale).advantages(REWARDS, None)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-4)


def test_grpo_advantages_scaled_by_the_step() -> None:
    plain = method("grpo", {}, scale="none").advantages(REWARDS, None)
    found = method("grpo", {}, scale="batch").advantages(REWARDS, None)
    spread = REWARDS[~REWARDS.isnan()].std() + 1e-4
    torch.testing.assert_close(found, plain / spread)


def test_rloo_advantages() -> None:
    chosen = method("rloo", {"beta": 0.5})
    found = chosen.advantages(REWARDS, None)
    expected = [[1 - 2.5 / 3, 0 - 3.5 / 3, 0.5 - 1, 2 - 0.5], [0] * 4, [1, 0, -0.5, -0.5]]
    torch.testing.assert_close(found, torch.tensor(expected))
    alone = chosen.advantages(torch.tensor([[1.0, float("nan")]]), None)
    assert alone.tolist() == [[0, 0]]
    held = chosen.advantages(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert held.tolist() == [[0.5, -0.5]]
    normal = method("rloo", {}, normalize=True).advantages(REWARDS[:2], None)
    assert normal.mean() == pytest.approx(0, abs=1e-6)
    assert normal.std() == pytest.approx(1, abs=1e-3)
