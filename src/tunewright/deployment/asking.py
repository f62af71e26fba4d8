"""What an engine makes of requests: prompts, wishes, jobs, and the answers that become of them."""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunewright.core.messages import Conversation
from tunewright.deployment.answers import ChatAnswer, Growing, TextAnswer
from tunewright.deployment.bodies import BASE_NAME, GenerationBody
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import ReplyWriter, RequestError
from tunewright.deployment.rows import Grammar, Job, Wishes
from tunewright.deployment.scheduler import Group, Scheduler
from tunewright.deployment.text_protocol import (
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingRequest,
    Prompt,
    TokenizeRequest,
)
from tunewright.deployment.tool_calls import Calls
from tunewright.model.calls.forms import CallForm
from tunewright.model.calls.reader import CallReader

if TYPE_CHECKING:
    from tunewright.config.serving import GenerationConfig
    from tunewright.model.choices import Choices  # loads torch; a served base brings its own


class ServedBase(Protocol):
    """A loaded base as the routes need it."""

    context_length: int
    vocabulary_size: int
    ends: frozenset[int]
    call_form: CallForm | None

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation with the generation prompt."""
        ...

    def text_ids(self, text: str, framed: bool = True) -> list[int]:
        """Token ids of plain text; framed with what the tokenizer puts before every text."""
        ...

    def decode(self, ids: Sequence[int], controls: bool = False) -> str:
        """Text of token ids, control tokens left out or spelled."""
        ...

    def spelled(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        ...

    def choices(self, texts: Sequence[str]) -> Choices:
        """What an answer can be held to."""
        ...

    def schema(self, schema: dict[str, Any], param: str) -> Grammar:
        """The form of JSON that matches a schema."""
        ...

    def calls(self, tools: Sequence[dict[str, Any]], several: bool) -> Grammar:
        """The form of an answer that calls functions."""
        ...

    def memory(self) -> dict[str, int]:
        """How much of the cache is there and in use, in tokens."""
        ...

    def kv_blocks(self) -> dict[str, int]:
        """How many blocks of the cache are used, kept for others, and free."""
        ...

    def group_of(self, adapter: str | None) -> str | None:
        """Which rows share forward passes."""
        ...

    def open_group(self, key: str | None) -> Group:
        """Rows that are answered together."""
        ...

    def embed(self, adapter: str | None, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector of length 1 for each text."""
        ...

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make an adapter usable under a name."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        ...


