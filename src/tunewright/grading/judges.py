"""Graders that ask a model elsewhere: a judge for scores, or an embedding model for likeness."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tunewright.config.endpoint import EndpointConfig, SamplingConfig
from tunewright.config.grading import ScoreModelGrader, TextSimilarityGrader
from tunewright.core.errors import ConfigError
from tunewright.endpoints.address import Address, find_address
from tunewright.endpoints.dialect import Dialect, Messages
from tunewright.endpoints.endpoint import Endpoint, NoAnswer, Reply
from tunewright.grading.results import Case, Errors, Grade, Means, NoGrade, Scorer, finite
from tunewright.grading.similarity import cosine
from tunewright.grading.templates import template

_TRIES = 2
"""A judge that does not reply in the form asked for is asked once more."""
_TOKENS = 1024
_TEXTS = 64
"""Texts per request for embeddings."""
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_REFUSED = "refused by the endpoint"
SCORE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "score": {"type": "number"}},
    "required": ["reasoning", "score"],
    "additionalProperties": False,
}
"""What a judge is to reply with."""
_ResultT = TypeVar("_ResultT")


# Asking many at once ---------------------------------------------------------------------------


class _Line:
    """A way to one endpoint that remembers in which form it takes requests."""

    def __init__(
        self, config: EndpointConfig, means: Means, extra: dict[str, Any] | None = None
    ) -> None:
        self._config = config
        self._address = _address(config, means)
        self._extra = extra
        self._dialect = Dialect()

    def ask_all(self, jobs: Sequence[Callable[[Endpoint], Awaitable[_ResultT]]]) -> list[_ResultT]:
        """The results of jobs, in order, several at a time. Not for use inside an event loop."""
        return asyncio.run(self._run(jobs))

    async def _run(
        self, jobs: Sequence[Callable[[Endpoint], Awaitable[_ResultT]]]
    ) -> list[_ResultT]:
        endpoint = Endpoint(
            self._address, self._config, SCORE_SCHEMA, asyncio.Event(), self._dialect, self._extra
        )
        turns = asyncio.Semaphore(self._config.limits.concurrency)

        async def one(job: Callable[[Endpoint], Awaitable[_ResultT]]) -> _ResultT:
            async with turns:
                return await job(endpoint)

        try:
            return await _together([one(job) for job in jobs])
        finally:
            self._dialect = endpoint.dialect
            await endpoint.close()


async def _together(work: Sequence[Coroutine[Any, Any, _ResultT]]) -> list[_ResultT]:
    """All results; the first failure stops the others before it is passed on."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _address(config: EndpointConfig, means: Means) -> Address:
    if means.store is None:
        raise ConfigError("this grader asks an endpoint, which needs the settings of a store")
    return find_address(config, means.store.settings)


def _unanswered(why: NoAnswer) -> Errors:
    if why.reason == _REFUSED:
        return Errors(model_grader_refusal_error=True)
    return Errors(model_grader_server_error=True, model_grader_server_error_details=why.detail)


# A judge ---------------------------------------------------------------------------------------


def score_model(config: ScoreModelGrader, means: Means) -> Scorer:
    """The judge's scores.

    Raises:
        ConfigError: no endpoint, no key that can be used, or a blank that cannot be filled.
    """
    if config.endpoint is None:
        raise ConfigError(
            f"grader {config.label}: score_model asks the judge {config.model}, but no endpoint"
            " is named",
            "Give endpoint, e.g. http://127.0.0.1:8000/v1.",
        )
    sampling = config.sampling_params
    line = _Line(
        EndpointConfig(
            endpoint=config.endpoint,
            model=config.model,
            key_file=config.key_file,
            sampling=SamplingConfig(
                temperature=sampling.temperature,
                max_tokens=sampling.max_completions_tokens or _TOKENS,
            ),
            limits=config.limits,
        ),
        means,
        sampling.model_dump(include={"top_p", "seed", "reasoning_effort"}, exclude_none=True),
    )
    prompt = score_prompt(config)

    def run(cases: Sequence[Case]) -> list[Grade]:
        return line.ask_all([_asking(case, prompt, config) for case in cases])

    return run


