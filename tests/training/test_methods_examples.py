"""What each method makes of rows, and how it packs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.rated import passages, preferences, ratings

from tunewright.config.training import TrainConfig
from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message, Row, Source, conversation
from tunewright.model.rendering import Renderer
from tunewright.training.batches import Example, Sampler, examples_digest, unwatched
from tunewright.training.methods import METHODS, Method, method_of

PAIRS = ("dpo", "orpo", "simpo", "reward")


def method(name: str, **options: Any) -> Method[Any, Any]:
    return method_of(TrainConfig.build({"dataset": "x", "method": name, **options}))


@pytest.fixture
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def taught(renderer: Renderer, example: Example) -> str:
    ids = [token for token, on in zip(example.ids, example.mask, strict=True) if on]
    return renderer.decode(ids)


def row(*turns: tuple[Any, str], **more: Any) -> Row:
    talk = conversation(*turns)
    return Row(conversation=talk, source=Source(file="a.csv", row=7), group="g", **more)


# sft -------------------------------------------------------------------------------------------


def test_what_sft_learns_can_be_chosen(renderer: Renderer) -> None:
    talk = row(("user", "fox?"), ("assistant", "dog"), ("user", "cat?"), ("assistant", "lazy"))
    found = {}
    for on in ("assistant", "last", "all"):
        (example,) = method("sft", sft={"loss_on": on}).examples([talk], renderer, unwatched)
        found[on] = taught(renderer, example)
        if on == "all":
            assert set(example.mask) == {1}
    assert found["assistant"] == "doglazy"
    assert found["last"] == "lazy"
    assert found["all"] == "user\nfox?\nassistant\ndog\nuser\ncat?\nassistant\nlazy\n"


def test_a_muted_last_answer_teaches_nothing(renderer: Renderer) -> None:
    talk = Conversation(
        messages=(
            Message(role="user", content="fox?"),
            Message(role="assistant", content="dog"),
            Message(role="user", content="cat?"),
            Message(role="assistant", content="lazy", weight=0),
        )
    )
    muted = Row(conversation=talk, source=Source(file="a.csv", row=7), group="g")
    assert method("sft", sft={"loss_on": "last"}).examples([muted], renderer, unwatched) == []
    (kept,) = method("sft").examples([muted], renderer, unwatched)
    assert taught(renderer, kept) == "dog"


# pretrain --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [16, 37, 4096])
def test_every_token_of_a_text_is_learnt_once(renderer: Renderer, batch_tokens: int) -> None:
    texts = passages(6)
    chosen = method("pretrain", batch_tokens=batch_tokens)
    pieces = chosen.examples(texts, renderer, unwatched)
    assert max(map(len, pieces)) <= min(batch_tokens, renderer.context_length)
    for index, text in enumerate(texts):
        whole = renderer.render_text(text.text).ids
        own = [piece for piece in pieces if piece.row == index]
        learnt = [token for piece in own for token in piece.ids[1:]]
        assert [own[0].ids[0], *learnt] == whole
        assert sum(piece.learnt for piece in own) == len(whole) - 1


def test_documents_of_text_are_packed_and_all_learnt(renderer: Renderer) -> None:
    chosen = method("pretrain")
    batch = chosen.collate(chosen.examples(passages(3), renderer, unwatched))
    assert batch.count == 3
    assert batch.supervised == batch.tokens - 3


# Pairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_one_question_with_both_answers(renderer: Renderer, name: str) -> None:
    rows = preferences(7)
    pairs = method(name).examples(rows, renderer, unwatched)
    assert [pair.rows for pair in pairs] == [(n,) for n in range(7)]
    for pair, source in zip(pairs, rows, strict=True):
        assert taught(renderer, pair.better) == source.conversation.answer
        assert taught(renderer, pair.worse) == source.rejected[0].content
        start = pair.better.mask.index(1)
        assert pair.better.ids[:start] == pair.worse.ids[:start]


@pytest.mark.parametrize("name", PAIRS)
def test_no_batch_holds_half_a_pair(renderer: Renderer, name: str) -> None:
    chosen = method(name)
    pairs = chosen.examples(preferences(40), renderer, unwatched)
    lengths = tuple(map(len, pairs))
    sampler = Sampler(lengths, max(lengths) - 1, seed=3)
    seen: list[int] = []
    for indices in sampler.epoch(0):
        batch = chosen.collate([pairs[index] for index in indices])
        assert batch.count == 2 * batch.pairs == 2 * len(indices)
        assert batch.rows[0::2] == batch.rows[1::2]
        assert batch.tokens < max(lengths) or batch.pairs == 1
        seen += batch.rows[0::2]
    assert sorted(seen) == list(range(40))
    # A pair that is longer than a batch stands alone.
    assert [lengths.index(max(lengths))] in sampler.epoch(0)


def test_pairs_that_say_the_same_are_left_out(renderer: Renderer) -> None:
    same = row(
        ("user", "fox?"), ("assistant", "dog"), rejected=(Message(role="assistant", content="dog"),)
    )
    rows = [*preferences(2), same]
    pairs = method("dpo").examples(rows, renderer, unwatched)
    assert [pair.rows for pair in pairs] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("better", "worse", "named"), [("", "dog", "better"), ("dog", " \n", "worse")]
)
def test_empty_answers_are_refused_by_name(
    renderer: Renderer, better: str, worse: str, named: str
) -> None:
    empty = row(
        ("user", "fox?"),
        ("assistant", better),
        rejected=(Message(role="assistant", content=worse),),
    )
    with pytest.raises(DataError, match=rf"a\.csv, row 7: its {named} answer is empty"):
        method("dpo").examples([empty], renderer, unwatched)


def test_a_worse_answer_beyond_the_context_is_named(renderer: Renderer) -> None:
    long = row(
        ("user", "fox?"),
        ("assistant", "dog"),
        rejected=(Message(role="assistant", content="fox " * 300),),
    )
    with pytest.raises(DataError, match=r"a\.csv, row 7: \d+ tokens, .* at most 256"):
        method("orpo").examples([long], renderer, unwatched)


def test_orpo_learns_questions_or_not(renderer: Renderer) -> None:
    counts = {}
    for on in ("all", "answer"):
        chosen = method("orpo", orpo={"loss_on": on})
        pairs = chosen.examples(preferences(3), renderer, unwatched)
        batch = chosen.collate(pairs)
        answers = batch.answers
        assert int(answers.sum()) == sum(pair.learnt for pair in pairs)
        counts[on] = batch.supervised
        labels = batch.labels[answers & (batch.documents == 0)]
        assert renderer.decode(labels.tolist()) == taught(renderer, pairs[0].better)
    questions = sum(len(pair.better) - 1 - pair.better.learnt for pair in pairs)
    assert counts["all"] == counts["answer"] + questions


# Ratings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 10, 11])
def test_every_rated_row_is_in_one_group_of_at_least_two(renderer: Renderer, count: int) -> None:
    rows = ratings(count)
    groups = method("kto").examples(rows, renderer, unwatched)
    assert sorted(place for group in groups for place in group.rows) == list(range(count))
    assert all(len(group.rows) in (2, 3) for group in groups)
    for group in groups:
        assert [rows[place].desirable for place in group.rows] == list(group.desirable)


def test_mismatched_pairs_swap_the_answers_of_a_group(renderer: Renderer) -> None:
    (group,) = method("kto").examples(ratings(3), renderer, unwatched)
    for place, crossed in enumerate(group.mismatched):
        own, other = group.answers[place], group.answers[place - 1]
        assert taught(renderer, crossed) == taught(renderer, other)
        start = own.mask.index(1)
        assert crossed.ids[:start] == own.ids[:start]
        assert crossed.ids[start:] == other.ids[other.mask.index(1) :]


def test_mismatched_pairs_end_where_the_base_stops_reading(renderer: Renderer) -> None:
    rows = [
        row(("user", "fox " * 100), ("assistant", "dog"), desirable=True),
        row(("user", "fox?"), ("assistant", "dog " * 90), desirable=False),
    ]
    (group,) = method("kto").examples(rows, renderer, unwatched)
    lengths = sorted(map(len, group.mismatched))
    assert lengths[1] == renderer.context_length
    assert all(example.learnt for example in group.mismatched)


def test_pairs_count_as_one_good_and_one_bad_answer(renderer: Renderer) -> None:
    groups = method("kto").examples(preferences(5), renderer, unwatched)
    assert sum(len(group.desirable) for group in groups) == 10
    assert sum(sum(group.desirable) for group in groups) == 5


def test_groups_follow_the_seed_and_ratings_change_the_digest(renderer: Renderer) -> None:
    rows = ratings(8)
    first = method("kto").examples(rows, renderer, unwatched)
    assert first == method("kto").examples(rows, renderer, unwatched)
    other = method("kto", seed=1).examples(rows, renderer, unwatched)
    assert [g.rows for g in first] != [g.rows for g in other]
    flipped = [r.model_copy(update={"desirable": not r.desirable}) for r in rows]
    changed = method("kto").examples(flipped, renderer, unwatched)
    assert examples_digest(first) != examples_digest(changed)


def test_an_answer_that_nobody_judged_is_refused(renderer: Renderer) -> None:
    with pytest.raises(DataError, match=r"a\.csv, row 7 does not judge its answer"):
        method("kto").examples([row(("user", "a"), ("assistant", "b"))], renderer, unwatched)


def test_uneven_ratings_come_with_the_weight_that_balances_them(renderer: Renderer) -> None:
    chosen = method("kto")

    def notes(good: int, bad: int, **weights: float) -> tuple[str, ...]:
        rows = [
            r.model_copy(update={"desirable": n < good}) for n, r in enumerate(ratings(good + bad))
        ]
        weighed = method("kto", kto=weights)
        return weighed.notes(weighed.examples(rows, renderer, unwatched))

    assert chosen.notes(chosen.examples(ratings(8), renderer, unwatched)) == ()
    assert notes(6, 2) == ("6 good and 2 bad answers; kto.undesirable_weight=3 would balance them",)
    assert notes(6, 2, undesirable_weight=3) == ()
    assert notes(2, 6) == ("2 good and 6 bad answers; kto.desirable_weight=3 would balance them",)
    assert notes(4, 0) == ("4 good and 0 bad answers: KTO learns best from both",)


# All -------------------------------------------------------------------------------------------


def test_batches_move_as_a_whole(renderer: Renderer) -> None:
    chosen = method("kto")
    (group,) = chosen.examples(ratings(2), renderer, unwatched)
    (group,) = chosen.refer([group], [[1.0, 2.0, 3.0, 4.0]])
    moved = chosen.collate([group]).to(torch.device("meta"))
    assert moved.input_ids.is_meta
    assert moved.documents.is_meta
    assert moved.reference.is_meta
    assert moved.mismatched.labels.is_meta
    # Attention reads the boundaries on the CPU.
    assert moved.cu_seqlens.tolist()[0] == moved.mismatched.cu_seqlens.tolist()[0] == 0


def test_every_method_has_its_defaults_and_reasons() -> None:
    for name, chosen in METHODS.items():
        assert chosen.epochs > 0
        for parameters in (4_000_000, 7_000_000_000):
            share, reason = chosen.rate.at(parameters)
            assert 0 < share <= 1
            assert share == 1 or reason, name
        assert chosen.epochs == 3 or chosen.epochs_reason, name


def test_steps_that_see_too_little_are_told(renderer: Renderer) -> None:
    for name, make, each in (("dpo", preferences, "pairs"), ("kto", ratings, "answers")):
        narrow = method(name, batch_tokens=64)
        (note,) = narrow.notes(narrow.examples(make(20), renderer, unwatched))
        assert note.startswith(
            ("a step sees few pairs, about 1;", "a step sees few answers, about 2;")
        )
        wanted = int(note.partition("batch_tokens=")[2].split()[0])
        wide = method(name, batch_tokens=wanted)
        units = wide.examples(make(20), renderer, unwatched)
        assert wide.notes(units) == ()
        seen = [len(batch) for batch in Sampler(tuple(map(len, units)), wanted, 0).epoch(0)]
        assert each in note
        assert max(seen) * (2 if name == "kto" else 1) >= 8
