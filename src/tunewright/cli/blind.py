"""``blind``: people compare two models' answers without knowing whose they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tunewright.cli.options import Common, common_options, config_options
from tunewright.cli.tables import listing
from tunewright.config.judging import BlindConfig
from tunewright.core.store import Store
from tunewright.evaluation.blind.session import BlindSession, offline_file, read_items
from tunewright.evaluation.blind.votes import Box, read_ballot

_PORT = 8000

blind = click.Group(
    "blind", help="People vote on two models' answers without knowing whose they are."
)


@blind.command("create", epilog="Example: tunewright blind create latest --questions 60")
@click.argument("evaluation", default="latest")
@config_options(BlindConfig, skip=("evaluation",))
@common_options
def create(common: Common, evaluation: str, values: dict[str, Any]) -> None:
    """Make a session from an EVALUATION's answers: a link for `tunewright serve`, and one file
    that needs no network."""
    config = BlindConfig.build({**values, "evaluation": evaluation})
    store = common.store()
    session = make_session(config, store)
    print_session(session, store)
    common.finish(_facts(session, store))


def make_session(config: BlindConfig, store: Store) -> BlindSession:
    """A new session; what this needs is imported only now."""
    from tunewright.evaluation.blind.create import create_session

    return create_session(config, store)


def print_session(session: BlindSession, store: Store) -> None:
    """What to do with a session."""
    said = [
        f"Blind session {session.id}: {session.questions} questions, "
        f"{' vs '.join(session.models)} ({session.equal} with equal answers left out)",
        f"  With `tunewright serve`, experts vote at http://127.0.0.1:{_PORT}/blind/{session.token}"
        " (on another machine: its address; whoever has the link can vote)",
        f"  Without a network: send {offline_file(store, session)};"
        f" then tunewright blind import {session.id} FILE",
        f"Next: tunewright blind results {session.id}",
    ]
    for line in said:
        click.echo(line, err=True)


@blind.command("list")
@common_options
def list_sessions(common: Common) -> None:
    """All sessions, newest first, with their votes so far."""
    store = common.store()
    sessions = store.list(BlindSession)
    table = listing("id", "models", "evaluation", "questions", "votes", "created")
    for session in sessions:
        voted = "\n".join(f"{name}: {count}" for name, count in _voted(store, session).items())
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(session.created))
        table.add_row(
            *(session.id, " vs ".join(session.models), session.evaluation),
            *(str(session.questions), voted, when),
        )
    Console(stderr=True).print(table if sessions else "There are no blind sessions yet.")
    common.finish({"sessions": [_facts(session, store) for session in sessions]})


@blind.command("show")
@click.argument("session")
@common_options
def show(common: Common, session: str) -> None:
    """A SESSION's link, its offline file and who has voted on how many questions."""
    store = common.store()
    found = store.get(BlindSession, session)
    print_session(found, store)
    for name, count in _voted(store, found).items():
        click.echo(f"  {name}: {count} of {found.questions}", err=True)
    common.finish(_facts(found, store))


@blind.command("import")
@click.argument("session")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@common_options
def import_votes(common: Common, session: str, files: tuple[Path, ...]) -> None:
    """Add the votes in FILES, saved by a SESSION's offline page; the same file twice counts once.

    A file that is wrong is refused as a whole, and so are the others given with it.
    """
    store = common.store()
    found = store.get(BlindSession, session)
    questions = [item.id for item in read_items(store, found)]
    ballots = [read_ballot(path, found, questions) for path in files]
    box = Box(store, found, questions)
    counts: dict[str, int] = {}
    for ballot in ballots:
        fresh = box.add(ballot.voter, ballot.votes)
        counts[ballot.voter] = counts.get(ballot.voter, 0) + fresh
        click.echo(f"{ballot.voter}: {fresh} of {len(ballot.votes)} votes are new.", err=True)
    common.finish({"session": found.id, "new": counts, "votes": _voted(store, found)})


@blind.command("results", epilog="The page and results.json are in the session's folder.")
@click.argument("session", default="latest")
@common_options
def results(common: Common, session: str) -> None:
    """Whose answers were preferred in a SESSION: unblinded, with a sign test and intervals."""
    from tunewright.core.language import Sentences
    from tunewright.evaluation.blind.results import unblind
    from tunewright.evaluation.blind.results_page import headline, summary_lines, write_results
    from tunewright.evaluation.wording.blind import RESULTS

    store = common.store()
    told = unblind(store, store.get(BlindSession, session))
    language = common.language or told.session.language
    page = write_results(store, told, language)
    t = Sentences(RESULTS, language)
    for line in (headline(told, t), *summary_lines(told, t)):
        click.echo(line, err=True)
    click.echo(f"Results: {page}", err=True)
    facts = told.json()
    facts.pop("votes")
    common.finish({**facts, "report": str(page)})


@blind.command("delete")
@click.argument("session")
@common_options
def delete(common: Common, session: str) -> None:
    """Remove a SESSION with its votes."""
    store = common.store()
    found = store.get(BlindSession, session)
    store.delete(BlindSession, found.id)
    click.echo(f"Deleted blind session {found.id}.", err=True)
    common.finish({"deleted": found.id})


def _voted(store: Store, session: BlindSession) -> dict[str, int]:
    """``{voter: questions voted on}``."""
    questions = [item.id for item in read_items(store, session)]
    return {name: len(own) for name, own in Box(store, session, questions).read().items()}


def _facts(session: BlindSession, store: Store) -> dict[str, Any]:
    """For --json; the seed stays in the home."""
    return {
        **session.model_dump(mode="json", exclude={"seed"}),
        "path": f"/blind/{session.token}",
        "offline": str(offline_file(store, session)),
        "votes": _voted(store, session),
    }
