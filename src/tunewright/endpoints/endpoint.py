"""An OpenAI-compatible endpoint: asked patiently, and in the form that it understands.

Wire format: https://platform.openai.com/docs/api-reference/chat and …/embeddings. Compatible
servers differ in what they take; a refusal that names a field changes the form of the request
once, for good.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from tunewright import __version__
from tunewright.config.endpoint import EndpointConfig
from tunewright.core.errors import EndpointError
from tunewright.endpoints.address import Address
from tunewright.endpoints.dialect import Dialect, Messages, adapted
from tunewright.endpoints.refusals import FATAL, TRANSIENT, pause, retry_after, said

REFUSED: Final = "refused by the endpoint"
"""The reason of a request that would be refused again."""
_MOST_BYTES = 16 << 20
_CONNECT_SECONDS = 10.0
_ReadT = TypeVar("_ReadT")


class NoAnswer(Exception):  # noqa: N818 - it is a verdict on one request, not an error
    """One request that got no answer; the others may.

    Attributes:
        reason: a fixed phrase, counted in the account.
        detail: what the endpoint said.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Stopped(Exception):  # noqa: N818 - somebody wanted it
    """The user asked to stop while a request waited for its turn."""


class Reply(NamedTuple):
    """An answered call: one text for each completion, and its tokens as far as it says.

    ``cut`` tells of each completion whether the limit of tokens ended it, ``logprobs`` how likely
    each token was, where that was asked for and told.
    """

    texts: list[str]
    prompt_tokens: int | None
    completion_tokens: int | None
    cut: tuple[bool, ...] = ()
    logprobs: tuple[tuple[float, ...] | None, ...] = ()


