"""Questions in the background: limits are waited for, and nobody else waits for that."""

from __future__ import annotations

import asyncio
from collections import Counter

from tunewright.deployment.replies import RequestError
from tunewright.jobs.asking import NotYetError, Question, Reply, persistently
from tunewright.jobs.pace import Pacer


class Limited:
    """Answers every question, those of the key ``full`` once its limit is lifted."""

    def __init__(self) -> None:
        self.lifted = False
        self.looks: Counter[str] = Counter()
        self.answered: list[str] = []

    async def find(self, model: str, project: str, api_key: str) -> None:
        """Whatever is asked for is there."""

    async def ask(self, question: Question) -> Reply:
        self.looks[question.api_key] += 1
        if question.api_key == "never":
            raise RequestError(429, "too long", code="rate_limit_exceeded", should_retry=False)
        if question.api_key == "full" and not self.lifted:
            raise NotYetError(0.01)
        self.answered.append(question.api_key)
        return Reply("req_1", 200, {})


def question(key: str) -> Question:
    return Question("/v1/chat/completions", b"{}", "p", key)


def test_who_waits_for_a_limit_keeps_nobody_else_from_asking() -> None:
    asker = Limited()

    async def both() -> tuple[Reply, Reply]:
        pacer = Pacer(1, 32, lambda: 0)
        waiting = asyncio.create_task(persistently(asker, pacer, question("full")))
        while asker.looks["full"] < 3:
            await asyncio.sleep(0.01)
        other = await persistently(asker, pacer, question("other"))
        assert not waiting.done()
        asker.lifted = True
        return other, await waiting

    replies = asyncio.run(both())
    assert [one.status for one in replies] == [200, 200]
    assert asker.answered == ["other", "full"], "each once"


def test_what_no_waiting_helps_is_an_error_at_once() -> None:
    asker = Limited()
    reply = asyncio.run(persistently(asker, Pacer(1, 32, lambda: 0), question("never")))
    assert (reply.status, reply.code, asker.looks["never"]) == (429, "rate_limit_exceeded", 1)
