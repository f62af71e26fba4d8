"""Every loss, and its gradient, equals that of TRL's own trainers on the same token ids."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.rated import passages, preferences, ratings
from torch import Tensor

from tunewright.config.training import TrainConfig
from tunewright.core.messages import Row
from tunewright.core.settings import Settings
from tunewright.model.catalog import resolve_base
from tunewright.model.loading import load_model
from tunewright.model.rendering import Renderer
from tunewright.model.reward import RewardModel, new_head
from tunewright.training.batches import Example, Unit, collate, unwatched
from tunewright.training.losses import document_sums, token_log_probs
from tunewright.training.methods import Method, method_of
from tunewright.training.methods.kto import RatedGroup
from tunewright.training.methods.pairs import Pair

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# TRL uses names that transformers has given new ones.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
LOSS = 1e-5
Built = Callable[..., Any]


# Both sides ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with other weights: further apart than a step of training would bring it."""
    folder = tmp_path_factory.mktemp("bases") / "other"
    shutil.copytree(tiny_base, folder)
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def ours(folder: Path) -> Any:
    """A model as we load it, all of it trainable."""
    base = resolve_base(str(folder), Settings(home=folder, offline=True))
    return load_model(base, torch.device("cpu"), torch.float32).requires_grad_(True)


def theirs(folder: Path, kind: str = "AutoModelForCausalLM", **options: Any) -> Any:
    """A model as transformers loads it."""
    import transformers

    transformers.logging.set_verbosity_error()
    loader = getattr(transformers, kind)
    return loader.from_pretrained(folder, dtype=torch.float32, **options)


def tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )


