"""Runs the checks over the rows: each sees what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import ConfigError
from tunewright.core.events import Event, Listener, ignore
from tunewright.data.checks.base import Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.table import CHECKS
from tunewright.data.collect import Collection
from tunewright.data.records import Changed, Draft
from tunewright.model.rendering import Renderer

Choose = Callable[[Check, Finding], str]
"""Asked about each finding that offers a choice; gives the action to take."""


def as_recommended(check: Check, finding: Finding) -> str:
    """The action that the finding was made with."""
    return finding.action


def run_checks(
    collection: Collection,
    config: PrepareConfig,
    renderer: Renderer,
    choose: Choose = as_recommended,
    listen: Listener = ignore,
    checks: Iterable[Check] = CHECKS,
) -> list[Finding]:
    """Let every check look at the training rows and do what its action says.

    Only training rows are changed or left out; rows of named test sets are looked at by the
    checks that compare with them. ``collection`` is changed in place and stays accounted for.

    Returns:
        The findings, in the order of the checks.
    """
    context = Context(config, renderer, tuple(collection.test))
    corpus = Corpus(collection.train)
    findings: list[Finding] = []
    wanted = list(checks)
    for done, check in enumerate(wanted):
        listen(Event(kind="progress", data={"stage": "check", "done": done, "total": len(wanted)}))
        if not corpus.drafts or corpus.drafts[0].kind not in check.kinds:
            continue
        outcome = _decided(check, corpus, context, choose)
        if outcome.finding is not None:
            findings.append(outcome.finding)
        corpus = _applied(outcome, corpus, collection, check.name)
    listen(
        Event(kind="progress", data={"stage": "check", "done": len(wanted), "total": len(wanted)})
    )
    return findings


def _decided(check: Check, corpus: Corpus, context: Context, choose: Choose) -> Outcome:
    """The outcome under the config's action, or under the one chosen when it leaves that open."""
    asked = getattr(context.config.checks, check.name, None)
    action = asked or check.actions[0]
    if action not in check.actions:
        raise ConfigError(
            f"option 'checks.{check.name}': {action!r} is not one of its actions",
            f"Allowed: {', '.join(check.actions)}.",
        )
    outcome = check.run(corpus, action, context)
    if asked or outcome.finding is None or len(check.actions) == 1:
        return outcome
    chosen = choose(check, outcome.finding)
    return outcome if chosen == action else check.run(corpus, chosen, context)


def _applied(outcome: Outcome, corpus: Corpus, collection: Collection, name: str) -> Corpus:
    """Do what an outcome says; the rows that then stand, with the columns that still hold."""
    drafts = collection.train
    for change in outcome.changes:
        draft = drafts[change.index]
        draft.turns = change.turns
        if change.rejected is not None:
            draft.rejected = change.rejected
        collection.changed.append(Changed(draft.file, draft.number, name, change.detail))
    if outcome.clusters is not None:
        _regroup(drafts, outcome.clusters)
    if not outcome.drops:
        return Corpus(drafts) if outcome.changes else corpus
    gone = set()
    for drop in outcome.drops:
        kept = None if drop.kept is None else drafts[drop.kept]
        collection.drop(drafts[drop.index], drop.reason, drop.detail, kept)
        gone.add(drop.index)
    rest = (Corpus(drafts) if outcome.changes else corpus).without(gone)
    collection.train = list(rest.drafts)
    return rest


def _regroup(drafts: list[Draft], clusters: Sequence[int]) -> None:
    """Groups that a cluster touches become one, named after the first row's, in one split."""
    joints = [
        (drafts[row].group, drafts[first].group)
        for row, first in enumerate(clusters)
        if row != first
    ]
    touched = {name for joint in joints for name in joint}
    order: dict[str, int] = {}
    for place, draft in enumerate(drafts):
        if draft.group in touched:
            order.setdefault(draft.group, place)
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while (above := parent.get(name, name)) != name:
            parent[name] = parent.get(above, above)
            name = above
        return name

    for joint in joints:
        one, other = map(find, joint)
        if one != other:
            early, late = sorted((one, other), key=order.__getitem__)
            parent[late] = early
    for draft in drafts:
        if draft.group in parent:
            draft.group = find(draft.group)