class _Response(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes


class Endpoint:
    """Asks one model. Made and closed inside one event loop.

    Args:
        address: where it is.
        config: model, sampling and limits.
        schema: of a reply, for structured output.
        stopping: set when waiting requests are to give up.
        dialect: the form that the endpoint is known to understand.
        extra: fields of every chat request besides those of the dialect.
    """

    def __init__(
        self,
        address: Address,
        config: EndpointConfig,
        schema: dict[str, Any],
        stopping: asyncio.Event,
        dialect: Dialect | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._address = address
        self._config = config
        self._schema = schema
        self._extra = dict(extra or {})
        self._stopping = stopping
        self.dialect = dialect or Dialect()
        """The form that the endpoint has been found to understand."""
        self._not_before = 0.0
        headers = {"User-Agent": f"tunewright/{__version__}"}
        if address.key is not None:
            headers["Authorization"] = f"Bearer {address.key}"
        seconds = config.limits.timeout
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds), pool=None),
            # Whatever it answers, nothing is sent to an address that the user did not name.
            follow_redirects=False,
            # A proxy from the environment must not come between this machine and itself.
            trust_env=not address.loopback,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def complete(self, messages: Messages, wanted: int) -> Reply:
        """Ask for up to ``wanted`` completions; one or more come back.

        Raises:
            NoAnswer: this request failed, after its retries.
            EndpointError: every request would fail.
            Stopped: the user asked to stop.
        """

        def body(dialect: Dialect) -> dict[str, Any]:
            return self._extra | dialect.body(messages, wanted, self._config, self._schema)

        dialect, reply = await self._ask(self._address.url, body, lambda data: _read(data, wanted))
        if dialect.many and len(reply.texts) < wanted:
            self.dialect = self.dialect._replace(many=False)
        return reply

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The embeddings of texts, in order, by one request.

        Raises:
            NoAnswer: this request failed, after its retries.
            EndpointError: every request would fail.
            Stopped: the user asked to stop.
        """
        body = {"model": self._config.model, "input": list(texts)}
        url = self._address.embeddings
        return (await self._ask(url, lambda _: body, lambda data: _vectors(data, len(texts))))[1]

    async def token_ids(self, messages: Messages) -> list[int] | None:
        """The ids that a conversation becomes with its generation prompt, asked once.

        None where the endpoint does not tell: OpenAI's API has no such route, vLLM's and ours do.
        """
        body = {"model": self._config.model, "messages": list(messages)}
        try:
            response = await self._post(self._address.tokenize, body)
        except (httpx.RequestError, TimeoutError):
            return None
        return _ids(response.body) if response.status == 200 else None

    async def _ask(
        self,
        url: httpx.URL,
        body: Callable[[Dialect], dict[str, Any]],
        read: Callable[[bytes], _ReadT | None],
    ) -> tuple[Dialect, _ReadT]:
        """Send a request until it is answered; the form it was understood in, and the answer."""
        attempt = 0
        while True:
            await self._turn()
            dialect = self.dialect
            try:
                response = await self._post(url, body(dialect))
            except (httpx.RequestError, TimeoutError) as error:
                why, wait = _explain(error), None
            else:
                if response.status == 200:
                    answer = read(response.body)
                    if answer is not None:
                        return dialect, answer
                    why, wait = "its reply is broken", None
                elif self._adapt(dialect, response):
                    continue
                else:
                    why, wait = self._refused(response)
            attempt += 1
            if attempt > self._config.limits.retries:
                raise NoAnswer("no answer from the endpoint", why)
            self._hold(pause(attempt, random.random()) if wait is None else wait)

    async def _turn(self) -> None:
        """Wait until the endpoint may be asked again."""
        while (wait := self._not_before - _now()) > 0 and not self._stopping.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        if self._stopping.is_set():
            raise Stopped

    def _hold(self, seconds: float) -> None:
        """An endpoint that is overrun is left alone by every request, not only the refused one."""
        self._not_before = max(self._not_before, _now() + seconds)

    async def _post(self, url: httpx.URL, body: dict[str, Any]) -> _Response:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json"}
        received = bytearray()
        # httpx counts the silence between two pieces; a reply that trickles in must end as well.
        async with asyncio.timeout(self._config.limits.timeout):
            async with self._client.stream("POST", url, content=data, headers=headers) as response:
                async for piece in response.aiter_bytes():
                    received += piece
                    if len(received) > _MOST_BYTES:
                        raise httpx.DecodingError("its reply is too long")
                return _Response(response.status_code, response.headers, bytes(received))

    def _adapt(self, dialect: Dialect, response: _Response) -> bool:
        """Whether the request is worth sending again in another form."""
        if response.status not in (400, 422):
            return False
        if dialect != self.dialect:  # another request has learned meanwhile
            return True
        better = adapted(dialect, response.body)
        if better is None:
            return False
        self.dialect = better
        return True

    def _refused(self, response: _Response) -> tuple[str, float | None]:
        """What a refusal says, and how long the endpoint asks to be left alone.

        Raises:
            EndpointError: it would refuse every request.
            NoAnswer: it refuses this one for good.
        """
        status = response.status
        what, code = said(response.body, self._address.key)
        shown = f"{self._address.url.host} answered {status}{f': {what}' if what else ''}"
        if response.headers.get("location") and 300 <= status < 400:
            raise EndpointError(
                f"{self._address.url.host} answers with a redirect, which is not followed",
                "Give --endpoint the address that the API is really at.",
            )
        fatal = FATAL.get(code) or FATAL.get(str(status))
        if fatal is not None:
            raise EndpointError(shown, fatal)
        if status not in TRANSIENT:
            raise NoAnswer(REFUSED, shown)
        return shown, retry_after(response.headers)


def _read(body: bytes, wanted: int) -> Reply | None:
    """A reply's completions and tokens, or None when it is no chat completion."""
    try:
        value = json.loads(body)
        choices = value["choices"][:wanted]
        texts = [choice["message"].get("content") or "" for choice in choices]
        cut = tuple(choice.get("finish_reason") == "length" for choice in choices)
        logprobs = tuple(_logprobs(choice.get("logprobs")) for choice in choices)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not texts or not all(isinstance(text, str) for text in texts):
        return None
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return Reply(texts, *tokens, cut, logprobs)


def _logprobs(told: Any) -> tuple[float, ...] | None:
    content = told.get("content") if isinstance(told, dict) else None
    return None if content is None else tuple(float(token["logprob"]) for token in content)


def _vectors(body: bytes, wanted: int) -> list[list[float]] | None:
    """Embeddings in the order of their texts, or None when the reply does not hold them all."""
    try:
        rows = sorted(json.loads(body)["data"], key=lambda row: row["index"])
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return vectors if len(vectors) == wanted and all(vectors) else None


def _ids(body: bytes) -> list[int] | None:
    """A reply's token ids, or None when it holds none."""
    try:
        found = json.loads(body)["tokens"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    told = isinstance(found, list) and all(type(token) is int for token in found)
    return found if told else None


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and 0 <= value < 1 << 40 else None


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"it cannot be reached ({error})"
    return f"the connection broke ({error or type(error).__name__})"


def _now() -> float:
    return asyncio.get_running_loop().time()
