"""What a request can ask of an engine, beyond an answer: whole and streamed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from tunewright.core.messages import conversation
from tunewright.deployment.local_base import LocalBase

from .conftest import Ask, chunks, session, user

HOT = {"temperature": 1.5}


async def both(post: Ask, **body: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same request whole and streamed."""
    whole = await post("chat/completions", model="base", **body)
    assert whole.status_code == 200, whole.text
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return whole.json(), chunks(await post("chat/completions", model="base", **body, **options))


def test_several_answers_are_drawn_apart_and_streamed_together(engine: Any) -> None:
    async def story(post: Ask) -> None:
        whole, stream = await both(post, messages=user("hello"), n=5, seed=3, max_tokens=12, **HOT)
        texts = [choice["message"]["content"] for choice in whole["choices"]]
        assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3, 4]
        assert len(set(texts)) == 5
        streamed = [""] * 5
        reasons: dict[int, str] = {}
        for chunk in stream:
            for choice in chunk["choices"]:
                streamed[choice["index"]] += choice["delta"].get("content") or ""
                if choice["finish_reason"]:
                    reasons[choice["index"]] = choice["finish_reason"]
        assert streamed == texts
        assert list(map(reasons.get, range(5))) == [c["finish_reason"] for c in whole["choices"]]
        assert stream[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
        # The first of several answers is the one that would have come alone.
        one, _ = await both(post, messages=user("hello"), seed=3, max_tokens=12, **HOT)
        assert one["choices"][0]["message"]["content"] == texts[0]
        assert one["system_fingerprint"] == "fp_test"

    session(engine, story)


def test_log_probabilities_are_reported_for_every_token(engine: Any) -> None:
    async def story(post: Ask) -> None:
        whole, stream = await both(
            post, messages=user("押金"), max_tokens=9, logprobs=True, top_logprobs=3
        )
        choice = whole["choices"][0]
        told = choice["logprobs"]["content"]
        text = b"".join(bytes(token["bytes"]) for token in told)
        assert text.decode("utf-8", "replace") == choice["message"]["content"]
        for token in told:
            top = token["top_logprobs"]
            assert len(top) == 3
            # Greedy: the drawn token is the likeliest.
            assert (top[0]["token"], top[0]["logprob"]) == (token["token"], token["logprob"])
            assert top[0]["logprob"] >= top[1]["logprob"] >= top[2]["logprob"]
            assert token["logprob"] < 0
        streamed = [
            token
            for chunk in stream
            for one in chunk["choices"]
            for token in (one["logprobs"] or {}).get("content", ())
        ]
        assert [token["bytes"] for token in streamed] == [token["bytes"] for token in told]
        for one, other in zip(streamed, told, strict=True):
            assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)

    session(engine, story)


def test_bias_bans_and_forces_tokens(engine: Any, served: LocalBase) -> None:
    async def story(post: Ask) -> None:
        free, _ = await both(post, messages=user("hello"), max_tokens=6)
        (token,) = set(served._renderer.tokenizer.encode("x", add_special_tokens=False).ids)
        forced, _ = await both(
            post, messages=user("hello"), max_tokens=6, logit_bias={str(token): 100}
        )
        assert forced["choices"][0]["message"]["content"] == "xxxxxx"
        banned, _ = await both(
            post, messages=user("hello"), max_tokens=6, logprobs=True, logit_bias={str(token): -100}
        )
        assert (
            banned["choices"][0]["message"]["content"] == free["choices"][0]["message"]["content"]
        )
        outside = await post(
            "chat/completions", model="base", messages=user("x"), logit_bias={"999999": 1}
        )
        assert outside.status_code == 400
        assert outside.json()["error"]["param"] == "logit_bias"

    session(engine, story)


def test_penalties_keep_an_answer_from_repeating_itself(engine: Any) -> None:
    async def story(post: Ask) -> None:
        async def most(**penalty: float) -> int:
            body, _ = await both(
                post, messages=user("hello"), max_tokens=60, logprobs=True, **penalty
            )
            tokens = body["choices"][0]["logprobs"]["content"]
            return max(Counter(bytes(token["bytes"]) for token in tokens).values())

        plain = await most()
        assert await most(frequency_penalty=2) < plain
        assert await most(presence_penalty=2) < plain
        assert await most(frequency_penalty=-2) >= plain

    session(engine, story)


# Forms -------------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "role": {"enum": ["甲方", "乙方"]},
    },
    "required": ["name", "age", "role"],
    "additionalProperties": False,
}


def formed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}


