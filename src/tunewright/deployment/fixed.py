"""Answers that an operator wrote beforehand, in the shapes of a model's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from tunewright.config.deployment import AnswerConfig
from tunewright.deployment.bodies import Body
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import ReplyWriter, usage
from tunewright.deployment.text_protocol import CompletionRequest

FIXED = "fixed-answer"
"""Who answers, in replies and headers."""

_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_FINGERPRINT = "fp_fixed"


def fixed_text(answer: AnswerConfig, body: Body) -> str | None:
    """The text for a request; None where there is none, or it could not take the asked form."""
    if isinstance(body, ChatRequest):
        formed = body.response_format is not None and body.response_format.type != "text"
        if formed or body.must_call or body.guided_choice:
            return None
        asked = body.messages[-1].content
        asked = next((m.content for m in reversed(body.messages) if m.role == "user"), asked)
    elif isinstance(body, CompletionRequest):
        if body.echo or not all(isinstance(prompt, str) for prompt in body.prompt):
            return None
        asked = str(body.prompt[0])
    else:
        return None
    return answer.text(bool(_CHINESE.search(asked)))


def whole(body: Body, text: str) -> dict[str, Any]:
    """The text as a whole reply; it costs nothing."""
    return _writer(body).whole([_choice(body, i, text) for i in _numbers(body)], usage(0, 0))


async def events(body: Body, text: str) -> AsyncIterator[dict[str, Any]]:
    """The text as a stream's events."""
    writer = _writer(body)
    for number in _numbers(body):
        for piece, reason in ((text, None), ("", "stop")):
            yield writer.chunk(_piece(body, number, piece, reason))
    yield writer.usage_chunk(usage(0, 0))


def _numbers(body: Body) -> range:
    answers: int = getattr(body, "answers", 1)
    prompts = len(body.prompt) if isinstance(body, CompletionRequest) else 1
    return range(answers * prompts)


def _writer(body: Body) -> ReplyWriter:
    if isinstance(body, ChatRequest):
        names = ("chatcmpl", "chat.completion", "chat.completion.chunk")
    else:
        names = ("cmpl", "text_completion", "text_completion")
    return ReplyWriter(*names, FIXED, _FINGERPRINT)


def _choice(body: Body, number: int, text: str) -> dict[str, Any]:
    common = {"index": number, "finish_reason": "stop", "logprobs": None}
    if isinstance(body, ChatRequest):
        return {**common, "message": {"role": "assistant", "content": text, "refusal": None}}
    return {**common, "text": text}


def _piece(body: Body, number: int, text: str, reason: str | None) -> dict[str, Any]:
    common = {"index": number, "finish_reason": reason, "logprobs": None}
    if isinstance(body, ChatRequest):
        delta = {"role": "assistant", "content": text} if text else {}
        return {**common, "delta": delta}
    return {**common, "text": text}