class Desk:
    """Takes requests in.

    Args:
        base: what answers.
        scheduler: runs the jobs.
        fingerprint: of the base, for replies.

    Attributes:
        adapters: names that are loaded.
    """

    def __init__(self, base: ServedBase, scheduler: Scheduler, fingerprint: str) -> None:
        self._base = base
        self._scheduler = scheduler
        self._fingerprint = fingerprint
        self.adapters: set[str] = set()

    def check_known(self, name: str) -> None:
        """Refuse names that nothing was loaded under.

        Raises:
            RequestError: 404.
        """
        if name != BASE_NAME and name not in self.adapters:
            raise RequestError(
                404, f"no adapter {name!r} is loaded", param="model", code="model_not_found"
            )

    async def chat(self, chat: ChatRequest, name: str) -> ChatAnswer:
        """Submit a chat request; ``name`` is how its client calls the model.

        Raises:
            RequestError: what cannot be answered.
        """
        self.check_known(chat.model)
        # A long prompt takes a while to render; other requests must not wait for it.
        prompt = await asyncio.to_thread(self._base.prompt_ids, chat.conversation())
        room = self._base.context_length - len(prompt)
        settings = chat.generation(room)
        choices = None
        if settings.choices:
            choices = await asyncio.to_thread(self._base.choices, settings.choices)
        if room < (choices.longest if choices else 1):
            raise self._too_long(len(prompt), "messages")
        grammar = None
        if chat.response_format is not None or chat.must_call:
            grammar = await asyncio.to_thread(self._grammar, chat)
        wishes = self._wishes(chat, settings, chat.alternatives, choices, grammar)
        job = self._job(prompt, wishes, chat)
        writer = self._writer("chatcmpl", "chat.completion", "chat.completion.chunk", name)
        growing = [self._growing(chat) for _ in job.rows]
        spell = self._base.spelled if chat.logprobs else None
        self._scheduler.submit(job)
        return ChatAnswer(job, growing, writer, chat.reports_usage, spell)

    async def complete(self, asked: CompletionRequest, name: str) -> TextAnswer:
        """Submit a completion request.

        Raises:
            RequestError: what cannot be answered.
        """
        self.check_known(asked.model)
        prompts = await asyncio.to_thread(self._prompts, asked.prompt)
        longest = max(map(len, prompts))
        if longest >= self._base.context_length:
            raise self._too_long(longest, "prompt")
        jobs = []
        for prompt in prompts:
            settings = asked.generation(self._base.context_length - len(prompt))
            wishes = self._wishes(asked, settings, asked.logprobs, echo=bool(asked.echo))
            jobs.append(self._job(prompt, wishes, asked))
        echoed = None
        if asked.echo:
            echoed = [
                given if isinstance(given, str) else self._base.decode(given)
                for given in asked.prompt
            ]
        writer = self._writer("cmpl", "text_completion", "text_completion", name)
        growing = [self._growing(asked) for job in jobs for _ in job.rows]
        spell = None if asked.logprobs is None else self._base.spelled
        for job in jobs:
            self._scheduler.submit(job)
        silent = asked.max_tokens == 0
        return TextAnswer(jobs, growing, writer, asked.reports_usage, spell, echoed, silent)

    async def embed(self, asked: EmbeddingRequest, name: str) -> dict[str, Any]:
        """Vectors of texts.

        Raises:
            RequestError: what cannot be read.
        """
        self.check_known(asked.model)
        texts = await asyncio.to_thread(self._prompts, asked.input)
        if max(map(len, texts)) > self._base.context_length:
            raise self._too_long(max(map(len, texts)), "input")
        adapter = None if asked.model == BASE_NAME else asked.model
        vectors: list[list[float]] = []
        for batch in _batches(texts):
            vectors += await self._scheduler.call(_bind(self._base.embed, adapter, batch))
        tokens = sum(map(len, texts))
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _packed(asked, vector)}
                for index, vector in enumerate(vectors)
            ],
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def tokenize(self, asked: TokenizeRequest) -> dict[str, Any]:
        """Token ids, in vLLM's shape."""
        self.check_known(asked.model)
        if asked.messages is not None:
            conversation = asked.chat().conversation()
            tokens = await asyncio.to_thread(self._base.prompt_ids, conversation)
        else:
            framed = asked.add_special_tokens
            tokens = await asyncio.to_thread(self._base.text_ids, asked.prompt or "", framed)
        return {
            "count": len(tokens),
            "max_model_len": self._base.context_length,
            "tokens": tokens,
            "token_strs": None,
        }

    async def detokenize(self, asked: DetokenizeRequest) -> dict[str, Any]:
        """Their text, in vLLM's shape."""
        self.check_known(asked.model)
        self._check_ids(asked.tokens)
        text = await asyncio.to_thread(self._base.decode, asked.tokens, controls=True)
        return {"prompt": text}

    # Parts --------------------------------------------------------------------------------------

    def _prompts(self, given: Sequence[Prompt]) -> list[list[int]]:
        prompts = [self._base.text_ids(p) if isinstance(p, str) else p for p in given]
        for prompt in prompts:
            if not prompt:
                raise RequestError(400, "a prompt is empty: the model needs a token to begin with")
            self._check_ids(prompt)
        return prompts

    def _check_ids(self, tokens: Sequence[int]) -> None:
        size, largest = self._base.vocabulary_size, max(tokens, default=0)
        if largest >= size:
            raise RequestError(400, f"token {largest} is not in this model's vocabulary of {size}")

    def _grammar(self, chat: ChatRequest) -> Grammar | None:
        schema = chat.response_format.schema_ if chat.response_format else None
        if schema is not None:
            return self._base.schema(schema, "response_format")
        if not chat.must_call:
            return None
        tools = [
            tool for tool in chat.tools or () if chat.named_tool in (None, tool["function"]["name"])
        ]
        several = chat.parallel_tool_calls is not False and chat.named_tool is None
        return self._base.calls(tools, several)

    def _growing(self, asked: GenerationBody) -> Growing:
        base = self._base
        form = base.call_form
        if form is None or not isinstance(asked, ChatRequest) or not asked_for_tools(asked):
            return Growing(base.decode, asked.stop, base.ends)
        names = [tool["function"]["name"] for tool in asked.tools or ()]
        reader = CallReader(form, names, asked.parallel_tool_calls is not False)

        def decode(ids: Sequence[int]) -> str:
            return base.decode(ids, controls=True)

        return Growing(decode, asked.stop, base.ends, Calls(reader, form))

    def _wishes(
        self,
        asked: GenerationBody,
        settings: GenerationConfig,
        alternatives: int | None,
        choices: Choices | None = None,
        grammar: Grammar | None = None,
        echo: bool = False,
    ) -> Wishes:
        bias = asked.logit_bias or {}
        if bias and max(bias) >= self._base.vocabulary_size:
            raise RequestError(
                400,
                f"logit_bias: token {max(bias)} is not in this model's vocabulary of"
                f" {self._base.vocabulary_size}",
                param="logit_bias",
            )
        return Wishes(
            settings=settings,
            bias=bias,
            presence=asked.presence_penalty or 0.0,
            frequency=asked.frequency_penalty or 0.0,
            logprobs=alternatives,
            echo=echo,
            choices=choices,
            grammar=grammar,
        )

    def _job(self, prompt: list[int], wishes: Wishes, asked: GenerationBody) -> Job:
        return Job(
            prompt=prompt,
            wishes=wishes,
            adapter=None if asked.model == BASE_NAME else asked.model,
            loop=asyncio.get_running_loop(),
            count=asked.answers,
            # What ends at a text is watched as it grows.
            patient=not asked.stream and not asked.stop,
        )

    def _writer(self, prefix: str, kind: str, chunk_kind: str, name: str) -> ReplyWriter:
        return ReplyWriter(prefix, kind, chunk_kind, name, self._fingerprint)

    def _too_long(self, tokens: int, param: str) -> RequestError:
        return RequestError(
            400,
            f"the {param} take{'' if param == 'messages' else 's'} {tokens} tokens and"
            f" leave{'' if param == 'messages' else 's'} no room for an answer in this model's"
            f" context of {self._base.context_length}",
            param=param,
            code="context_length_exceeded",
        )


def asked_for_tools(asked: GenerationBody) -> bool:
    """Whether functions are on offer."""
    return isinstance(asked, ChatRequest) and bool(asked.tools) and asked.tool_choice != "none"


_BATCH_TOKENS = 2048


def _batches(texts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Texts in their order, in batches small enough for other requests to come in between."""
    batches: list[list[Sequence[int]]] = [[]]
    for text in texts:
        if batches[-1] and sum(map(len, batches[-1])) + len(text) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(text)
    return batches


def _bind(
    embed: Callable[[str | None, Sequence[Sequence[int]]], list[list[float]]],
    adapter: str | None,
    batch: Sequence[Sequence[int]],
) -> Callable[[], list[list[float]]]:
    return lambda: embed(adapter, batch)


def _packed(asked: EmbeddingRequest, vector: list[float]) -> list[float] | str:
    if asked.encoding_format != "base64":
        return vector
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
