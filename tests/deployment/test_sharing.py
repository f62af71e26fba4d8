"""Rows that share an engine: its memory, its passes, its failures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.serving import GenerationConfig
from tunewright.core.messages import conversation
from tunewright.core.store import Store
from tunewright.deployment.engine_app import engine_app
from tunewright.deployment.local_base import LocalBase
from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Job, Wishes
from tunewright.deployment.scheduler import Scheduler
from tunewright.model.catalog import Base
from tunewright.model.generation import TextModel
from tunewright.model.references import Foundation
from tunewright.model.rendering import Renderer

from .conftest import Ask, make_adapter, session, user

QUESTIONS = [f"{'word ' * (3 * number)}{number}?" for number in range(12)]


def small_engine(base: Base, tokens: int) -> tuple[LocalBase, Any]:
    served = LocalBase.load(Foundation(base), Renderer(base.folder), "cpu", kv_tokens=tokens)
    return served, engine_app(served, "secret")


def test_greedy_answers_are_those_of_the_text_model(
    engine: Any, talker: Base, store: Store
) -> None:
    model = TextModel.load(store, str(talker.folder), "cpu")
    config = GenerationConfig(max_new_tokens=40)
    asked = [conversation(("user", question)) for question in QUESTIONS]
    expected = [model.answer([one], config)[0] for one in asked]

    async def story(post: Ask) -> None:
        replies = await asyncio.gather(
            *(
                post("chat/completions", model="base", messages=user(question), max_tokens=40)
                for question in QUESTIONS
            )
        )
        for reply, answer in zip(replies, expected, strict=True):
            choice = reply.json()["choices"][0]
            assert choice["message"]["content"] == answer.text
            assert choice["finish_reason"] == answer.finish_reason

    session(engine, story)


def test_with_little_memory_everybody_is_answered_all_the_same(engine: Any, talker: Base) -> None:
    """Rows that do not fit are put back, and read again what they had said."""
    served, narrow = small_engine(talker, 256)

    async def ask(post: Ask, question: str) -> str:
        reply = await post(
            "chat/completions", model="base", messages=user(question), max_tokens=60,
            temperature=1.2, seed=len(question),
        )  # fmt: skip
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["message"]["content"])

    answers: dict[str, list[str]] = {}

    def ask_all(name: str) -> Any:
        async def story(post: Ask) -> None:
            answers[name] = list(await asyncio.gather(*(ask(post, q) for q in QUESTIONS)))

        return story

    session(engine, ask_all("roomy"))
    session(narrow, ask_all("narrow"))
    assert answers["narrow"] == answers["roomy"]
    assert served.memory() == {"kv_tokens": 256, "kv_tokens_in_use": 0}

    async def too_long(post: Ask) -> None:
        reply = await post("chat/completions", model="base", messages=user("word " * 300))
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "context_length_exceeded"

    session(narrow, too_long)


def test_adapters_answer_together_as_they_do_alone(
    engine: Any, talker: Base, tmp_path: Path
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "plain": {}, "wide": {"rank": 16, "scaling": "rslora"}, "some": {"targets": ("v_proj",)},
        "dora": {"dora": True},
    }  # fmt: skip
    folders = {
        name: make_adapter(talker, tmp_path / name, seed, **options)
        for seed, (name, options) in enumerate(kinds.items())
    }
    names = [None, *folders, None, *folders]

    async def story(post: Ask) -> None:
        for name, folder in folders.items():
            loaded = await post("load_lora_adapter", lora_name=name, lora_path=str(folder))
            assert loaded.status_code == 200, loaded.text

        async def ask(number: int) -> str:
            reply = await post(
                "chat/completions", model=names[number] or "base",
                messages=user(QUESTIONS[number]), max_tokens=30,
            )  # fmt: skip
            return str(reply.json()["choices"][0]["message"]["content"])

        alone = [await ask(number) for number in range(len(names))]
        together = await asyncio.gather(*map(ask, range(len(names))))
        assert list(together) == alone
        assert len(set(alone)) > len(kinds)
        # One goes while the others are answered; its own answer ends with an error.
        tasks = [asyncio.ensure_future(ask(number)) for number in (0, 2, 4)]
        doomed = asyncio.ensure_future(
            post("chat/completions", model="plain", messages=user("hello"), max_tokens=1500)
        )
        await asyncio.sleep(0.05)
        assert (await post("unload_lora_adapter", lora_name="plain")).status_code == 200
        assert (await doomed).status_code == 404
        assert await asyncio.gather(*tasks) == [alone[number] for number in (0, 2, 4)]
        for name in ("wide", "some", "dora"):
            await post("unload_lora_adapter", lora_name=name)

    session(engine, story)


class Breaking:
    """A form that fails in its third step."""

    def __init__(self) -> None:
        self._steps = 0

    def begin(self) -> Breaking:
        return Breaking()

    def prepare(self) -> None:
        pass

    def open(self) -> bytes:
        return b"\xff" * 64

    def take(self, token: int) -> bool:
        self._steps += 1
        if self._steps == 3:
            raise RuntimeError("too complex")
        return False


def test_one_rows_failure_is_its_own(served: LocalBase) -> None:
    async def story() -> None:
        scheduler = Scheduler(served.open_group, served.group_of)
        prompt = served.prompt_ids(conversation(("user", "hello")))
        loop = asyncio.get_running_loop()
        settings = GenerationConfig(max_new_tokens=12)
        good = [Job(prompt, Wishes(settings), None, loop) for _ in range(3)]
        bad = Job(prompt, Wishes(settings, grammar=Breaking()), None, loop)
        for job in (good[0], bad, *good[1:]):
            scheduler.submit(job)

        async def tokens(job: Job) -> list[int]:
            found: list[int] = []
            while True:
                for _, token, reason in await job.next():
                    found.append(token.id)
                    if reason is not None:
                        return found

        answers = await asyncio.gather(*map(tokens, good))
        assert answers[0] == answers[1] == answers[2]
        with pytest.raises(RequestError, match="generation failed"):
            await tokens(bad)

    asyncio.run(story())


def test_hang_ups_free_their_rows(served: LocalBase) -> None:
    """A hundred clients that leave, in every phase, leave nothing behind."""

    async def story() -> None:
        scheduler = Scheduler(served.open_group, served.group_of, most=8)
        loop = asyncio.get_running_loop()
        settings = GenerationConfig(max_new_tokens=1500)
        jobs = []
        for number in range(100):
            prompt = served.prompt_ids(conversation(("user", f"{number} " * (number % 9 + 1))))
            job = Job(prompt, Wishes(settings), None, loop, count=1 + number % 3)
            scheduler.submit(job)
            jobs.append(job)
            if number % 4 == 0:
                await asyncio.sleep(0.002)
            if number >= 10:
                jobs[number - 10].cancel()
        for job in jobs:
            job.cancel()
        async with asyncio.timeout(10):
            while scheduler.counts() != {"running": 0, "waiting": 0}:
                await asyncio.sleep(0.01)
        await scheduler.call(lambda: None)
        assert served.memory()["kv_tokens_in_use"] == 0

    asyncio.run(story())


def test_a_failed_pass_takes_nobody_else_along(talker: Base) -> None:
    served, engine = small_engine(talker, 2048)

    async def story(post: Ask) -> None:
        before = await post("chat/completions", model="base", messages=user("hello"), max_tokens=8)
        forward = served._memory.forward

        def fail(plan: Any) -> Any:
            served._memory.forward = forward
            raise RuntimeError("out of memory")

        served._memory.forward = fail
        failed = await post("chat/completions", model="base", messages=user("hello"), max_tokens=8)
        assert failed.status_code == 500
        assert "out of memory" not in failed.text
        after = await post("chat/completions", model="base", messages=user("hello"), max_tokens=8)
        assert after.json()["choices"] == before.json()["choices"]
        # What was half written is not taken for known.
        assert after.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0

    session(engine, story)
    assert served.memory()["kv_tokens_in_use"] == 0