def test_answers_are_held_to_a_schema(engine: Any) -> None:
    async def story(post: Ask) -> None:
        whole, stream = await both(
            post, messages=user("who?"), response_format=formed(PERSON), n=4, seed=1,
            max_tokens=200, **HOT,
        )  # fmt: skip
        for choice in whole["choices"]:
            assert choice["finish_reason"] == "stop"
            value = json.loads(choice["message"]["content"])
            assert set(value) == {"name", "age", "role"}
            assert value["role"] in ("甲方", "乙方")
            assert 0 <= value["age"] <= 99
        pieces = [
            choice["delta"].get("content") or ""
            for chunk in stream
            for choice in chunk["choices"]
            if choice["index"] == 0
        ]
        assert "".join(pieces) == whole["choices"][0]["message"]["content"]

    session(engine, story)


def test_any_json_object_can_be_asked_for(engine: Any) -> None:
    async def story(post: Ask) -> None:
        whole, _ = await both(
            post, messages=user("?"), response_format={"type": "json_object"}, seed=2,
            max_tokens=400, logit_bias={}, **HOT,
        )  # fmt: skip
        choice = whole["choices"][0]
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)
        else:
            assert choice["message"]["content"].startswith("{")

    session(engine, story)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strng"},
        {"type": "string", "pattern": "("},
        {"$ref": "#/$defs/nowhere"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "object", "properties": 3},
        {"minimum": "x", "type": "integer"},
    ],
)
def test_schemas_that_make_no_sense_are_refused(engine: Any, schema: dict[str, Any]) -> None:
    async def story(post: Ask) -> None:
        refused = await post(
            "chat/completions", model="base", messages=user("?"), response_format=formed(schema)
        )
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"]["param"] == "response_format"

    session(engine, story)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "(a+)+$"},
        {"type": "string", "pattern": "(.{0,1000}){0,1000}"},
        {"type": "array", "items": {"type": "string"}, "minItems": 10_000_000},
        {"type": "string", "minLength": 10_000_000},
        {"type": "string", "pattern": "(?:a|b|c){1,5000}x(?:.*a.{400})"},
        {"anyOf": [{"type": "string", "pattern": f"(x{n}.*)*y"} for n in range(200)]},
    ],
)
def test_explosive_schemas_harm_nobody_else(engine: Any, schema: dict[str, Any]) -> None:
    """Whether it is refused, fails on the way or holds: others are answered meanwhile."""

    async def story(post: Ask) -> None:
        form = formed(schema)
        hostile, friendly = await asyncio.gather(
            post(
                "chat/completions", model="base", messages=user("?"), response_format=form,
                max_tokens=8, **HOT,
            ),
            post("chat/completions", model="base", messages=user("hello"), max_tokens=8),
        )  # fmt: skip
        assert friendly.status_code == 200
        assert hostile.status_code in (200, 400, 500)

    session(engine, story)


# Tools -------------------------------------------------------------------------------------------

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["北京", "Paris"]}, "days": {"type": "integer"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {
        "type": "object", "properties": {}, "additionalProperties": False}}},
]  # fmt: skip


def test_a_call_can_be_required_or_named(engine: Any) -> None:
    async def story(post: Ask) -> None:
        for choice, names in (
            ("required", {"get_weather", "now"}),
            ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"}),
        ):
            whole, stream = await both(
                post, messages=user("weather?"), tools=TOOLS, tool_choice=choice, seed=5,
                max_tokens=300, parallel_tool_calls=False, **HOT,
            )  # fmt: skip
            answer = whole["choices"][0]
            assert answer["finish_reason"] == "tool_calls"
            assert answer["message"]["content"] is None
            (call,) = answer["message"]["tool_calls"]
            assert call["type"] == "function"
            assert call["function"]["name"] in names
            arguments = json.loads(call["function"]["arguments"])
            if call["function"]["name"] == "get_weather":
                assert arguments["city"] in ("北京", "Paris")
            deltas = [
                delta
                for chunk in stream
                for one in chunk["choices"]
                for delta in one["delta"].get("tool_calls", ())
            ]
            assert [delta["index"] for delta in deltas] == [0]
            assert deltas[0]["function"] == call["function"]
            assert stream[-2]["choices"][0]["finish_reason"] == "tool_calls"
            # The conversation goes on with the call and its result.
            again = await post(
                "chat/completions", model="base", tools=TOOLS, max_tokens=3,
                messages=[
                    *user("weather?"), answer["message"],
                    {"role": "tool", "tool_call_id": call["id"], "content": "rain"},
                ],
            )  # fmt: skip
            assert again.status_code == 200, again.text

    session(engine, story)


