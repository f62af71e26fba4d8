"""The grader that is a tuned reward model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunewright.config.grading import RewardModelGrader
from tunewright.core.errors import ConfigError, ModelError
from tunewright.core.messages import Conversation, Message
from tunewright.grading.results import Case, Errors, Grade, Means, Scorer, finite
from tunewright.model.references import Resolved, resolve

ASKED = ("messages", "question")
"""Fields of a row that tell what was asked; the first that is there counts."""


def reward_model(config: RewardModelGrader, means: Means) -> Scorer:
    """The reward model's scores; the model is loaded by the first answers.

    Raises:
        InputError: there is no such model, or it is no reward model.
    """
    resolved = _found(config, means)
    loaded: list[Any] = []

    def run(cases: Sequence[Case]) -> list[Grade]:
        from tunewright.model.reward import score

        if not loaded:
            loaded.append(_load(resolved, means.device))
        model = loaded[0]
        talks = {number: talk for number, case in enumerate(cases) if (talk := _talk(case))}
        fitting = {n: talk for n, talk in talks.items() if _fits(model, talk)}
        found = zip(fitting, score(model, list(fitting.values())).tolist(), strict=True)
        scores = {number: _SCALES[config.scale](value) for number, value in found}
        return [_grade(number, scores, talks) for number in range(len(cases))]

    return run


def _found(config: RewardModelGrader, means: Means) -> Resolved:
    if means.store is None:
        raise ConfigError("this grader asks a reward model, which needs the store that holds it")
    resolved = resolve(means.store, config.model)
    head = resolved.folders[-1] / "reward" / "head.safetensors" if resolved.folders else None
    if head is None or not head.is_file():
        raise ModelError(
            f"grader {config.label}: {resolved.name} is no reward model",
            "Train one on pairs of answers: tunewright train --method reward",
        )
    return resolved


def _load(resolved: Resolved, device: str) -> Any:
    from tunewright.core.settings import answering_precision
    from tunewright.model.loading import pick_device, pick_dtype
    from tunewright.model.reward import load_reward_model

    place = pick_device(device)
    return load_reward_model(resolved, place, pick_dtype(answering_precision(), place))


def _grade(number: int, scores: Mapping[int, float], talks: Mapping[int, Conversation]) -> Grade:
    if number in scores:
        return finite(Grade(scores[number]))
    wrong = Errors(truncated_observation_error=True, other_error=True)
    return Grade(0.0, errors=wrong if number in talks else Errors(invalid_variable_error=True))


def _talk(case: Case) -> Conversation | None:
    """What was asked, with the answer; None when the row does not tell what was asked."""
    messages = case.item.get("messages") or [{"role": "user", "content": case.item.get("question")}]
    try:
        asked = [Message.model_validate(message) for message in messages]
        answer = Message(role="assistant", content=case.sample)
        return Conversation(messages=(*asked, answer), tools=tuple(case.item.get("tools") or ()))
    except (ValueError, TypeError):
        return None


def _fits(model: Any, talk: Conversation) -> bool:
    ids = model.renderer.render_many([talk])[0].ids
    return len(ids) <= int(model.renderer.context_length)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


_SCALES: dict[str, Callable[[float], float]] = {"raw": float, "sigmoid": _sigmoid}
