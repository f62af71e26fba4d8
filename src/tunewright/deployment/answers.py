"""From tokens to replies: the answers to one request, whole or streamed, in OpenAI's shapes."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.core.messages import ToolCall
from tunewright.deployment.bodies import Reporting
from tunewright.deployment.replies import ReplyWriter, RequestError, usage
from tunewright.deployment.rows import Job, Reason, Token
from tunewright.deployment.streaming import DONE_LINE, event_lines
from tunewright.deployment.tool_calls import Calls, wire
from tunewright.model.text_growth import TextGrowth

# JSON knows no infinity; OpenAI writes this for what is all but impossible.
_LOWEST = -9999.0
Decode = Callable[[Sequence[int]], str]
Spell = Callable[[int], bytes]


class Growing:
    """One answer as its text grows.

    Args:
        decode: token ids → text.
        stops: texts that end it.
        ends: ids that end it, which are no part of it.
        calls: reads calls of functions from it, where some are on offer.

    Attributes:
        count: tokens drawn, the end included.
        reason: why it ended, once it has.
        tokens: that its text is made of.
        end: the token that ended it, if one did.
        called: every call that was read.
    """

    def __init__(
        self,
        decode: Decode,
        stops: Sequence[str],
        ends: frozenset[int],
        calls: Calls | None = None,
    ) -> None:
        self._growth = TextGrowth(decode, stops)
        self._stops = bool(stops)
        self._ends = ends
        self._calls = calls
        self._texts: list[str] = []
        self.count = 0
        self.reason: str | None = None
        self.tokens: list[Token] = []
        self.end: Token | None = None

    @property
    def text(self) -> str:
        """All of it so far, calls left out."""
        return "".join(self._texts)

    @property
    def called(self) -> list[ToolCall]:
        """The calls that it holds."""
        return self._calls.made if self._calls else []

    def take(self, token: Token, reason: Reason | None) -> tuple[str, list[ToolCall]]:
        """The text and the calls that a token makes certain; nothing once a stop text was met."""
        if self.reason is not None:
            return "", []
        self.count += 1
        piece = ""
        if token.id in self._ends:
            self.end = token
        else:
            self.tokens.append(token)
            piece = self._growth.add(token.id)
        if self._growth.stopped:
            reason = "stop"
        if reason is not None:
            piece += self._growth.finish()
            # A stop text may show only once what was held back is complete.
            self.reason = "stop" if self._growth.stopped else reason
        return self._read(piece)

    def _read(self, piece: str) -> tuple[str, list[ToolCall]]:
        found: list[ToolCall] = []
        if self._calls is not None:
            piece, found = self._calls.feed(piece)
            if self._calls.over:
                self.reason = "tool_calls"
            elif self.reason is not None:
                rest = self._calls.finish()
                piece += rest
                # A further call that was cut off was not made: the answer is not complete.
                cut = rest.strip() and self.reason == "length"
                self.reason = "tool_calls" if self._calls.made and not cut else self.reason
        if piece:
            self._texts.append(piece)
        return piece, found


@dataclass
class _Piece:
    """What one batch of news brought an answer; its tokens begin with number ``first``."""

    first: int
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)


class Answer(ABC):
    """The reply to one request while it is made.

    Args:
        jobs: one per prompt.
        growing: the answers, prompt by prompt.
        writer: writes the reply.
        reports_usage: which chunks of a stream carry token counts.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        growing: Sequence[Growing],
        writer: ReplyWriter,
        reports_usage: Reporting,
    ) -> None:
        self._jobs = jobs
        self._growing = growing
        self._writer = writer
        self._reports_usage = reports_usage

    async def whole(self) -> dict[str, Any]:
        """The reply in one piece."""
        for number in range(len(self._jobs)):
            async for _ in self._news(number):
                pass
        choices = [self._choice(index, one) for index, one in enumerate(self._growing)]
        return self._writer.whole(choices, self._counts())

    async def events(self) -> AsyncIterator[bytes]:
        """The reply in chunks; a failure on the way is a last event with an ``error``."""
        if first := self._lines(self._first()):
            yield first
        try:
            for number in range(len(self._jobs)):
                async for chunks in self._news(number):
                    yield self._lines(chunks)
        except RequestError as error:
            yield event_lines([error.body()])
            return
        reports = self._reports_usage != "never"
        last = [self._writer.usage_chunk(self._counts())] if reports else []
        yield event_lines(last) + DONE_LINE

    def _lines(self, choices: list[dict[str, Any]]) -> bytes:
        counts = self._counts() if self._reports_usage == "always" else None
        return event_lines(self._writer.chunk(choice, counts) for choice in choices)

    async def close(self) -> None:
        """Stop generating, if that is still going on."""
        for job in self._jobs:
            job.cancel()

    async def _news(self, number: int) -> AsyncIterator[list[dict[str, Any]]]:
        """Take in one prompt's tokens until all of its answers have ended; gives chunks."""
        job = self._jobs[number]
        first = number * job.count
        own = self._growing[first : first + job.count]
        while any(one.reason is None for one in own):
            pieces: dict[int, _Piece] = {}
            for index, token, reason in await job.next():
                one = own[index]
                if one.reason is not None:
                    continue
                piece = pieces.setdefault(index, _Piece(len(one.tokens)))
                text, found = one.take(token, reason)
                piece.texts.append(text)
                piece.calls += found
                if one.reason is not None:
                    job.rows[index].cancelled = True
            chunks = [
                chunk
                for index, piece in pieces.items()
                for chunk in self._chunks(first + index, own[index], piece)
            ]
            if chunks:
                yield chunks

    def _counts(self) -> dict[str, Any]:
        return usage(
            sum(len(job.prompt) for job in self._jobs),
            sum(one.count for one in self._growing),
            sum(job.cached or 0 for job in self._jobs),
        )

    def _first(self) -> list[dict[str, Any]]:
        """What a stream begins with, before anything was drawn."""
        return []

    @abstractmethod
    def _choice(self, index: int, one: Growing) -> dict[str, Any]:
        """A whole answer."""

    @abstractmethod
    def _chunks(self, index: int, one: Growing, piece: _Piece) -> list[dict[str, Any]]:
        """Pieces of an answer; the last one says why it ended."""


