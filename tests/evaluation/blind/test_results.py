"""What votes come to: unblinded, with intervals, agreement, and how many more would do."""

from __future__ import annotations

import json

import pytest
from tests.evaluation.blind.conftest import BASE, TUNED, Cast, MakeSession, box_of

from tunewright.core.store import Store
from tunewright.evaluation.blind.results import unblind
from tunewright.evaluation.blind.results_page import render, write_results
from tunewright.evaluation.blind.session import BlindSession, read_items
from tunewright.evaluation.blind.votes import Vote
from tunewright.evaluation.statistics.agreement import fleiss_kappa

HOSTILE = "</td><script>window.hacked=1</script>{{ 7*7 }}"


def test_votes_are_told_apart_by_whose_answer_was_where(
    store: Store, make_session: MakeSession, cast: Cast
) -> None:
    session = make_session()
    cast(session, "Wang", ["tuned"] * 16 + ["good", "bad", "base", "base"])
    told = unblind(store, session)
    seen = told.overall.seen
    assert seen is not None
    assert (seen.wins, seen.ties, seen.losses) == (16, 2, 2)
    assert told.overall.share == pytest.approx(17 / 20)
    assert (told.overall.good, told.overall.bad) == (1, 1)
    assert told.conclusion == "better"
    assert told.more == 0
    assert told.experts["Wang"].seen == seen
    low, high = told.overall.interval or (0, 0)
    assert 0.5 < low < 0.85 < high <= 1


def test_the_same_votes_for_the_other_side(
    store: Store, make_session: MakeSession, cast: Cast
) -> None:
    session = make_session()
    cast(session, "Wang", ["base"] * 18 + ["good"] * 2)
    assert unblind(store, session).conclusion == "worse"


def test_too_few_votes_say_how_many_more(
    store: Store, make_session: MakeSession, cast: Cast
) -> None:
    session = make_session()
    none = unblind(store, session)
    assert (none.conclusion, none.overall.seen, none.more) == ("open", None, 20)
    assert "Nobody has voted" in render(none, "en")
    cast(session, "Wang", ["tuned"] * 6 + ["base"] * 4)
    told = unblind(store, session)
    assert told.conclusion == "open"
    assert told.more > 50
    assert f"About {told.more} more questions" in render(told, "en")


def test_a_question_counts_by_the_mean_of_its_votes(
    store: Store, make_session: MakeSession, cast: Cast
) -> None:
    session = make_session()
    cast(session, "Wang", ["tuned", "tuned", "base"])
    cast(session, "Li", ["tuned", "base", "base"])
    cast(session, "Zhang", ["good", "good", "tuned"])
    told = unblind(store, session)
    seen = told.overall.seen
    assert seen is not None
    assert (seen.questions, seen.wins, seen.ties, seen.losses) == (3, 1, 1, 1)
    assert seen.score == pytest.approx((2.5 / 3 + 0.5 + 1 / 3) / 3)


def test_agreement_of_two_of_three_and_with_the_judge(
    store: Store, make_session: MakeSession, cast: Cast
) -> None:
    session = make_session()
    items = read_items(store, session)
    # As the judge of the evaluation has it: even rows for the tuned model.
    right = ["tuned" if int(item.row) % 2 == 0 else "base" for item in items]
    cast(session, "Wang", right)
    cast(session, "Li", ["base" if want == "tuned" else "tuned" for want in right[:10]])
    told = unblind(store, session)
    assert told.fleiss is None
    (pair,) = told.pairs
    assert (pair.first, pair.second, pair.questions, pair.share) == ("Li", "Wang", 10, 0.0)
    assert pair.kappa < 0
    (judge,) = told.judges
    # On the ten that both voted on the majority is a tie.
    assert (judge.first, judge.questions, judge.share) == ("judge@somewhere", 20, 0.5)
    cast(session, "Zhang", right)
    three = unblind(store, session)
    assert three.fleiss is not None
    assert three.fleiss[1] == 20
    assert three.judges[0].share == 1.0
    assert three.judges[0].kappa == 1.0


def test_page_and_json(store: Store, make_session: MakeSession, cast: Cast) -> None:
    session = make_session(hostile=HOSTILE)
    cast(session, "Wang", ["tuned"] * 20)
    first = read_items(store, session)[0]
    comment = Vote(question=first.id, choice="bad", comment=HOSTILE, cast=2000)
    box_of(store, session).add(HOSTILE[:60], [comment])
    told = unblind(store, session)
    for language, word in (("en", "Better"), ("zh", "更好")):
        path = write_results(store, told, language)
        page = path.read_text(encoding="utf-8")
        assert word in page
        assert TUNED in page
        assert BASE in page
        assert "<script" not in page
        assert "&lt;script&gt;" in page
    facts = json.loads((path.parent / "results.json").read_text(encoding="utf-8"))
    assert facts["conclusion"] == "better"
    assert facts["overall"]["wins"] == 20
    assert len(facts["votes"]) == 20
    assert facts["votes"][0]["votes"]["Wang"]["outcome"] == 1.0
    assert store.folder(BlindSession, session.id) == path.parent


def test_fleiss_kappa() -> None:
    # Fleiss (1971), the worked example as in its table: 10 subjects, 14 raters, 5 categories.
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0
    assert fleiss_kappa([[2, 0], [2, 0]]) == 1.0
    assert fleiss_kappa([[1, 1], [1, 1]]) == pytest.approx(-1.0)
    assert fleiss_kappa([[1, 0], [0, 1]]) is None
    # Without those that one judge alone saw, the others are what they were.
    assert fleiss_kappa([*table, [1, 0, 0, 0, 0]]) == fleiss_kappa(table)
