"""The corpus of the bundled base: repeatable, and clean of what it is tested on."""

import itertools
import json

import pytest
from tools.build_nano.corpus import (
    families,
    held_out,
    held_out_examples,
    question_key,
    stream,
)
from tools.build_nano.export import TEMPLATE

from tunewright.core.settings import read_settings
from tunewright.demo import sample_files
from tunewright.model.catalog import resolve_base

DRAWS = 20_000


@pytest.fixture(scope="module")
def questions() -> set[str]:
    drawn = itertools.islice(stream(seed=5), DRAWS)
    return {question_key(m["content"]) for e in drawn for m in e.messages if m["role"] == "user"}


def test_the_same_seed_gives_the_same_corpus() -> None:
    first, again = (list(itertools.islice(stream(seed=3), 500)) for _ in range(2))
    assert first == again
    assert first != list(itertools.islice(stream(seed=4), 500))


def test_every_family_yields_whole_conversations_in_both_languages() -> None:
    kinds = {example.kind for example in itertools.islice(stream(seed=1), 5000)}
    languages = {example.language for example in itertools.islice(stream(seed=1), 500)}
    assert languages == {"zh", "en"}
    assert len(kinds) > len(families())
    for example in itertools.islice(stream(seed=2), 2000):
        assert example.messages[-1]["role"] == "assistant"
        assert all(message["content"].strip() for message in example.messages)


def test_training_never_yields_what_is_held_out() -> None:
    assert not any(held_out(example) for example in itertools.islice(stream(seed=1), 5000))
    assert all(held_out(example) for example in itertools.islice(held_out_examples(seed=1), 100))


def bundled(name: str) -> list[dict]:
    folder = resolve_base("nano", read_settings()).folder
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def users(rows: list[dict]) -> set[str]:
    return {
        question_key(m["content"]) for row in rows for m in row["messages"] if m["role"] == "user"
    }


def last_questions(rows: list[dict]) -> set[str]:
    return {"\n".join(question_key(m["content"]) for m in row["messages"][:-1]) for row in rows}


def test_the_probe_is_held_out_and_broad() -> None:
    probe = bundled("probe.jsonl")
    assert len(probe) >= 100
    assert len({row["kind"] for row in probe}) >= 12
    assert {row["language"] for row in probe} == {"zh", "en"}
    assert len(last_questions(probe)) == len(probe)


def test_neither_replay_nor_corpus_holds_a_probe_question(questions: set[str]) -> None:
    probe = bundled("probe.jsonl")
    general = bundled("general.jsonl")
    assert not last_questions(probe) & last_questions(general)
    asked = {
        question_key(row["messages"][-2]["content"]) for row in probe if len(row["messages"]) == 2
    }
    assert not asked & questions
    assert not asked & users(general)


def test_the_base_never_saw_the_sample_jobs_test_questions(questions: set[str]) -> None:
    _, test = sample_files()
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    asked = {question_key(row["question"]) for row in rows}
    assert not asked & questions
    assert not asked & users(bundled("general.jsonl"))


def test_the_bundled_chat_template_is_the_one_that_is_built() -> None:
    folder = resolve_base("nano", read_settings()).folder
    assert (folder / TEMPLATE.name).read_bytes() == TEMPLATE.read_bytes()