class ChatAnswer(Answer):
    """The reply to a chat request.

    Args:
        spell: a token's bytes; None where no probabilities are reported.
    """

    def __init__(
        self,
        job: Job,
        growing: Sequence[Growing],
        writer: ReplyWriter,
        reports_usage: Reporting,
        spell: Spell | None,
    ) -> None:
        super().__init__([job], growing, writer, reports_usage)
        self._spell = spell

    def _choice(self, index: int, one: Growing) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": one.text, "refusal": None}
        if one.called:
            message["content"] = one.text or None
            message["tool_calls"] = [wire(call) for call in one.called]
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(one.tokens),
            "finish_reason": one.reason,
        }

    def _first(self) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": ""}
        return [_delta(index, delta) for index in range(len(self._growing))]

    def _chunks(self, index: int, one: Growing, piece: _Piece) -> list[dict[str, Any]]:
        chunks = []
        text = "".join(piece.texts)
        logprobs = self._logprobs(one.tokens[piece.first :])
        if text or (logprobs is not None and logprobs["content"]):
            chunks.append(_delta(index, {"content": text}, logprobs))
        first = len(one.called) - len(piece.calls)
        for place, call in enumerate(piece.calls, first):
            chunks.append(_delta(index, {"tool_calls": [wire(call, place)]}))
        if one.reason is not None:
            chunks.append(_delta(index, {}, None, one.reason))
        return chunks

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self._spell is None:
            return None
        return {"content": [self._told(token) for token in tokens], "refusal": None}

    def _told(self, token: Token) -> dict[str, Any]:
        top = [self._named(name, logprob) for name, logprob in token.top]
        return {**self._named(token.id, token.logprob), "top_logprobs": top}

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        spelled = self._spell(token) if self._spell else b""
        return {
            "token": spelled.decode("utf-8", "replace"),
            "logprob": finite(logprob),
            "bytes": list(spelled),
        }


class TextAnswer(Answer):
    """The reply to a completion request.

    Args:
        spell: a token's bytes; None where no probabilities are reported.
        echoed: the prompts' texts, where they are to be given back.
        silent: whether the prompts only were of interest, and what was drawn is not.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        growing: Sequence[Growing],
        writer: ReplyWriter,
        reports_usage: Reporting,
        spell: Spell | None,
        echoed: Sequence[str] | None,
        silent: bool,
    ) -> None:
        super().__init__(jobs, growing, writer, reports_usage)
        self._spell = spell
        self._echoed = echoed
        self._silent = silent

    def _counts(self) -> dict[str, Any]:
        counts = super()._counts()
        if not self._silent:
            return counts
        return {**counts, "completion_tokens": 0, "total_tokens": counts["prompt_tokens"]}

    def _choice(self, index: int, one: Growing) -> dict[str, Any]:
        job = self._jobs[index // self._jobs[0].count]
        text = "" if self._silent else one.text
        tokens = [] if self._silent else self._drawn(one)
        if self._echoed is not None:
            text = self._echoed[index // self._jobs[0].count] + text
            tokens = [Token(job.prompt[0]), *job.echoed, *tokens]
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(tokens),
            "finish_reason": "length" if self._silent else one.reason,
        }

    def _chunks(self, index: int, one: Growing, piece: _Piece) -> list[dict[str, Any]]:
        text = "".join(piece.texts)
        if not text and one.reason is None:
            return []
        logprobs = self._logprobs(self._drawn(one)[piece.first :], len(one.text) - len(text))
        choice = {"index": index, "text": text, "finish_reason": one.reason}
        return [{**choice, "logprobs": logprobs}]

    def _drawn(self, one: Growing) -> list[Token]:
        """Every token that was drawn, its end too: who sums up an echoed prompt leaves out the
        last token, and would else leave out one of the prompt."""
        return [*one.tokens, *([one.end] if one.end else [])]

    def _logprobs(self, tokens: Sequence[Token], place: int = 0) -> dict[str, Any] | None:
        """Lists with one entry per token, from a place in the text on.

        A prompt's first token has no probability.
        """
        if self._spell is None:
            return None
        names, offsets, reader = [], [], codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            spelled = self._spell(token.id)
            names.append(spelled.decode("utf-8", "replace"))
            offsets.append(place)
            place += len(reader.decode(spelled))
        return {
            "tokens": names,
            "token_logprobs": [
                None if token.logprob is None else finite(token.logprob) for token in tokens
            ],
            "top_logprobs": [self._likeliest(token) for token in tokens],
            "text_offset": offsets,
        }

    def _likeliest(self, token: Token) -> dict[str, float] | None:
        if token.logprob is None or self._spell is None:
            return None
        found: dict[str, float] = {}
        # Tokens that hold a part of a character may look alike: the likeliest speaks for them.
        for name, logprob in (*token.top, (token.id, token.logprob)):
            found.setdefault(self._spell(name).decode("utf-8", "replace"), finite(logprob))
        return found


def _delta(
    index: int,
    delta: dict[str, Any],
    logprobs: dict[str, Any] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def finite(logprob: float | None) -> float:
    """A log-probability that JSON can hold."""
    return _LOWEST if logprob is None or not logprob > _LOWEST else logprob
