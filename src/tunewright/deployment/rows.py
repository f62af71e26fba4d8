"""Requests on their way through an engine: what was asked, and the answers that grow for it.

The generating thread owns the rows; the event loop owns the inboxes. News goes from one to the
other once per turn. Loads no torch.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from tunewright.config.serving import GenerationConfig

if TYPE_CHECKING:
    from tunewright.model.choices import Choices, Walk  # loads torch

Reason = Literal["stop", "length"]
_PAUSE, _LONGEST_PAUSE = 0.005, 0.2
"""Seconds between two chunks of a stream: for each answer that is under way, and at most."""


class Token(NamedTuple):
    """One token of an answer, or of a prompt that is echoed.

    Attributes:
        id: in the base's vocabulary.
        logprob: natural logarithm of its probability, where it was asked for.
        top: the likeliest tokens in its place with theirs, the first in front.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Grammar(Protocol):
    """A form that an answer is held to."""

    def begin(self) -> GrammarState:
        """The state of one answer, at its beginning."""
        ...


class GrammarState(Protocol):
    """Where one answer is in its form."""

    def prepare(self) -> None:
        """Start working out what may come next, on another thread."""
        ...

    def open(self) -> bytes:
        """One bit per token, lowest first: whether it may come next."""
        ...

    def take(self, token: int) -> bool:
        """Go on with a token; True when the form is complete."""
        ...


@dataclass(frozen=True)
class Wishes:
    """How the answers to one request are drawn.

    Attributes:
        settings: temperature, nucleus, seed, limit.
        bias: added to tokens' logits.
        presence, frequency: taken from the logits of tokens that were drawn before: once, and as
            often as they were.
        logprobs: how many likely tokens to report beside each drawn one; None reports nothing.
        echo: whether the prompt's tokens are reported too.
        choices, grammar: what the answer is held to.
    """

    settings: GenerationConfig
    bias: Mapping[int, float] = field(default_factory=dict)
    presence: float = 0.0
    frequency: float = 0.0
    logprobs: int | None = None
    echo: bool = False
    choices: Choices | None = None
    grammar: Grammar | None = None

    @property
    def penalised(self) -> bool:
        """Whether what was drawn changes what will be."""
        return self.presence != 0 or self.frequency != 0


class Row:
    """One answer, as the generating thread sees it.

    Attributes:
        ids: the prompt's tokens and those drawn since.
        drawn: how many of them were drawn.
        reason: why it ended, once it has.
        chance: as ``chat`` draws a single conversation, so that a seed means the same in both.
    """

    def __init__(self, job: Job, index: int) -> None:
        self.job = job
        self.index = index
        self.ids = list(job.prompt)
        self.drawn = 0
        self.reason: Reason | None = None
        self.cancelled = False
        seed = job.wishes.settings.seed
        self.chance = random.Random(None if seed is None else f"{seed}:{index}")
        self.walk: Walk | None = job.wishes.choices.walk() if job.wishes.choices else None
        self.state = job.wishes.grammar.begin() if job.wishes.grammar else None

    @property
    def echoes(self) -> bool:
        """Whether the prompt's tokens are to be reported, which one row does for all."""
        return self.job.wishes.echo and self.index == 0

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.reason is not None or self.cancelled or self.job.cancelled

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Note a drawn token, and whether it ends the answer."""
        self.ids.append(token)
        self.drawn += 1
        complete = token in ends
        if self.walk is not None:
            complete = self.walk.take(token)
        elif self.state is not None and not complete:
            complete = self.state.take(token)
        if complete:
            self.reason = "stop"
        # A choice is whole, whatever the limit says.
        elif self.walk is None and self.drawn >= self.job.wishes.settings.max_new_tokens:
            self.reason = "length"
        elif self.state is not None:
            self.state.prepare()


@dataclass(eq=False)
class Job:
    """One request: a prompt, how to answer it, how often, and what has come of it so far.

    Attributes:
        patient: whether its client wants nothing before the end: then only ends are announced.
        cached: tokens of the prompt that did not have to be read.
        inbox: by answer, its new tokens and, with the last, why it ended.
    """

    prompt: list[int]
    wishes: Wishes
    adapter: str | None
    loop: asyncio.AbstractEventLoop
    count: int = 1
    patient: bool = False
    cancelled: bool = False
    cached: int | None = None
    rows: list[Row] = field(default_factory=list)
    echoed: list[Token] = field(default_factory=list)
    inbox: list[tuple[int, Token, Reason | None]] = field(default_factory=list)
    error: Exception | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: float = 0.0
    _alarm: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.rows = [Row(self, index) for index in range(self.count)]

    async def next(self) -> list[tuple[int, Token, Reason | None]]:
        """Wait for news and take them all.

        Raises:
            Exception: what ended the request.
        """
        await self.news.wait()
        self.news.clear()
        self._taken = self.loop.time()
        if self.error is not None:
            raise self.error
        taken, self.inbox = self.inbox, []
        return taken

    def announce(self, end: bool, pause: float) -> None:
        """Wake who waits for news: at once for an end, else not before the last pause is over."""
        if end or self.loop.time() >= self._taken + pause:
            self.news.set()
        elif self._alarm is None and not self.patient:
            self._alarm = self.loop.call_at(self._taken + pause, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.news.set()

    def cancel(self) -> None:
        """Nobody waits for the answers any more."""
        self.cancelled = True


class Post:
    """News of one turn, brought to the event loops in one go."""

    def __init__(self) -> None:
        self._letters: dict[asyncio.AbstractEventLoop, list[_Letter]] = defaultdict(list)

    def token(self, row: Row, token: Token) -> None:
        """A drawn token; the reason goes with the last one."""
        self._letters[row.job.loop].append((row.job, row.index, token, row.reason))

    def echo(self, row: Row, tokens: Sequence[Token]) -> None:
        """Tokens of a prompt."""
        for token in tokens:
            self._letters[row.job.loop].append((row.job, -1, token, None))

    def error(self, job: Job, error: Exception) -> None:
        """What ends a request; the loop hears of it once."""
        if not job.cancelled:
            job.cancelled = True
            self._letters[job.loop].append((job, 0, error, None))

    def send(self) -> None:
        """Bring it all; requests whose loop has ended are cancelled."""
        letters, self._letters = self._letters, defaultdict(list)
        for loop, batch in letters.items():
            try:
                loop.call_soon_threadsafe(_deliver, batch)
            except RuntimeError:
                for job, *_ in batch:
                    job.cancelled = True


_Letter = tuple[Job, int, "Token | Exception", "Reason | None"]


def _deliver(batch: Sequence[_Letter]) -> None:
    # Every chunk of a stream costs time that others wait for: the more answers, the longer pauses.
    pause = min(_PAUSE * len(batch), _LONGEST_PAUSE)
    for job, index, what, reason in batch:
        if isinstance(what, Exception):
            job.error = what
        elif index < 0:
            job.echoed.append(what)
            continue
        else:
            job.inbox.append((index, what, reason))
        end = reason is not None or job.error is not None
        job.announce(end, math.inf if job.patient else pause)
