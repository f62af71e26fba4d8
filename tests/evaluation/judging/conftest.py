"""Judges on loopback: real servers that work out their verdicts from the texts they are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.loopback import JsonHandler, JsonServer, running

from tunewright.core.messages import conversation
from tunewright.evaluation.answers import Question, score_answers
from tunewright.evaluation.asked import Asked
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.scorers.base import Material
from tunewright.evaluation.scorers.table import open_metrics

Shown = dict[str, str]
Rule = Callable[[Shown, int], str | int | None]
"""What is shown and the number of the request → the reply, or a status; None hangs up."""
_BLOCK = re.compile(r"^====[0-9a-f]{12} (.+)\n?", re.MULTILINE)
REFERENCE = "六个月，应当书面约定"


def shown_in(body: dict[str, Any]) -> Shown:
    """The blocks of a request by their titles; none where it is a plain question."""
    if len(body["messages"]) < 2:
        return {}
    parts = _BLOCK.split(body["messages"][1]["content"])
    return {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def verdict(choice: str, reason: str = "because") -> str:
    """A reply in the form asked for."""
    return json.dumps({"reason": reason, "verdict": choice})


def fair(shown: Shown, number: int) -> str:
    """Prefers the answer that shares more characters with the reference."""
    reference = set(shown.get("参考答案") or shown["reference answer"])
    a, b = (
        len(reference & set(shown.get(f"回答 {x}") or shown[f"answer {x}"])) for x in ("A", "B")
    )
    return verdict("A" if a > b else "B" if b > a else "tie")


class Bench(JsonServer):
    """A judge behind HTTP; requests are kept."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.rule: Rule = fair
        self.requests: list[dict[str, Any]] = []

    @property
    def reference(self) -> str:
        """What names it on the command line."""
        return f"judge@{self.url}"


class _Handler(JsonHandler):
    server: Bench

    def post(self, data: bytes) -> None:
        body = json.loads(data)
        with self.server.lock:
            self.server.requests.append(body)
            said = self.server.rule(shown_in(body), len(self.server.requests))
        if said is None:
            self.close_connection = True
            return
        if isinstance(said, int):
            self.answer(said, {"error": {"message": "flagged by the content filter"}})
            return
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        self.answer(200, {"choices": [choice], "usage": usage})


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A running judge."""
    with running(Bench()) as server:
        yield server


@pytest.fixture
def second_bench() -> Iterator[Bench]:
    """Another one."""
    with running(Bench()) as server:
        yield server


def asked_of(**answers: list[str]) -> Asked:
    """Answers to as many questions, all with one reference, two in a group."""
    count = len(next(iter(answers.values())))
    questions = [
        Question(str(n), conversation(("user", f"试用期 {n}?")), REFERENCE, None, f"g{n // 2}")
        for n in range(count)
    ]
    metrics = open_metrics(Material([REFERENCE]))
    scored = {
        name: score_answers(questions, [Said(text, "stop") for text in texts], metrics)
        for name, texts in answers.items()
    }
    return Asked(questions, scored, metrics)