def test_offered_tools_that_are_not_called_leave_the_answer_as_it_is(engine: Any) -> None:
    async def story(post: Ask) -> None:
        whole, _ = await both(post, messages=user("hello"), tools=TOOLS, max_tokens=12)
        assert "tool_calls" not in whole["choices"][0]["message"]
        assert whole["choices"][0]["message"]["content"]

    session(engine, story)


# Prompts that begin alike ------------------------------------------------------------------------


def test_prompts_that_begin_alike_are_read_once(engine: Any) -> None:
    system = {"role": "system", "content": "You answer questions about contracts. " * 20}

    async def story(post: Ask) -> None:
        async def ask(question: str, **more: Any) -> dict[str, Any]:
            reply = await post(
                "chat/completions", model="base", messages=[system, *user(question)], max_tokens=8,
                **more,
            )  # fmt: skip
            body: dict[str, Any] = reply.json()
            return body

        first = await ask("How long is it?")
        counts = first["usage"]
        assert counts["prompt_tokens_details"]["cached_tokens"] < 32
        second = await ask("What does it cost?")
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert counts["prompt_tokens"] - 40 < cached < second["usage"]["prompt_tokens"]
        again = await ask("How long is it?")
        assert again["choices"] == first["choices"]
        together = await asyncio.gather(*(ask(f"{n}?") for n in range(6)))
        alone = [await ask(f"{n}?") for n in range(6)]
        assert [one["choices"] for one in together] == [one["choices"] for one in alone]

    session(engine, story)


def test_prompts_that_come_at_once_share_too(engine: Any) -> None:
    system = {"role": "system", "content": "Every answer names its clause. " * 25}

    async def story(post: Ask) -> None:
        async def cached(question: str, **more: Any) -> tuple[int, int]:
            reply = await post(
                "chat/completions", model="base", messages=[system, *user(question)],
                max_tokens=2, **more,
            )  # fmt: skip
            usage = reply.json()["usage"]
            return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]

        told = await asyncio.gather(*(cached(f"{n}?") for n in range(5)))
        counts = sorted(told, key=lambda count: count[1])
        assert counts[0][1] < 32
        assert all(cached > tokens - 48 for tokens, cached in counts[1:])

    session(engine, story)


# Plain text --------------------------------------------------------------------------------------


def test_completions_take_texts_and_tokens(engine: Any, served: LocalBase) -> None:
    ids = served.text_ids("How long is the trial period?")

    async def story(post: Ask) -> None:
        async def texts(**body: Any) -> list[str]:
            reply = await post("completions", model="base", max_tokens=6, **body)
            assert reply.status_code == 200, reply.text
            assert reply.json()["object"] == "text_completion"
            return [choice["text"] for choice in reply.json()["choices"]]

        (one,) = await texts(prompt="How long is the trial period?")
        assert await texts(prompt=ids) == [one]
        assert await texts(prompt=[ids, ids[:4]]) == [one, (await texts(prompt=ids[:4]))[0]]
        assert await texts(prompt=["How long is the trial period?"] * 2) == [one, one]
        drawn = await texts(prompt=[ids, ids[:4]], n=2, seed=1, **HOT)
        assert len(set(drawn)) == 4
        (echoed,) = await texts(prompt="How long", echo=True)
        assert echoed.startswith("How long")
        stream = chunks(
            await post(
                "completions", model="base", prompt=[ids, ids[:4]], max_tokens=6, stream=True
            )
        )
        pieces = ["", ""]
        for chunk in stream:
            pieces[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert pieces == await texts(prompt=[ids, ids[:4]])

    session(engine, story)


def test_the_likelihood_of_a_text_is_the_models_own(engine: Any, served: LocalBase) -> None:
    """What harnesses of benchmarks read: the prompt's tokens and one more, with probabilities."""
    import torch

    texts = [served.text_ids(text) for text in ("How long is the trial period?", "押金什么时候退?")]
    with torch.inference_mode():
        expected = [
            served._model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1) for ids in texts
        ]

    async def story(post: Ask) -> None:
        for limit in (0, 1):
            reply = await post(
                "completions", model="base", prompt=texts, max_tokens=limit, echo=True, logprobs=2,
                temperature=0, seed=1234,
            )  # fmt: skip
            body = reply.json()
            assert body["usage"]["completion_tokens"] == limit * len(texts)
            for choice, ids, logits in zip(body["choices"], texts, expected, strict=True):
                told = choice["logprobs"]
                assert len(told["tokens"]) == len(ids) + limit
                whole = [token for token in told["tokens"][: len(ids)] if "\ufffd" not in token]
                assert all(token in choice["text"] for token in whole)
                assert told["token_logprobs"][0] is None
                assert told["top_logprobs"][0] is None
                for place in range(1, len(ids)):
                    row = logits[place - 1]
                    assert told["token_logprobs"][place] == pytest.approx(
                        float(row[ids[place]]), abs=1e-4
                    )
                    top = told["top_logprobs"][place]
                    assert max(top.values()) == pytest.approx(float(row.max()), abs=1e-4)

    session(engine, story)


