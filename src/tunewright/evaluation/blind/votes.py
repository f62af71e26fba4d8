"""Votes: a journal in the session's folder, each vote on the disk before it counts as saved."""

from __future__ import annotations

import fcntl
import json
import os
import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tunewright.core.errors import DataError, InputError, StorageError
from tunewright.core.files import disk_errors
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession

VOTES: Final = "votes.jsonl"
FORMAT: Final = "tunewright-blind-votes"
_MOST_NAME = 64
_MOST_COMMENT = 2000
_MOST_JOURNAL_BYTES = 64 << 20
_MOST_FILE_BYTES = 16 << 20

Choice = Literal["a", "b", "good", "bad"]
"""The answer shown first, the one shown second, both good, both bad."""


def _named(name: str) -> str:
    """A voter's name as it is kept; two that look the same are the same."""
    kept = " ".join(unicodedata.normalize("NFKC", name).split())
    if not kept or len(kept) > _MOST_NAME or not kept.isprintable():
        raise ValueError(f"a name has 1 to {_MOST_NAME} characters that can be seen")
    return kept


Name = Annotated[str, AfterValidator(_named)]


class Vote(BaseModel):
    """What somebody said of one question; ``choice`` None takes it back.

    Attributes:
        question: id of the item.
        choice: by the sides that were shown.
        comment: in their own words.
        cast: Unix time; of several votes of one voter on one question, the last counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    choice: Choice | None
    comment: str = Field(default="", max_length=_MOST_COMMENT)
    cast: float = Field(ge=0, le=1e11, allow_inf_nan=False)


class Ballot(BaseModel):
    """The file that the offline page saves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tunewright-blind-votes"]
    version: Literal[1]
    session: str
    voter: Name
    votes: tuple[Vote, ...]


Votes = Mapping[str, Mapping[str, Vote]]
"""``{voter: {question: vote}}``, without those taken back."""


class Box:
    """One session's votes.

    Args:
        store: that holds the session.
        session: whose votes.
        questions: ids that can be voted on.
    """

    def __init__(self, store: Store, session: BlindSession, questions: Collection[str]) -> None:
        self._path = store.folder(BlindSession, session.id) / VOTES
        self._questions = frozenset(questions)

    def read(self) -> Votes:
        """The votes that count now."""
        found = {
            voter: {key: vote for key, vote in votes.items() if vote.choice is not None}
            for voter, votes in self._all().items()
        }
        return {voter: votes for voter, votes in found.items() if votes}

    def add(self, voter: str, votes: Sequence[Vote]) -> int:
        """Keep votes; on disk when this returns. The number of those that change something.

        Raises:
            InputError: a question that is not of this session, or too many votes.
            StorageError: the disk refuses.
        """
        strange = [vote.question for vote in votes if vote.question not in self._questions]
        if strange:
            raise InputError(f"this session has no question {strange[0][:64]!r}")
        with disk_errors(self._path), open(self._path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = self._all().get(voter, {})
            fresh = [vote for vote in votes if _newer(vote, known.get(vote.question))]
            if not fresh:
                return 0
            size = file.seek(0, os.SEEK_END)
            if size > _MOST_JOURNAL_BYTES:
                raise StorageError("this session takes no more votes: its journal is full")
            torn = size and not self._ends_well(size)
            lines = [json.dumps({"voter": voter, **vote.model_dump()}) + "\n" for vote in fresh]
            file.write((("\n" if torn else "") + "".join(lines)).encode())
            file.flush()
            os.fsync(file.fileno())
        return len(fresh)

    def _ends_well(self, size: int) -> bool:
        """Whether the last line is whole; a kill may have cut it off."""
        with open(self._path, "rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def _all(self) -> dict[str, dict[str, Vote]]:
        found: dict[str, dict[str, Vote]] = {}
        if not self._path.is_file():
            return found
        with open(self._path, "rb") as file:
            for line in file:
                entry = _entry(line)
                if entry is None:
                    continue
                voter, vote = entry
                votes = found.setdefault(voter, {})
                if _newer(vote, votes.get(vote.question)):
                    votes[vote.question] = vote
        return found


def _entry(line: bytes) -> tuple[str, Vote] | None:
    """A line of the journal; None for one that a kill cut off."""
    try:
        value = json.loads(line)
        return str(value.pop("voter")), Vote.model_validate(value)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _newer(vote: Vote, known: Vote | None) -> bool:
    return known is None or (vote.cast >= known.cast and vote != known)


def read_ballot(path: Path, session: BlindSession, questions: Collection[str]) -> Ballot:
    """A file of votes, checked.

    Raises:
        DataError: no such file, no ballot, another session's, or a question it does not have.
    """
    values = _read_json(path)
    try:
        ballot = Ballot.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(
            f"{path} is no file of votes: {where or 'it'}: {problem['msg']}",
            "It is what the button 'Save votes' of a session's offline page makes.",
        ) from None
    if ballot.session != session.id:
        raise DataError(
            f"{path} holds votes of session {ballot.session}, not of {session.id}",
            f"tunewright blind import {ballot.session} {path}",
        )
    twice = len({vote.question for vote in ballot.votes}) < len(ballot.votes)
    strange = {vote.question for vote in ballot.votes} - set(questions)
    if twice or strange:
        what = (
            f"names a question {min(strange)[:64]!r} that {session.id} does not have"
            if strange
            else "votes twice on one question"
        )
        raise DataError(f"{path} {what}", "Save the votes again on the offline page.")
    # A clock that is ahead must not make these votes win over later ones for ever.
    now = time.time()
    votes = [vote.model_copy(update={"cast": min(vote.cast, now)}) for vote in ballot.votes]
    return ballot.model_copy(update={"votes": tuple(votes)})


def _read_json(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_FILE_BYTES + 1)
        if len(data) > _MOST_FILE_BYTES:
            raise DataError(f"{path} is larger than {_MOST_FILE_BYTES} bytes; votes are not")
        return json.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is no file of votes: it is not JSON") from None