@pytest.fixture
def trainer(tiny_base: Path, tmp_path: Path) -> Built:
    """TRL's trainers, each with a dataset that it never sees a batch of."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()

    def build(where: str, name: str, row: dict[str, Any], models: dict[str, Any], **options: Any):  # type: ignore[no-untyped-def]
        module = __import__(where, fromlist=[name])
        config = getattr(module, f"{name}Config")(
            output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False, **options
        )
        return getattr(module, f"{name}Trainer")(
            **models,
            args=config,
            processing_class=tokenizer(tiny_base),
            train_dataset=Dataset.from_list([row] * 2),
        )

    return build


def method(name: str, **group: Any) -> Method[Any, Any]:
    options = {name: group} if group else {}
    return method_of(TrainConfig.build({"dataset": "x", "method": name, **options}))


def referred(chosen: Method[Any, Any], units: Sequence[Unit], model: Any) -> list[Any]:
    """Units with what ``model`` says of them."""
    with torch.no_grad():
        said = [
            document_sums(token_log_probs(model, batch), batch).tolist()
            for batch in (collate(unit.documents) for unit in units)
        ]
    return chosen.refer(units, said)


def padded(
    documents: Sequence[Example], learnt: Callable[[Example], Sequence[int]]
) -> list[Tensor]:
    """Token ids, attention and completion mask, each ``(documents, longest)``."""
    width = max(map(len, documents))
    ids = torch.zeros(len(documents), width, dtype=torch.long)
    attention, completion = torch.zeros_like(ids), torch.zeros_like(ids)
    for place, document in enumerate(documents):
        ids[place, : len(document)] = torch.tensor(document.ids)
        attention[place, : len(document)] = 1
        completion[place, : len(document)] = torch.tensor(learnt(document))
    return [ids, attention, completion]


def marked(document: Example) -> Sequence[int]:
    return document.mask


def agree(mine: Tensor, yours: Tensor, model: Any, other: Any) -> None:
    """Equal losses, and equal gradients of every weight."""
    assert mine.item() == pytest.approx(yours.item(), abs=LOSS)
    mine.backward()
    yours.backward()
    gradients = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    assert gradients
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)
    assert sum(float(g.norm()) for g in gradients.values()) > 1e-3


# Tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sft", "pretrain"])
def test_token_losses(name: str, tiny_base: Path, trainer: Built, rows: list[Row]) -> None:
    chosen = method(name)
    found: Sequence[Any] = rows[:7] if name == "sft" else passages(7)
    units = chosen.examples(found, Renderer(tiny_base), unwatched)
    model, other = ours(tiny_base), theirs(tiny_base)
    judge = trainer("trl", "SFT", {"text": "fox"}, {"model": other})
    ids, attention, completion = padded(units, marked)
    labels = ids.masked_fill(completion == 0, -100)
    inputs = {"input_ids": ids, "attention_mask": attention, "labels": labels}
    yours = judge.compute_loss(judge.model, inputs)
    agree(chosen.loss(model, chosen.collate(units)).loss, yours, model, other)


# Pairs -----------------------------------------------------------------------------------------


def pairs(tiny_base: Path, count: int, chosen: Method[Any, Any]) -> list[Pair]:
    return chosen.examples(preferences(count), Renderer(tiny_base), unwatched)


PAIR = {"prompt": "fox", "chosen": " dog", "rejected": " lazy"}


@pytest.mark.parametrize(
    ("group", "options", "count"),
    [
        ({}, {}, 5),
        ({"beta": 0.7}, {"beta": 0.7}, 5),
        ({"loss": "ipo"}, {"loss_type": ["ipo"]}, 5),
        ({"loss": "hinge", "beta": 0.3}, {"loss_type": ["hinge"], "beta": 0.3}, 5),
        (
            {"rpo_alpha": 0.4},
            {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.4]},
            5,
        ),
        # TRL smooths labels in AOT only, which sorts over the batch: of one pair it is DPO.
        ({"label_smoothing": 0.2}, {"loss_type": ["aot"], "label_smoothing": 0.2}, 1),
    ],
)
def test_dpo(
    group: dict[str, Any],
    options: dict[str, Any],
    count: int,
    tiny_base: Path,
    other_base: Path,
    trainer: Built,
) -> None:
    chosen = method("dpo", **group)
    units = referred(chosen, pairs(tiny_base, count, chosen), ours(tiny_base))
    model, other = ours(other_base), theirs(other_base)
    models = {"model": other, "ref_model": theirs(tiny_base)}
    judge = trainer("trl", "DPO", PAIR, models, **options)
    documents = [pair.better for pair in units] + [pair.worse for pair in units]
    ids, attention, completion = padded(documents, marked)
    inputs = {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}
    yours = judge.compute_loss(judge.model, inputs)
    outcome = chosen.loss(model, chosen.collate(units))
    told = {key: values[-1] for key, values in judge._metrics["eval"].items()}
    said = outcome.numbers()
    assert said["rewards/chosen"] == pytest.approx(told["rewards/chosen"], abs=1e-4)
    assert said["rewards/rejected"] == pytest.approx(told["rewards/rejected"], abs=1e-4)
    assert said["margin"] == pytest.approx(told["rewards/margins"], abs=1e-4)
    assert said["accuracy"] == pytest.approx(told["rewards/accuracies"])
    agree(outcome.loss, yours, model, other)


def concatenated(units: Sequence[Pair]) -> dict[str, Tensor]:
    """Pairs as the inputs of TRL's ORPO and CPO trainers."""
    batch = {}
    for side, documents in (
        ("chosen", [pair.better for pair in units]),
        ("rejected", [pair.worse for pair in units]),
    ):
        ids, attention, completion = padded(documents, marked)
        batch[f"{side}_input_ids"], batch[f"{side}_attention_mask"] = ids, attention
        batch[f"{side}_labels"] = ids.masked_fill(completion == 0, -100)
    return batch


def test_orpo(tiny_base: Path, other_base: Path, trainer: Built) -> None:
    chosen = method("orpo", beta=0.3)
    units = pairs(tiny_base, 5, chosen)
    model, other = ours(other_base), theirs(other_base)
    judge = trainer("trl.experimental.orpo", "ORPO", PAIR, {"model": other}, beta=0.3)
    yours = judge.compute_loss(judge.model, concatenated(units))
    agree(chosen.loss(model, chosen.collate(units)).loss, yours, model, other)


def test_orpo_on_answers_alone(tiny_base: Path, other_base: Path, trainer: Built) -> None:
    """TRL's ORPO always learns the question; its parts are called on what is left without it."""
    chosen = method("orpo", loss_on="answer")
    units = pairs(tiny_base, 5, chosen)
    model, other = ours(other_base), theirs(other_base)
    judge = trainer("trl.experimental.orpo", "ORPO", PAIR, {"model": other}, beta=0.1)
    better, worse, *_ = judge.concatenated_forward(judge.model, concatenated(units))
    odds, *_ = judge.odds_ratio_loss(better, worse)
    lengths = torch.tensor([float(pair.better.learnt) for pair in units])
    nll = -(better * lengths).sum() / lengths.sum()
    agree(chosen.loss(model, chosen.collate(units)).loss, nll - odds.mean(), model, other)