def test_the_end_of_an_answer_has_a_probability_too(engine: Any, served: LocalBase) -> None:
    """Harnesses drop the last token as the one that was drawn; it must be there to be dropped."""
    ids = served.text_ids("How long is it?")
    end = min(served.ends)

    async def story(post: Ask) -> None:
        body = {
            "model": "base", "prompt": [ids], "max_tokens": 1, "logprobs": 1, "temperature": 0,
            "logit_bias": {str(end): 100},
        }  # fmt: skip
        (whole,) = (await post("completions", echo=True, **body)).json()["choices"]
        assert whole["finish_reason"] == "stop"
        assert len(whole["logprobs"]["token_logprobs"]) == len(ids) + 1
        assert whole["logprobs"]["text_offset"][-1] == len(whole["text"])
        *_, last = chunks(await post("completions", stream=True, **body))
        assert len(last["choices"][0]["logprobs"]["tokens"]) == 1

    session(engine, story)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [[1], "x"]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": ["x"] * 1_000_000}, "prompt"),
        ({"prompt": ["x"] * 129}, "prompt"),
        ({"prompt": ["x"] * 100, "n": 2}, "n"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "echo": True, "stream": True}, "echo"),
        ({"prompt": [999_999]}, None),
        ({"prompt": ""}, None),
        ({"prompt": [5] * 5000}, "prompt"),
    ],
)
def test_wrong_completions_are_refused(
    engine: Any, body: dict[str, Any], param: str | None
) -> None:
    async def story(post: Ask) -> None:
        refused = await post("completions", model="base", **body)
        assert refused.status_code == 400, refused.text
        assert refused.json()["error"]["param"] == param

    session(engine, story)


def test_embeddings_have_length_one_and_tell_texts_apart(engine: Any, served: LocalBase) -> None:
    import base64
    import struct

    async def story(post: Ask) -> None:
        texts = ["How long is the trial period?", "押金什么时候退?", "How long is the trial?"]
        reply = await post("embeddings", model="base", input=texts)
        vectors = [one["embedding"] for one in reply.json()["data"]]
        assert len(vectors[0]) == 64
        for vector in vectors:
            assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)

        def likeness(a: int, b: int) -> float:
            return float(sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True)))

        assert likeness(0, 2) > likeness(0, 1)
        packed = await post(
            "embeddings", model="base", input=served.text_ids(texts[0]), encoding_format="base64"
        )
        raw = base64.b64decode(packed.json()["data"][0]["embedding"])
        assert struct.unpack("<64f", raw) == pytest.approx(vectors[0], abs=1e-6)
        assert packed.json()["usage"]["prompt_tokens"] == len(served.text_ids(texts[0]))
        wrong = await post("embeddings", model="base", input=texts, dimensions=8)
        assert wrong.json()["error"]["param"] == "dimensions"

    session(engine, story)


def test_tokens_of_texts_and_conversations_are_told(engine: Any, served: LocalBase) -> None:
    async def story(post: Ask) -> None:
        reply = await post("/tokenize", model="base", prompt="How long?")
        assert reply.json()["tokens"] == served.text_ids("How long?")
        assert reply.json()["count"] == len(reply.json()["tokens"])
        assert reply.json()["max_model_len"] == served.context_length
        told = await post("/tokenize", model="base", messages=user("hello"))
        assert told.json()["tokens"] == served.prompt_ids(conversation(("user", "hello")))
        wrong = await post("/tokenize", model="base")
        assert wrong.status_code == 400
        ids = told.json()["tokens"]
        spelled = await post("/detokenize", model="base", tokens=ids)
        assert spelled.json() == {"prompt": served.decode(ids, controls=True)}
        assert "<|im_start|>user\nhello" in spelled.json()["prompt"]
        assert (await post("/detokenize", model="base", tokens=[])).json() == {"prompt": ""}
        for strange in ([served.vocabulary_size], [-1], [True], ["a"], None):
            refused = await post("/detokenize", model="base", tokens=strange)
            assert refused.status_code == 400, strange

    session(engine, story)
