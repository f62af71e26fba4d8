"""OpenAI's own client against a real server: only ``base_url`` differs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import openai
import pydantic
import pytest
from openai.types.chat.chat_completion import Choice

from tunewright.core.messages import Conversation, Message, ToolCall, conversation
from tunewright.model.rendering import Renderer

from .conftest import HELLO, Server


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_whole_answer(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="slow", messages=HELLO, max_tokens=5
    )
    assert raw.headers["x-tunewright-served-by"] == "slow"
    assert raw.headers["x-request-id"].startswith("req_")
    reply = raw.parse()
    assert (reply.object, reply.model) == ("chat.completion", "slow")
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage is not None
    assert 1 <= reply.usage.completion_tokens <= 5
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_the_streamed_answer_is_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="slow", messages=HELLO, max_tokens=20, temperature=1.5, seed=1
    )
    chunks = list(
        client.chat.completions.create(
            model="slow",
            messages=HELLO,
            max_tokens=20,
            temperature=1.5,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1


def test_stop_texts_end_the_answer_and_are_not_part_of_it(client: openai.OpenAI) -> None:
    def ask(stop: str | None) -> Choice:
        reply = client.chat.completions.create(
            model="slow", messages=HELLO, max_tokens=40, temperature=1.5, seed=2, stop=stop
        )
        return reply.choices[0]

    answer = ask(None).message.content or ""
    stop = answer[3:5]
    cut = ask(stop)
    assert cut.message.content == answer[: answer.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_seed_repeats_a_draw(client: openai.OpenAI) -> None:
    draws = {
        client.chat.completions.create(
            model="slow", messages=HELLO, max_tokens=20, temperature=1.5, seed=7
        ).choices[0].message.content
        for _ in range(2)
    }  # fmt: skip
    assert len(draws) == 1


def test_many_at_once_each_get_their_own_answer(server: Server) -> None:
    async def ask_all() -> tuple[list[str | None], list[str | None]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:

            async def ask(word: str) -> str | None:
                reply = await client.chat.completions.create(
                    model="slow",
                    messages=[{"role": "user", "content": word}],
                    max_tokens=12,
                    temperature=1.5,
                    seed=len(word),
                )
                return reply.choices[0].message.content

            words = ["apple", "legal deposit", "x", "three months at most"]
            alone = [await ask(word) for word in words]
            together = await asyncio.gather(*map(ask, words))
            return alone, list(together)

    alone, together = asyncio.run(ask_all())
    assert alone == together
    assert len(set(alone)) == len(alone)


def test_an_async_stream(server: Server) -> None:
    async def read() -> str:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(
                model="slow", messages=HELLO, max_tokens=8, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(read())


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[-2:] == ["nano", "slow"]
    assert client.models.retrieve("slow").object == "model"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="slwo", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "'slow'" in caught.value.message
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("ft:llama/3.1:acme:x")
    assert caught.value.code == "model_not_found"


def test_a_wrong_parameter_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="slow", messages=HELLO, temperature=3)
    assert caught.value.param == "temperature"
    assert caught.value.request_id is not None
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="slow", messages=HELLO, reasoning_effort="high")
    assert (caught.value.param, caught.value.code) == ("reasoning_effort", "unsupported_parameter")


def test_a_prompt_beyond_the_context_is_refused(client: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "word " * 60_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="slow", messages=long)  # type: ignore[arg-type]
    assert caught.value.code == "context_length_exceeded"


TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def test_tools_and_their_results_reach_the_model(client: openai.OpenAI, slow_base: Path) -> None:
    call: Any = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    }
    result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}

    def prompt_tokens(messages: list[Any], **values: Any) -> int:
        reply = client.chat.completions.create(
            model="slow", messages=messages, max_tokens=2, **values
        )
        assert reply.usage is not None
        assert reply.choices[0].message.tool_calls is None
        return reply.usage.prompt_tokens

    renderer = Renderer(slow_base)
    told = [
        Message(role="user", content="hello"),
        Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(name="get_weather", arguments='{"city": "Paris"}', id="call_1"),),
        ),
        Message(role="tool", content="rain", tool_call_id="call_1"),
    ]
    offered = Conversation(messages=tuple(told[:1]), tools=tuple(TOOLS))
    answered = Conversation(messages=tuple(told), tools=tuple(TOOLS))
    plain = conversation(("user", "hello"))
    assert prompt_tokens(HELLO, tools=TOOLS) == len(renderer.prompt_ids(offered))
    assert prompt_tokens(HELLO, tools=TOOLS, tool_choice="none") == len(renderer.prompt_ids(plain))
    assert prompt_tokens([*HELLO, call, result], tools=TOOLS) == len(renderer.prompt_ids(answered))


def test_several_answers_with_probabilities(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="slow", messages=HELLO, max_tokens=4, n=3, temperature=1.5, seed=1, logprobs=True,
        top_logprobs=2, logit_bias={"5": -100}, presence_penalty=0.5,
    )  # fmt: skip
    assert len({choice.message.content for choice in reply.choices}) == 3
    for choice in reply.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    assert reply.system_fingerprint is not None
    assert reply.system_fingerprint.startswith("fp_")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens_details is not None


class Person(pydantic.BaseModel):
    """What the model is to write."""

    name: Annotated[str, pydantic.Field(max_length=8)]
    role: Literal["甲方", "乙方"]


def test_a_class_can_be_asked_for(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="slow", messages=HELLO, response_format=Person, temperature=1.5, seed=2,
        max_tokens=200,
    )  # fmt: skip
    assert reply.choices[0].message.parsed is not None
    assert reply.choices[0].message.parsed.role in ("甲方", "乙方")


def test_a_required_call_is_streamed(client: openai.OpenAI) -> None:
    # Of a free text a random model might never find the end.
    parameters = {"type": "object", "properties": {"city": {"enum": ["北京", "Paris"]}}}
    tools: list[Any] = [
        {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    ]
    with client.chat.completions.stream(
        model="slow", messages=HELLO, tools=tools, tool_choice="required", temperature=1.2, seed=3,
        max_tokens=600,
    ) as stream:  # fmt: skip
        for _ in stream:
            pass
        answer = stream.get_final_completion().choices[0]
    assert answer.finish_reason == "tool_calls"
    assert answer.message.tool_calls is not None
    assert {call.function.name for call in answer.message.tool_calls} == {"get_weather"}


def test_completions_and_embeddings(client: openai.OpenAI) -> None:
    text = client.completions.create(
        model="slow", prompt=["How long", "押金"], max_tokens=3, echo=True, logprobs=1
    )
    assert [
        choice.text.startswith(p) for choice, p in zip(text.choices, ("How", "押金"), strict=True)
    ]
    assert text.choices[0].logprobs is not None
    pieces = client.completions.create(model="slow", prompt="How long", max_tokens=5, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces if chunk.choices)
    packed = client.embeddings.create(model="slow", input="How long?")
    plain = client.embeddings.create(model="slow", input="How long?", encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert packed.usage.prompt_tokens > 0
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="slow", prompt="x", best_of=3)
    assert caught.value.param == "best_of"
