"""Parity end to end: does an endpoint that serves a model answer as the model does?

Everything between a question and an answer is compared: the chat template and tokenizer of the
server (by the prompt's token ids, or by their number where that is all it tells), its weights (by
the text), and what it stops at (by how the answer ends). So it is asked of any OpenAI-compatible
server.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunewright.config.endpoint import EndpointConfig, SamplingConfig
from tunewright.config.export import ParityConfig, ServedConfig
from tunewright.core.errors import EndpointError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.messages import Conversation
from tunewright.core.store import Store
from tunewright.endpoints.address import Address, find_address
from tunewright.endpoints.dialect import Dialect, Messages
from tunewright.endpoints.endpoint import Endpoint, NoAnswer, Reply
from tunewright.export.formats import checked_renderer
from tunewright.export.observation import Spoken, answer_logits
from tunewright.export.parting import ROUNDING, Parting, find_parting
from tunewright.export.prompts import choose_prompts, fitting, without_tools
from tunewright.export.reference import Reference, refer
from tunewright.export.scores import score_differences
from tunewright.model.generation import TextModel
from tunewright.model.references import resolve_responder


@dataclass(frozen=True)
class _Served:
    """One prompt's outcome.

    Attributes:
        expected, found: the answers.
        same_ids: whether the prompt became the same token ids; None where that was not told.
        same_count: whether it became as many; None as above.
        parting: where the answers part; None where they do not, or nobody can tell.
        apart: greatest difference of any token's log-probability; None where it was not told.
    """

    expected: Spoken
    found: Spoken
    same_ids: bool | None
    same_count: bool | None
    parting: Parting | None = None
    apart: float | None = None

    @property
    def identical(self) -> bool:
        """Whether the texts are the same."""
        return self.expected.text.strip() == self.found.text.strip()

    @property
    def same_ending(self) -> bool:
        """Whether both ended by themselves, or neither."""
        return self.expected.finished == self.found.finished

    @property
    def rounded(self) -> bool:
        """Whether they part between two tokens that are equally likely but for rounding."""
        return self.parting is not None and self.parting.gap is not None

    @property
    def same_prompt(self) -> bool:
        """Whether nothing is known against it."""
        return self.same_ids is not False and self.same_count is not False


def compare_served(
    config: ServedConfig, store: Store, listen: Listener = ignore, address: Address | None = None
) -> dict[str, Any]:
    """Ask the tuned model here and the endpoint there the same, greedily.

    Args:
        config: what is compared.
        store: where the model is.
        listen: hears ``progress``.
        address: of our own server with a key; it is asked for log-probabilities too.

    Returns:
        ``passed``, ``failures``, ``prompts``, ``reference``, ``answers`` (counts), ``scores``,
        ``logprobs`` where they were told, and ``first_difference`` where it failed or an answer
        differs by more than rounding.

    Raises:
        InputError: an unknown model, an address that is none, or too little memory for the model
            while no evaluation keeps its answers.
        EndpointError: the endpoint refuses, or leaves a question without an answer.
    """
    found = resolve_responder(store, config.model)
    renderer = checked_renderer(found)
    settings = EndpointConfig(
        endpoint=config.endpoint,
        model=config.served_as or found.name,
        key_file=config.key_file,
    )
    extra = None if address is None else {"logprobs": True}
    address = address or find_address(settings, store.settings)
    how = ParityConfig(dataset=config.dataset, prompts=config.prompts)
    prompts = fitting(without_tools(choose_prompts(found, how, store)), renderer)
    reference = refer(found, renderer, prompts, config, store)
    greedy = SamplingConfig(temperature=0.0, max_tokens=reference.limit)
    settings = settings.model_copy(update={"sampling": greedy})
    conversations = reference.prompts.conversations
    endpoint = functools.partial(
        Endpoint, address, settings, {}, dialect=Dialect(format=None), extra=extra
    )
    told = asyncio.run(_ask(endpoint, settings, conversations, listen))
    served = _paired(reference, told, ROUNDING[config.precision])
    return {
        "model": found.name,
        "endpoint": config.endpoint,
        "prompts": reference.prompts.source,
        "reference": reference.source,
        **_report(served, config),
        "scores": score_differences(
            reference.prompts, reference.spoken, [one.found for one in served]
        ),
    }


async def _ask(
    open_endpoint: Callable[[asyncio.Event], Endpoint],
    settings: EndpointConfig,
    conversations: Sequence[Conversation],
    listen: Listener,
) -> list[tuple[Reply, list[int] | None]]:
    """One question at a time: what else is in a batch may change the last bits of a logit."""
    endpoint = open_endpoint(asyncio.Event())
    told: list[tuple[Reply, list[int] | None]] = []
    try:
        for asked in conversations:
            turns: Messages = tuple(
                {"role": m.role, "content": m.content} for m in asked.prompt().messages
            )
            told.append((await endpoint.complete(turns, 1), await endpoint.token_ids(turns)))
            data = {"stage": "endpoint", "done": len(told), "total": len(conversations)}
            listen(Event(kind="progress", data=data))
    except NoAnswer as why:
        raise EndpointError(
            f"{settings.endpoint} gave no answer to question {len(told) + 1}: {why.detail}",
            "Is the model served under this name? --served-as tells another.",
        ) from None
    finally:
        await endpoint.close()
    return told


def _paired(
    reference: Reference, told: Sequence[tuple[Reply, list[int] | None]], rounding: float
) -> list[_Served]:
    served = []
    for expected, (reply, ids) in zip(reference.spoken, told, strict=True):
        found = Spoken((), (), reply.texts[0], not (reply.cut and reply.cut[0]))
        count = reply.prompt_tokens
        one = _Served(
            expected,
            found,
            None if ids is None else tuple(ids) == expected.prompt,
            None if count is None else count == len(expected.prompt),
        )
        if reference.model is not None and one.identical and one.same_ending:
            logprobs = reply.logprobs[0] if reply.logprobs else None
            one = replace(one, apart=_apart(reference.model, expected, logprobs))
        elif reference.model is not None:
            one = replace(one, parting=find_parting(reference.model, expected, found, rounding))
        served.append(one)
    return served


def _apart(model: TextModel, expected: Spoken, logprobs: tuple[float, ...] | None) -> float | None:
    """How far a server's log-probabilities are from the model's; an end token's may be untold."""
    if not logprobs or not 0 <= len(expected.tokens) - len(logprobs) <= 1:
        return None
    own = torch.log_softmax(answer_logits(model, expected).double(), dim=1)
    own = own.gather(1, torch.tensor(expected.tokens)[:, None])[: len(logprobs), 0]
    return float((own - torch.tensor(logprobs, dtype=own.dtype)).abs().max())


