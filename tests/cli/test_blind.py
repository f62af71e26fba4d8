"""``blind`` on the command line: make, list, show, import, results, delete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.evaluation.blind.conftest import write_evaluation

from tunewright.cli.blind import blind
from tunewright.core.errors import DataError, NotFoundError
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, read_items


def run(store: Store, *words: str) -> Result:
    command = [*words, "--home", str(store.home), "--json"]
    return CliRunner().invoke(blind, command, catch_exceptions=True)


@pytest.fixture
def session(store: Store) -> BlindSession:
    """Made by the command."""
    write_evaluation(store, 24)
    made = run(store, "create", "--questions", "12", "--no-reference")
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    found = store.get(BlindSession, facts["id"])
    assert facts["path"] == f"/blind/{found.token}"
    assert Path(facts["offline"]).is_file()
    assert "seed" not in facts
    assert found.token in made.stderr
    assert "12 questions" in made.stderr
    return found


def ballot(store: Store, session: BlindSession, voter: str, path: Path) -> Path:
    """A file in which everybody prefers the second model."""
    votes = [
        {"question": item.id, "choice": "a" if item.flipped else "b", "cast": 1.0}
        for item in read_items(store, session)
    ]
    value = {"format": "tunewright-blind-votes", "version": 1, "session": session.id}
    path.write_text(json.dumps({**value, "voter": voter, "votes": votes}), encoding="utf-8")
    return path


def test_from_making_to_deleting(store: Store, session: BlindSession, tmp_path: Path) -> None:
    files = [ballot(store, session, name, tmp_path / f"{name}.json") for name in ("Wang", "李")]
    added = json.loads(run(store, "import", session.id, *map(str, files)).stdout)
    assert added["new"] == {"Wang": 12, "李": 12}
    listed = run(store, "list")
    assert json.loads(listed.stdout)["sessions"][0]["votes"] == {"Wang": 12, "李": 12}
    shown = run(store, "show", session.id)
    assert "李: 12 of 12" in shown.stderr
    told = run(store, "results", "--lang", "zh")
    facts = json.loads(told.stdout)
    assert facts["conclusion"] == "better"
    assert facts["agreement"][0]["kappa"] == 1.0
    assert "专家更认可" in told.stderr
    assert "专家更认可" in Path(facts["report"]).read_text(encoding="utf-8")
    assert json.loads(run(store, "delete", session.id).stdout) == {"deleted": session.id}
    assert store.list(BlindSession) == []
    assert not store.folder(BlindSession, session.id).exists()


def test_one_wrong_file_keeps_the_others_out(
    store: Store, session: BlindSession, tmp_path: Path
) -> None:
    good = ballot(store, session, "Wang", tmp_path / "good.json")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]", encoding="utf-8")
    refused = run(store, "import", session.id, str(good), str(wrong))
    assert isinstance(refused.exception, DataError)
    assert json.loads(run(store, "show", session.id).stdout)["votes"] == {}


def test_what_is_not_there_is_named(store: Store) -> None:
    assert isinstance(run(store, "create", "ev_nowhere").exception, NotFoundError)
    assert isinstance(run(store, "results").exception, NotFoundError)
    assert "no blind sessions yet" in run(store, "list").stderr