def test_simpo(tiny_base: Path, other_base: Path, trainer: Built) -> None:
    chosen = method("simpo", beta=2.5, gamma=0.8)
    units = pairs(tiny_base, 5, chosen)
    model, other = ours(other_base), theirs(other_base)
    options = {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.5, "simpo_gamma": 0.8}
    judge = trainer("trl.experimental.cpo", "CPO", PAIR, {"model": other}, **options)
    yours = judge.compute_loss(judge.model, concatenated(units))
    agree(chosen.loss(model, chosen.collate(units)).loss, yours, model, other)


@pytest.mark.parametrize("centering", [0.0, 0.01])
def test_reward(centering: float, tiny_base: Path, trainer: Built) -> None:
    chosen = method("reward", centering=centering)
    units = pairs(tiny_base, 5, chosen)
    model = RewardModel(ours(tiny_base), new_head(64, seed=3), Renderer(tiny_base))
    other = theirs(tiny_base, "AutoModelForSequenceClassification", num_labels=1)
    other.config.pad_token_id = 0
    with torch.no_grad():
        other.score.weight.copy_(model.head.weight)
    options = {"center_rewards_coefficient": centering or None}
    judge = trainer("trl", "Reward", PAIR, {"model": other}, **options)
    documents = [pair.better for pair in units] + [pair.worse for pair in units]
    ids, attention, _ = padded(documents, marked)
    inputs = {"input_ids": ids, "attention_mask": attention}
    yours = judge.compute_loss(judge.model, inputs)
    outcome = chosen.loss(model, chosen.collate(units))
    told = {key: values[-1] for key, values in judge._metrics["eval"].items()}
    assert outcome.numbers()["accuracy"] == pytest.approx(told["accuracy"])
    assert outcome.numbers()["margin"] == pytest.approx(told["margin"], abs=1e-5)
    agree(outcome.loss, yours, model.model, other)
    torch.testing.assert_close(
        model.head.weight.grad, other.score.weight.grad, rtol=1e-3, atol=1e-5
    )


# Ratings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [True, False])
def test_kto(away: bool, tiny_base: Path, other_base: Path, trainer: Built) -> None:
    """In one direction the estimated divergence is positive, in the other it is cut at zero."""
    policy, before = (other_base, tiny_base) if away else (tiny_base, other_base)
    group = {"beta": 0.2, "desirable_weight": 1.2, "undesirable_weight": 0.7}
    chosen = method("kto", **group)
    rated = chosen.examples(ratings(5), Renderer(tiny_base), unwatched)
    units: list[RatedGroup] = referred(chosen, rated, ours(before))
    model, other = ours(policy), theirs(policy)
    row = {"prompt": "fox", "completion": " dog", "label": True}
    models = {"model": other, "ref_model": theirs(before)}
    judge = trainer("trl", "KTO", row, models, per_device_train_batch_size=2, **group)
    ids, attention, completion = padded([d for unit in units for d in unit.answers], marked)
    crossed = padded([d for unit in units for d in unit.mismatched], marked)
    names = ("input_ids", "attention_mask", "completion_mask")
    inputs = {
        **dict(zip(names, (ids, attention, completion), strict=True)),
        **dict(zip((f"KL_{name}" for name in names), crossed, strict=True)),
        "label": torch.tensor([good for unit in units for good in unit.desirable]),
    }
    yours = judge.compute_loss(judge.model, inputs)
    outcome = chosen.loss(model, chosen.collate(units))
    told = {key: values[-1] for key, values in judge._metrics["eval"].items()}
    said = outcome.numbers()
    assert (said["kl"] > 0.01) == (not away)
    assert said["kl"] == pytest.approx(told["kl"], abs=1e-4)
    assert said["rewards/chosen"] == pytest.approx(told["rewards/chosen"], abs=1e-4)
    assert said["rewards/rejected"] == pytest.approx(told["rewards/rejected"], abs=1e-4)
    agree(outcome.loss, yours, model, other)