def _report(served: Sequence[_Served], config: ServedConfig) -> dict[str, Any]:
    least = config.identical
    ids = [one.same_ids for one in served if one.same_ids is not None]
    counted = [one.same_count for one in served if one.same_count is not None]
    equal = [one.identical or one.rounded for one in served]
    ends = [one.same_ending or one.rounded for one in served]
    failures = []
    if not all(ids):
        failures.append(f"{ids.count(False)} prompts become other token ids there")
    elif not all(counted):
        failures.append(f"{counted.count(False)} prompts have another number of tokens there")
    if sum(equal) < least * len(equal):
        failures.append(f"{sum(equal)} of {len(equal)} answers are the same, needed {least:.0%}")
    if sum(ends) < least * len(ends):
        failures.append(f"{sum(ends)} of {len(ends)} answers end the same way, needed {least:.0%}")
    apart = [one.apart for one in served if one.apart is not None]
    # In bfloat16 nobody knows how far is too far: what counts there is what comes out.
    exact = config.precision == "float32"
    if apart and exact and not max(apart) <= ROUNDING["float32"]:
        failures.append(
            f"log-probabilities differ by up to {max(apart):.2e}, allowed {ROUNDING['float32']:.0e}"
        )
    report: dict[str, Any] = {
        "passed": not failures,
        "failures": failures,
        "answers": {
            "asked": len(served),
            "prompt_ids_told": len(ids),
            "same_prompt_ids": sum(ids),
            "prompt_tokens_told": len(counted),
            "same_prompt_tokens": sum(counted),
            "identical": sum(one.identical for one in served),
            "within_rounding": sum(one.rounded and not one.identical for one in served),
            "same_ending": sum(one.same_ending for one in served),
        },
    }
    if apart:
        report["logprobs"] = {"answers": len(apart), "largest_difference": max(apart)}
    differing = [
        n for n, one in enumerate(served) if not (one.same_prompt and equal[n] and ends[n])
    ]
    if differing:
        report["first_difference"] = _difference(differing[0], served[differing[0]])
    return report


def _difference(number: int, one: _Served) -> dict[str, Any]:
    found: dict[str, Any] = {
        "prompt": number,
        "expected": one.expected.text,
        "found": one.found.text,
    }
    if not one.same_prompt:
        found["where"] = "prompt"
    elif one.parting is not None:
        found["where"] = "answer"
        found["token"] = one.parting.token
        found["expected_token"] = one.parting.expected
        found["found_token"] = one.parting.found
    return found
