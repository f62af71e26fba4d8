"""Votes: the last of each voter counts, files are checked, and a kill loses none that was saved."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.blind.conftest import MakeSession, box_of

from tunewright.core.errors import DataError, InputError
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, read_items
from tunewright.evaluation.blind.votes import Vote, read_ballot


def test_the_last_vote_counts_and_can_be_taken_back(
    store: Store, make_session: MakeSession
) -> None:
    session = make_session()
    box, (first, second, *_) = box_of(store, session), read_items(store, session)
    assert box.add("Wang", [Vote(question=first.id, choice="a", comment="好", cast=10)]) == 1
    assert box.add("Wang", [Vote(question=first.id, choice="b", cast=20)]) == 1
    assert box.add("Wang", [Vote(question=first.id, choice="a", cast=15)]) == 0
    assert box.add("Li", [Vote(question=first.id, choice="good", cast=5)]) == 1
    assert box.add("Li", [Vote(question=second.id, choice="bad", cast=6)]) == 1
    assert box.add("Li", [Vote(question=second.id, choice=None, cast=7)]) == 1
    kept = box_of(store, session).read()
    assert {name: [vote.choice for vote in own.values()] for name, own in kept.items()} == {
        "Wang": ["b"], "Li": ["good"],
    }  # fmt: skip
    with pytest.raises(InputError, match="no question 'elsewhere'"):
        box.add("Li", [Vote(question="elsewhere", choice="a", cast=8)])


def test_a_torn_line_costs_only_itself(store: Store, make_session: MakeSession) -> None:
    session = make_session()
    box, (first, second, *_) = box_of(store, session), read_items(store, session)
    box.add("Wang", [Vote(question=first.id, choice="a", cast=1)])
    journal = store.folder(BlindSession, session.id) / "votes.jsonl"
    with open(journal, "ab") as file:
        file.write(b'{"voter": "Wang", "question": "')
    box.add("Wang", [Vote(question=second.id, choice="b", cast=2)])
    assert set(box.read()["Wang"]) == {first.id, second.id}


VOTER = """
import json, sys
from pathlib import Path
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, read_items
from tunewright.evaluation.blind.votes import Box, Vote

store = Store(Path(sys.argv[1]))
session = store.get(BlindSession, sys.argv[2])
ids = [item.id for item in read_items(store, session)]
box = Box(store, session, ids)
for number, question in enumerate(ids):
    box.add(sys.argv[3], [Vote(question=question, choice="a", cast=float(number))])
print("torch" in sys.modules)
"""


def test_voters_in_several_processes_lose_nothing(store: Store, make_session: MakeSession) -> None:
    session = make_session()
    names = ["Wang", "Li", "Zhang"]
    voters = [
        subprocess.Popen(
            [sys.executable, "-c", VOTER, str(store.home), session.id, name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    assert [voter.communicate()[0] for voter in voters] == ["False\n"] * len(names)
    kept = box_of(store, session).read()
    assert {name: len(kept[name]) for name in names} == dict.fromkeys(names, session.questions)


# Files of votes --------------------------------------------------------------------------------


def ballot(session: BlindSession, votes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "format": "tunewright-blind-votes", "version": 1, "session": session.id,
        "voter": " 王  老师 ", "votes": votes, **more,
    }  # fmt: skip


def test_importing_twice_counts_once(
    store: Store, make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    ids = [item.id for item in read_items(store, session)]
    path = tmp_path / "votes.json"
    votes = [{"question": one, "choice": "a", "comment": "", "cast": 5.0} for one in ids[:3]]
    path.write_text(json.dumps(ballot(session, votes)), encoding="utf-8-sig")
    read = read_ballot(path, session, ids)
    assert read.voter == "王 老师"
    box = box_of(store, session)
    assert [box.add(read.voter, read.votes) for _ in range(2)] == [3, 0]


def test_a_clock_that_is_ahead_does_not_win_for_ever(
    store: Store, make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    (question, *ids) = [item.id for item in read_items(store, session)]
    path = tmp_path / "votes.json"
    path.write_text(
        json.dumps(ballot(session, [{"question": question, "choice": "a", "cast": 9e9}]))
    )
    read = read_ballot(path, session, [question, *ids])
    box = box_of(store, session)
    box.add("Wang", read.votes)
    box.add("Wang", [Vote(question=question, choice="b", cast=time.time())])
    assert box.read()["Wang"][question].choice == "b"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"session": "bs_000000000000"}, "not of bs_"),
        ({"format": "else"}, "format"),
        ({"version": 2}, "version"),
        ({"voter": "  "}, "a name has 1 to 64"),
        ({"voter": "x" * 65}, "a name has 1 to 64"),
        ({"extra": 1}, "extra"),
        ({"votes": [{"question": "nowhere", "choice": "a", "cast": 1}]}, "'nowhere' that bs_"),
        ({"votes": [{"question": "q", "choice": "c", "cast": 1}]}, "choice"),
        ({"votes": [{"question": "q", "choice": "a", "cast": -1}]}, "cast"),
        (
            {"votes": [{"question": "q", "choice": "a", "cast": 1, "comment": "x" * 2001}]},
            "comment",
        ),
        ({"votes": [{"question": "Q0", "choice": "a", "cast": 1}] * 2}, "twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    store: Store, make_session: MakeSession, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    session = make_session()
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(ballot(session, [], **{}) | change))
    with pytest.raises(DataError, match=says):
        read_ballot(path, session, ["Q0"])


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_file_of_votes_is_named(
    store: Store, make_session: MakeSession, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "votes.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"votes\.json"):
        read_ballot(path, make_session(), ["Q0"])
