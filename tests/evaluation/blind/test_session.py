"""Sessions: drawn and shuffled at random, and nothing that a voter sees tells whose is what."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from pydantic import ValidationError
from tests.evaluation.blind.conftest import BASE, EQUAL, TUNED, MakeSession

from tunewright.config.judging import BlindConfig
from tunewright.core.errors import ConfigError, DataError, InputError, NotFoundError
from tunewright.core.records import Evaluation
from tunewright.core.store import Store
from tunewright.evaluation.blind.create import create_session
from tunewright.evaluation.blind.page import served_page
from tunewright.evaluation.blind.session import BlindSession, offline_file, read_items, session_of


def test_a_session_is_drawn_from_what_differs(store: Store, make_session: MakeSession) -> None:
    session = make_session(questions=100)
    items = read_items(store, session)
    assert session.questions == len(items) == 24 - EQUAL
    assert session.equal == EQUAL
    assert all(int(item.row) < 20 for item in items)
    assert [item.row for item in items] != sorted((item.row for item in items), key=int)
    assert Counter(item.flipped for item in items) == {True: 10, False: 10}
    for item in items:
        base, tuned = f"na says {item.row}", f"ft says {item.row}"
        assert (item.a, item.b) == ((tuned, base) if item.flipped else (base, tuned))
        assert [turn.role for turn in item.turns] == ["system", "user"]
        assert item.reference == f"参考 {item.row}"


def test_every_group_gives_one_before_any_gives_two(
    store: Store, make_session: MakeSession
) -> None:
    items = read_items(store, make_session(questions=10))
    assert len({item.group for item in items}) == 10


def test_two_sessions_have_nothing_in_common(store: Store, make_session: MakeSession) -> None:
    first = make_session()
    second = create_session(BlindConfig(evaluation=first.evaluation), store)
    assert first.token != second.token
    ones, others = read_items(store, first), read_items(store, second)
    assert not {item.id for item in ones} & {item.id for item in others}
    assert [item.row for item in ones] != [item.row for item in others]
    assert session_of(store, second.token) == second
    with pytest.raises(NotFoundError):
        session_of(store, second.token[:-1])
    assert store.children(first.evaluation) == [first.id, second.id]
    with pytest.raises(InputError, match="still needed"):
        store.delete(Evaluation, first.evaluation)


@pytest.mark.parametrize("reference", [True, False])
def test_the_page_knows_nothing_that_tells(
    store: Store, make_session: MakeSession, reference: bool
) -> None:
    session = make_session(reference=reference)
    text = offline_file(store, session).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="session">(.*?)</script>', text)
    assert found is not None
    data = json.loads(found[1])
    assert set(data) == {"session", "questions"}
    for question in data["questions"]:
        assert set(question) == {"id", "turns", "reference", "a", "b"}
        assert (question["reference"] is not None) is reference
    for secret in (session.seed, session.token, session.evaluation, TUNED, "flipped", '"row"'):
        assert secret not in text
    # Sides and ids are as good as thrown: neither follows from the other.
    ids = [item.id for item in read_items(store, session)]
    assert all(re.fullmatch("[0-9a-f]{12}", one) for one in ids)
    assert len(set(ids)) == len(ids)


def test_hostile_answers_stay_text(store: Store, make_session: MakeSession) -> None:
    attack = "</script><script>window.hacked=1</script><!--<script>\u2028&lt;"
    session = make_session(hostile=attack)
    text = offline_file(store, session).read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 3
    assert "<!--" not in text
    data = re.search(r'id="session">(.*?)</script>', text)
    assert data is not None
    assert attack in json.loads(data[1])["questions"][0]["a"]


def test_pages_let_no_inline_script_run() -> None:
    page = served_page("zh")
    assert '<html lang="zh-CN">' in page
    assert re.findall(r"<script(?! type=\"application/json\")[^>]*>", page) == [
        '<script src="assets/blind.js">'
    ]
    assert "style=" not in page


def test_what_cannot_be_compared_is_refused(store: Store, make_session: MakeSession) -> None:
    session = make_session()
    with pytest.raises(ConfigError, match="did not ask 'other'"):
        create_session(BlindConfig(evaluation=session.evaluation, models=(BASE, "other")), store)
    with pytest.raises(NotFoundError):
        create_session(BlindConfig(evaluation="ev_nowhere"), store)
    for models in ((BASE,), (BASE, BASE)):
        with pytest.raises(ValidationError, match="two different"):
            BlindConfig(models=models)
    assert len(store.list(BlindSession)) == 1


def test_equal_answers_leave_nothing_to_vote_on(store: Store, make_session: MakeSession) -> None:
    with pytest.raises(DataError, match="the same"):
        make_session(rows=EQUAL)
    assert store.list(BlindSession) == []
