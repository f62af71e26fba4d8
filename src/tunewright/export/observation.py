"""What a model answers to prompts, greedily, and the logits with which it does.

The tuned model goes first: it answers, and its logits are put on disk. The export then answers by
itself, and also reads the tuned model's own answers, so that both are compared after the same
words. So only one of the two is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import Conversation
from tunewright.model.generation import TextModel

Progress = Callable[[int, int], None]

_LOGITS = "logits"


@dataclass(frozen=True)
class Spoken:
    """One greedy answer.

    Attributes:
        prompt: ids of the prompt.
        tokens: ids of the answer, its end token included.
        text: the answer.
        finished: whether it ended by itself.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str
    finished: bool


@dataclass(frozen=True)
class Distance:
    """How far two models' logits are apart after the same words.

    Attributes:
        largest: greatest difference of any logit, at each token of the answer.
        divergence: Kullback-Leibler divergence from the first to the second, in nats, each.
        agrees: whether both hold the same token likeliest, each.
    """

    largest: list[float]
    divergence: list[float]
    agrees: list[bool]


def speak(
    model: TextModel, conversations: Sequence[Conversation], max_new_tokens: int
) -> list[Spoken]:
    """Greedy answers to each conversation's prompt."""
    config = GenerationConfig(max_new_tokens=max_new_tokens)
    prompts = [tuple(model.renderer.prompt_ids(c.prompt())) for c in conversations]
    return [
        Spoken(prompt, answer.tokens, answer.text, answer.finish_reason == "stop")
        for prompt, answer in zip(prompts, model.answer(conversations, config), strict=True)
    ]


def keep_logits(
    model: TextModel, spoken: Sequence[Spoken], folder: Path, progress: Progress
) -> None:
    """Write the logits of each answer's tokens into the folder, float32 (tokens, vocabulary)."""
    for number, one in enumerate(spoken):
        save_file({_LOGITS: answer_logits(model, one)}, _file(folder, number))
        progress(number + 1, len(spoken))


def distances(
    model: TextModel, spoken: Sequence[Spoken], folder: Path, progress: Progress
) -> Iterator[Distance]:
    """Compare a model with logits that ``keep_logits`` wrote, answer by answer."""
    for number, one in enumerate(spoken):
        kept = load_file(_file(folder, number))[_LOGITS]
        yield _distance(kept, answer_logits(model, one))
        progress(number + 1, len(spoken))


@torch.inference_mode()
def answer_logits(model: TextModel, spoken: Spoken) -> Tensor:
    """Logits that predict each token of an answer, float32 on the CPU (tokens, vocabulary)."""
    ids = torch.tensor([[*spoken.prompt, *spoken.tokens]], device=model.network.device)
    count = len(spoken.tokens)
    output = model.network(input_ids=ids, use_cache=False, logits_to_keep=count + 1)
    logits: Tensor = output.logits[0, :-1].float().cpu()
    return logits


@torch.inference_mode()
def hidden_states(model: TextModel, spoken: Spoken) -> list[Tensor]:
    """Outputs of the embedding and of each block, float32 on the CPU (tokens, hidden)."""
    ids = torch.tensor([[*spoken.prompt, *spoken.tokens]], device=model.network.device)
    output = model.network(input_ids=ids, use_cache=False, output_hidden_states=True)
    return [state[0].float().cpu() for state in output.hidden_states]


def _distance(kept: Tensor, logits: Tensor) -> Distance:
    # A format may keep rows beyond the vocabulary, or leave such rows out.
    width = min(kept.shape[1], logits.shape[1])
    kept, logits = kept[:, :width], logits[:, :width]
    likely = torch.log_softmax(kept.double(), dim=1)
    divergence = (likely.exp() * (likely - torch.log_softmax(logits.double(), dim=1))).sum(dim=1)
    return Distance(
        (kept - logits).abs().amax(dim=1).tolist(),
        divergence.clamp_min(0).tolist(),
        (kept.argmax(dim=1) == logits.argmax(dim=1)).tolist(),
    )


def _file(folder: Path, number: int) -> Path:
    return folder / f"logits-{number:05d}.safetensors"
