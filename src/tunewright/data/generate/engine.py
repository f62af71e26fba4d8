"""The engine: asks for what the journal does not hold yet, several requests at a time."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tunewright.config.generation import GenerateConfig
from tunewright.core.errors import EndpointError
from tunewright.core.events import Event, Listener
from tunewright.data.generate.answers import retry_of
from tunewright.data.generate.estimate import Counter
from tunewright.data.generate.journal import Journal
from tunewright.data.generate.replies import reply_schema
from tunewright.data.generate.work import Ask, Work
from tunewright.endpoints.address import Address
from tunewright.endpoints.dialect import Messages
from tunewright.endpoints.endpoint import Endpoint, NoAnswer, Reply, Stopped
from tunewright.endpoints.prices import cost, text_tokens

_MOST_FAILURES = 3
"""Requests in a row without an answer after which the endpoint is taken to be gone."""

Ending = Literal["done", "interrupted", "budget", "calls"]


@dataclass
class Ended:
    """How a session of asking ended.

    Attributes:
        how: ``done``, or what stopped it before.
        error: what made the endpoint useless, if anything did.
        failures: key of a prompt → why it got no answer.
    """

    how: Ending = "done"
    error: EndpointError | None = None
    failures: dict[str, NoAnswer] = field(default_factory=dict)


class _OverBudget(Exception):  # noqa: N818 - it is no fault
    def __init__(self, how: Ending) -> None:
        super().__init__(how)
        self.how = how


class Engine:
    """One session of asking.

    Args:
        work: what is made, for reading its replies.
        address: the endpoint.
        config: model and limits.
        journal: open for writing; holds what is answered.
        count: counts a prompt's tokens.
        listen: told the progress.
    """

    def __init__(
        self,
        work: Work,
        address: Address,
        config: GenerateConfig,
        journal: Journal,
        count: Counter,
        listen: Listener,
    ) -> None:
        self._work = work
        self._address = address
        self._config = config
        self._journal = journal
        self._count = count
        self._listen = listen
        self._ended = Ended()
        self._in_a_row = 0
        self._held_calls = 0
        self._held_cost = 0.0
        self._done = 0

    def run(self, asks: Sequence[Ask]) -> Ended:
        """Ask until everything is answered, or something stops it; requests under way finish.

        The first Ctrl-C or SIGTERM stops after them, a second one at once.
        """
        return asyncio.run(self._run(asks))

    async def _run(self, asks: Sequence[Ask]) -> Ended:
        self._stopping = asyncio.Event()
        self._endpoint = Endpoint(
            self._address, self._config, reply_schema(self._work.fields), self._stopping
        )
        queue = iter(asks)
        workers = [
            asyncio.create_task(self._worker(queue, len(asks)))
            for _ in range(self._config.limits.concurrency)
        ]
        try:
            with self._signals(workers):
                await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._endpoint.close()
        return self._ended

    @contextmanager
    def _signals(self, workers: Sequence[asyncio.Task[None]]) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def handle() -> None:
            if self._ended.how == "interrupted":
                for worker in workers:
                    worker.cancel()
            self._stop("interrupted")
            self._say("Stopping after the requests under way; Ctrl-C again stops at once.")

        stops = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in stops]
        for number in stops:
            loop.add_signal_handler(number, handle)
        try:
            yield
        finally:
            for number, handler in zip(stops, before, strict=True):
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _stop(self, how: Ending) -> None:
        self._ended.how = how
        self._stopping.set()

    # Asking ----------------------------------------------------------------------------------

    async def _worker(self, queue: Iterator[Ask], total: int) -> None:
        for ask in queue:
            if self._stopping.is_set():
                return
            try:
                await self._answer(ask)
            except NoAnswer as why:
                self._fail(ask, why)
            except _OverBudget as over:
                self._stop(over.how)
            except EndpointError as error:
                self._ended.error = self._ended.error or error
                self._stopping.set()
            except Stopped:
                return
            self._done += 1
            progress = {"stage": "ask", "done": self._done, "total": total}
            self._listen(Event(kind="progress", data=progress))

    def _fail(self, ask: Ask, why: NoAnswer) -> None:
        self._ended.failures[ask.key] = why
        self._in_a_row += 1
        if self._in_a_row >= _MOST_FAILURES and self._ended.error is None:
            self._ended.error = EndpointError(
                f"{self._in_a_row} requests in a row got no answer; the last one: {why.detail}",
                "What was answered is kept. Look at the endpoint, then run the command again.",
            )
            self._stopping.set()

    async def _answer(self, ask: Ask) -> None:
        """Every completion of a prompt, and a second chance for those that cannot be read."""
        while missing := self._journal.missing(ask.key, ask.completions):
            await self._call(ask.key, ask.messages, missing)
        for index in range(ask.completions):
            again = retry_of(ask, index, self._journal, self._work, self._config)
            if again is not None and self._journal.get(again.key, 0) is None:
                await self._call(again.key, again.messages, [0])

    async def _call(self, key: str, messages: Messages, indexes: list[int]) -> None:
        prompt = self._count(messages)
        with self._reserved(prompt, len(indexes)):
            reply = await self._endpoint.complete(messages, len(indexes))
            self._in_a_row = 0
            self._keep(key, indexes, reply, prompt)

    def _keep(self, key: str, indexes: list[int], reply: Reply, prompt: int) -> None:
        said, used = reply.prompt_tokens, reply.completion_tokens
        self._journal.add(
            key,
            indexes[: len(reply.texts)],
            reply.texts,
            prompt if said is None else said,
            sum(map(text_tokens, reply.texts)) if used is None else used,
        )

    @contextmanager
    def _reserved(self, prompt: int, completions: int) -> Iterator[None]:
        """Hold the most that a call can cost while it is under way.

        Raises:
            _OverBudget: it could pass a limit.
        """
        limits, spent = self._config.limits, self._journal.spent
        price = self._config.price
        if limits.calls is not None and spent.calls + self._held_calls >= limits.calls:
            raise _OverBudget("calls")
        most = cost(prompt, completions * self._config.sampling.max_tokens, price) or 0.0
        paid = cost(spent.prompt_tokens, spent.completion_tokens, price) or 0.0
        if limits.budget is not None and paid + self._held_cost + most > limits.budget:
            raise _OverBudget("budget")
        self._held_calls += 1
        self._held_cost += most
        try:
            yield
        finally:
            self._held_calls -= 1
            self._held_cost -= most

    def _say(self, text: str) -> None:
        self._listen(Event(kind="note", data={"text": text}))
