"""Seeded sentence grammars read from tab-separated tables.

A grammar line may hold ``[a|b|c]`` (one alternative is drawn) and ``{slot}`` (a named list of
alternatives, local to its topic or global). Everything is parsed once; drawing only walks tuples.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tunewright.core.errors import DataError

_OPENERS = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Choice:
    """One place in a sentence where one of several sequences is drawn, all equally likely."""

    options: tuple[Sequence, ...]


@dataclass(frozen=True)
class Sequence:
    """Literal pieces and choices, drawn from left to right."""

    parts: tuple[str | Choice, ...]


@dataclass(frozen=True)
class Topic:
    """One thing people talk about: its name, its plain sentence and the ways to say it."""

    name: str
    area: str
    label: str
    plain: str
    patterns: tuple[Sequence, ...]
    sentences: tuple[Sequence, ...]
    keywords: tuple[Sequence, ...]


def draw(node: Sequence, rng: random.Random) -> str:
    """One sentence of ``node``."""
    out: list[str] = []
    _draw_into(node, rng, out)
    return "".join(out)


def _draw_into(node: Sequence, rng: random.Random, out: list[str]) -> None:
    for part in node.parts:
        if isinstance(part, str):
            out.append(part)
        else:
            options = part.options
            _draw_into(options[int(rng.random() * len(options))], rng, out)


def split_options(text: str) -> list[str]:
    """Split ``text`` at the bars that stand outside any bracket."""
    options, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char in _OPENERS:
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "|" and depth == 0:
            options.append(text[start:index])
            start = index + 1
    options.append(text[start:])
    return options


def parse(text: str, slots: Mapping[str, Choice]) -> Sequence:
    """Parse one grammar line; an unknown slot or an open bracket is a ``DataError``."""
    parts: list[str | Choice] = []
    literal = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char not in _OPENERS:
            literal += char
            index += 1
            continue
        end = _closing(text, index)
        if literal:
            parts.append(literal)
            literal = ""
        body = text[index + 1 : end]
        parts.append(_slot(body, slots, text) if char == "{" else parse_choice(body, slots))
        index = end + 1
    if literal:
        parts.append(literal)
    return Sequence(tuple(parts))


def parse_choice(text: str, slots: Mapping[str, Choice]) -> Choice:
    """Parse alternatives separated by bars."""
    return Choice(tuple(parse(option, slots) for option in split_options(text)))


def _slot(name: str, slots: Mapping[str, Choice], line: str) -> Choice:
    if name not in slots:
        raise DataError(f"grammar line {line!r}: unknown slot {name!r}; define it before its use")
    return slots[name]


def _closing(text: str, start: int) -> int:
    opener, closer = text[start], _OPENERS[text[start]]
    depth = 0
    for index in range(start, len(text)):
        if text[index] == opener:
            depth += 1
        elif text[index] == closer:
            depth -= 1
            if depth == 0:
                return index
    raise DataError(f"grammar line {text!r}: {opener!r} at {start} is not closed; add {closer!r}")


def read_rows(path: Path) -> list[list[str]]:
    """The non-empty rows of a tab-separated table, without lines that start with ``#``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]


def read_slots(path: Path) -> dict[str, Choice]:
    """Global slots: one row each, the name and the alternatives."""
    slots: dict[str, Choice] = {}
    for name, body in read_rows(path):
        slots[name] = parse_choice(body, slots)
    return slots


def read_topics(
    path: Path, slots: Mapping[str, Choice], known: Mapping[str, tuple[str, str]]
) -> list[Topic]:
    """Topics of one table.

    A topic starts with ``@ name area [label plain]``; label and plain sentence default to those
    of ``known`` (name -> label, description). Rows ``= slot alternatives`` define slots, and
    ``p``, ``s`` and ``k`` rows give patterns, free-standing sentences and keyword forms.
    """
    topics: list[Topic] = []
    block: list[list[str]] = []
    for row in read_rows(path):
        if row[0] == "@" and block:
            topics.append(_topic(block, slots, known, path))
            block = []
        block.append(row)
    if block:
        topics.append(_topic(block, slots, known, path))
    return topics


def widen(topics: list[Topic], path: Path, slots: Mapping[str, Choice]) -> list[Topic]:
    """``topics`` with the further patterns of a table: one row each, a name and patterns."""
    more = dict(read_rows(path))
    unknown = set(more) - {topic.name for topic in topics}
    if unknown:
        raise DataError(f"{path.name}: no topic is named {sorted(unknown)}; correct the names")
    return [
        replace(topic, patterns=topic.patterns + _parse_all(more.get(topic.name, ""), slots))
        for topic in topics
    ]


def _parse_all(text: str, slots: Mapping[str, Choice]) -> tuple[Sequence, ...]:
    return tuple(parse(option, slots) for option in split_options(text) if option)


def _topic(
    block: list[list[str]],
    slots: Mapping[str, Choice],
    known: Mapping[str, tuple[str, str]],
    path: Path,
) -> Topic:
    head = block[0]
    if head[0] != "@" or len(head) not in (3, 5):
        raise DataError(f"{path.name}: row {head!r} must be '@ name area [label plain]'")
    label, plain = (head[3], head[4]) if len(head) == 5 else known[head[1]]
    local = dict(slots)
    lines: dict[str, list[Sequence]] = {"p": [], "s": [], "k": []}
    for row in block[1:]:
        if row[0] == "=" and len(row) == 3:
            local[row[1]] = parse_choice(row[2], local)
        elif row[0] in lines and len(row) == 2:
            lines[row[0]] += [parse(text, local) for text in split_options(row[1])]
        else:
            raise DataError(f"{path.name}: topic {head[1]}: row {row!r} is none of = p s k")
    if not lines["p"] or not lines["s"]:
        raise DataError(f"{path.name}: topic {head[1]} needs at least one p row and one s row")
    plain = plain if re.search(r"[。？！.?!]$", plain) else plain + "。"
    groups = (tuple(lines["p"]), tuple(lines["s"]), tuple(lines["k"]))
    return Topic(head[1], head[2], label, plain, *groups)