def score_prompt(config: ScoreModelGrader) -> Callable[[Case], Messages]:
    """An answer → the messages that ask for its score."""
    low, high = config.range
    form = (
        '\n\nReply with JSON only: {"reasoning": "one or two sentences", "score": a number from'
        f" {low:g} to {high:g}}}"
    )
    templates = [(message.role, template(message.content)) for message in config.input]

    def fill(case: Case) -> Messages:
        filled = [{"role": role, "content": text.fill(case)} for role, text in templates]
        filled[-1]["content"] += form
        return tuple(filled)

    return fill


def _asking(
    case: Case, prompt: Callable[[Case], Messages], config: ScoreModelGrader
) -> Callable[[Endpoint], Awaitable[Grade]]:
    async def ask(endpoint: Endpoint) -> Grade:
        try:
            messages = prompt(case)
        except NoGrade as none:
            return none.grade
        grade = Grade(0.0)
        spent = 0
        for _ in range(_TRIES):
            try:
                reply = await endpoint.complete(messages, 1)
            except NoAnswer as why:
                return Grade(0.0, errors=_unanswered(why), tokens={config.model: spent})
            spent += (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
            grade = replace(read_score(reply, config.range), tokens={config.model: spent})
            if not grade.failed:
                break
        return grade

    return ask


def read_score(reply: Reply, bounds: tuple[float, float]) -> Grade:
    """The score in a reply."""
    text = _THOUGHT.sub("", reply.texts[0]).strip()
    if not text:
        return Grade(0.0, errors=Errors(model_grader_refusal_error=True))
    score = _score(text)
    if score is None or not bounds[0] <= score <= bounds[1]:
        return Grade(0.0, errors=Errors(model_grader_parse_error=True))
    return Grade(score)


def _score(text: str) -> float | None:
    """A number alone, or ``score`` (OpenAI's judges: ``result``) of the last JSON object."""
    try:
        return float(text)
    except ValueError:
        pass
    decoder = json.JSONDecoder()
    for start in reversed([place.start() for place in re.finditer(r"\{", text)][-50:]):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        found = value.get("score", value.get("result")) if isinstance(value, dict) else None
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
    return None


# Embeddings ------------------------------------------------------------------------------------


def embedded(config: TextSimilarityGrader, means: Means) -> Scorer:
    """Cosine of the texts' embeddings, never less than 0.

    Raises:
        ConfigError: no endpoint or key that can be used.
    """
    line = _Line(
        EndpointConfig(
            endpoint=config.endpoint or "",
            model=config.model or "",
            key_file=config.key_file,
            limits=config.limits,
        ),
        means,
    )
    text, reference = template(config.input), template(config.reference)

    def run(cases: Sequence[Case]) -> list[Grade]:
        grades: dict[int, Grade] = {}
        pairs: list[tuple[int, str, str]] = []
        for number, case in enumerate(cases):
            try:
                pairs.append((number, text.fill(case), reference.fill(case)))
            except NoGrade as none:
                grades[number] = none.grade
        starts = range(0, len(pairs), _TEXTS // 2)
        parts = [pairs[start : start + _TEXTS // 2] for start in starts]
        for part, scored in zip(parts, line.ask_all([_likeness(p) for p in parts]), strict=True):
            grades |= {number: grade for (number, _, _), grade in zip(part, scored, strict=True)}
        return [grades[number] for number in range(len(cases))]

    return run


def _likeness(
    pairs: Sequence[tuple[int, str, str]],
) -> Callable[[Endpoint], Awaitable[list[Grade]]]:
    async def ask(endpoint: Endpoint) -> list[Grade]:
        try:
            # Endpoints refuse an empty text.
            texts = [one or " " for _, *both in pairs for one in both]
            vectors = await endpoint.embed(texts)
        except NoAnswer as why:
            return [Grade(0.0, errors=_unanswered(why))] * len(pairs)
        each_other = zip(vectors[::2], vectors[1::2], strict=True)
        return [finite(Grade(max(0.0, cosine(*pair)))) for pair in each_other]

    return ask
