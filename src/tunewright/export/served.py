"""Parity end to end: does an endpoint that serves a model answer as the model does?

Everything between a question and an answer is compared: the chat template and tokenizer of the
server (by the number of prompt tokens that it counts), its weights (by the text), and what it
stops at (by how the answer ends). So it is asked of any OpenAI-compatible server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import torch

from tunewright.config.endpoint import EndpointConfig, SamplingConfig
from tunewright.config.export import ParityConfig, ServedConfig
from tunewright.core.errors import EndpointError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.messages import Conversation
from tunewright.core.store import Store
from tunewright.endpoints.address import Address, find_address
from tunewright.endpoints.dialect import Dialect
from tunewright.endpoints.endpoint import Endpoint, NoAnswer, Reply
from tunewright.export.formats import Arithmetic, checked_renderer, load_tuned
from tunewright.export.observation import Spoken, speak
from tunewright.export.prompts import choose_prompts, fitting, without_tools
from tunewright.export.scores import score_differences
from tunewright.model.loading import pick_device
from tunewright.model.references import resolve_responder

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def compare_served(config: ServedConfig, store: Store, listen: Listener = ignore) -> dict[str, Any]:
    """Ask the tuned model here and the endpoint there the same, greedily.

    Returns:
        ``passed``, ``failures``, ``prompts``, ``answers`` (counts), ``scores``, and
        ``first_difference`` where an answer differs.

    Raises:
        InputError: an unknown model, or an address that is none.
        EndpointError: the endpoint refuses, or leaves a question without an answer.
    """
    found = resolve_responder(store, config.model)
    checked_renderer(found)
    settings = EndpointConfig(
        endpoint=config.endpoint,
        model=config.served_as or found.name,
        key_file=config.key_file,
        sampling=SamplingConfig(temperature=0.0, max_tokens=config.max_new_tokens),
    )
    address = find_address(settings, store.settings)
    how = ParityConfig(dataset=config.dataset, prompts=config.prompts)
    prompts = without_tools(choose_prompts(found, how, store))
    model = load_tuned(found, Arithmetic(pick_device(config.device), _DTYPES[config.precision]))
    prompts = fitting(prompts, model)
    spoken = speak(model, prompts.conversations, config.max_new_tokens)
    replies = asyncio.run(_ask(address, settings, prompts.conversations, listen))
    theirs = [Spoken((), (), reply.texts[0], not (reply.cut and reply.cut[0])) for reply in replies]
    report = _report(spoken, replies, theirs, config.identical)
    return {
        "model": found.name,
        "endpoint": config.endpoint,
        "prompts": prompts.source,
        **report,
        "scores": score_differences(prompts, spoken, theirs),
    }


async def _ask(
    address: Address,
    settings: EndpointConfig,
    conversations: Sequence[Conversation],
    listen: Listener,
) -> list[Reply]:
    """One question at a time: what else is in a batch may change the last bits of a logit."""
    endpoint = Endpoint(address, settings, {}, asyncio.Event(), Dialect(format=None))
    replies: list[Reply] = []
    try:
        for asked in conversations:
            turns = tuple({"role": m.role, "content": m.content} for m in asked.prompt().messages)
            replies.append(await endpoint.complete(turns, 1))
            data = {"stage": "endpoint", "done": len(replies), "total": len(conversations)}
            listen(Event(kind="progress", data=data))
    except NoAnswer as why:
        raise EndpointError(
            f"{settings.endpoint} gave no answer to question {len(replies) + 1}: {why.detail}",
            "Is the model served under this name? --served-as tells another.",
        ) from None
    finally:
        await endpoint.close()
    return replies


def _report(
    spoken: Sequence[Spoken], replies: Sequence[Reply], theirs: Sequence[Spoken], least: float
) -> dict[str, Any]:
    counted = [
        reply.prompt_tokens == len(one.prompt)
        for one, reply in zip(spoken, replies, strict=True)
        if reply.prompt_tokens is not None
    ]
    same = [
        one.text.strip() == other.text.strip() for one, other in zip(spoken, theirs, strict=True)
    ]
    ends = [one.finished == other.finished for one, other in zip(spoken, theirs, strict=True)]
    failures = []
    if not all(counted):
        failures.append(f"{counted.count(False)} prompts have another number of tokens there")
    if sum(same) < least * len(same):
        failures.append(f"{sum(same)} of {len(same)} answers are the same, needed {least:.0%}")
    if sum(ends) < least * len(ends):
        failures.append(f"{sum(ends)} of {len(ends)} answers end the same way, needed {least:.0%}")
    report: dict[str, Any] = {
        "passed": not failures,
        "failures": failures,
        "answers": {
            "asked": len(same),
            "prompt_tokens_told": len(counted),
            "same_prompt_tokens": sum(counted),
            "identical": sum(same),
            "same_ending": sum(ends),
        },
    }
    if not all(same):
        number = same.index(False)
        report["first_difference"] = {
            "prompt": number,
            "expected": spoken[number].text,
            "found": theirs[number].text,
        }
    return report
