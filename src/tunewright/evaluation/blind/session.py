"""A session: questions with two answers each, shuffled so that nobody can tell whose they are."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from tunewright.core.errors import NotFoundError
from tunewright.core.records import Record
from tunewright.core.store import Store

ITEMS: Final = "session.json"
OFFLINE: Final = "offline.html"


class BlindSession(Record):
    """A blind comparison of two models; the folder holds questions, votes and pages."""

    kind: ClassVar[str] = "blind session"
    prefix: ClassVar[str] = "bs"
    folder: ClassVar[str] = "blind"

    evaluation: str
    models: tuple[str, str]
    """Who is compared, the baseline first."""
    questions: int
    equal: int
    """Questions of the evaluation that are not asked, since both gave the same answer."""
    token: str
    """What opens it in the server. Whoever reads it here can read the answers beside it, too."""
    seed: str
    """Of order and sides."""
    language: str

    def parents(self) -> tuple[str, ...]:
        return (self.evaluation,)


class Turn(BaseModel):
    """One message of a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    text: str


class Item(BaseModel):
    """One question to vote on; all but ``id``, ``turns``, ``reference``, ``a`` and ``b`` is secret.

    Attributes:
        id: means nothing outside the session.
        row: of the evaluation's question.
        group: of questions that belong together.
        turns: the question, with what was said before it.
        reference: what should have been said; None where voters may not see it.
        a: the answer shown first.
        b: the answer shown second.
        flipped: whether ``a`` is the challenger's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    row: str
    group: str
    turns: tuple[Turn, ...]
    reference: str | None
    a: str
    b: str
    flipped: bool

    def public(self) -> dict[str, Any]:
        """What a voter's page may know."""
        return self.model_dump(include={"id", "turns", "reference", "a", "b"})


def read_items(store: Store, session: BlindSession) -> list[Item]:
    """A session's questions in the order in which they are asked."""
    path = store.folder(BlindSession, session.id) / ITEMS
    return [Item.model_validate(value) for value in json.loads(path.read_text(encoding="utf-8"))]


def offline_file(store: Store, session: BlindSession) -> Path:
    """The page that needs no server."""
    return store.folder(BlindSession, session.id) / OFFLINE


def session_of(store: Store, token: str) -> BlindSession:
    """The session that a link's secret opens.

    Raises:
        NotFoundError: none.
    """
    found = None
    for session in store.list(BlindSession):
        # Each is compared in full, so that the time taken tells nothing.
        if hmac.compare_digest(session.token.encode(), token.encode()):
            found = session
    if found is None:
        raise NotFoundError("this link opens no session", "Ask whoever sent it for a new one.")
    return found
