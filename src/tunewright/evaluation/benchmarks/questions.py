"""From a benchmark's files to what is asked: the published prompt, as turns of a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunewright.config.benchmarks import BenchmarksConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.messages import Conversation, Role, conversation
from tunewright.evaluation.answers import Question
from tunewright.evaluation.benchmarks.layouts import (
    CATEGORIES,
    LAYOUTS,
    OPTIONS,
    UNPUBLISHED,
    Layout,
    Subject,
    read_subjects,
)
from tunewright.evaluation.benchmarks.reading import EXAMPLES, Item, SubjectItems, read_folder

_LETTER_ROOM = 8
_SLACK = 32
"""Tokens of a template around a prompt, beyond those that are counted."""

Fits = Callable[[Sequence[Conversation], int], Sequence[bool]]
"""Prompts, tokens to leave for the answer → which of them a responder can read."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, ready to be asked.

    Attributes:
        key: ``mmlu``, ``ceval`` or ``cmmlu``.
        title: as it is called.
        split: that the questions are from.
        questions: ``slice`` is the subject, ``reference`` the right letter.
        categories: by name, the subjects that count in it.
        names: of the subjects, as the prompts say them.
        how: answers are drawn.
        shots: examples shown before each question.
        shortened: questions shown fewer, since a context is too short for all.
        left_out: questions too long even without examples.
    """

    key: str
    title: str
    split: str
    questions: Sequence[Question]
    categories: Mapping[str, Sequence[str]]
    names: Mapping[str, str]
    how: GenerationConfig
    shots: int
    shortened: int = 0
    left_out: int = 0

    @property
    def by_letter(self) -> bool:
        """Whether the likeliest letter counts, rather than what an answer says."""
        return bool(self.how.choices)


def open_benchmarks(
    config: BenchmarksConfig, fits: Sequence[Fits], remote: bool, room: int
) -> list[Benchmark]:
    """Read every folder that is named; nothing is asked yet.

    Args:
        config: what to ask.
        fits: of the responders that tell what they can read. All get the same prompts, so that
            only what every one of them can read is asked.
        remote: whether anybody answers over HTTP, where letters cannot be weighed.
        room: longest answer in tokens, where answers are written.

    Raises:
        ConfigError: a benchmark that is not known, or one whose examples are what is asked.
        DataError: a folder that cannot be used.
    """
    by_letter = config.by == "likelihood" and not remote
    how = GenerationConfig(max_new_tokens=_LETTER_ROOM, choices=OPTIONS)
    if not by_letter:
        how = GenerationConfig(max_new_tokens=room)
    return [_open(key, Path(folder), config, fits, how) for key, folder in config.folders.items()]


def _open(
    key: str, folder: Path, config: BenchmarksConfig, fits: Sequence[Fits], how: GenerationConfig
) -> Benchmark:
    if key not in LAYOUTS:
        raise ConfigError(
            f"option 'benchmark': there is no benchmark {key!r}", f"One of: {', '.join(LAYOUTS)}"
        )
    layout, known = LAYOUTS[key], read_subjects(key)
    split = config.split or layout.split
    if split == EXAMPLES and config.shots:
        raise ConfigError(
            f"option 'benchmarks.split': the examples are from {EXAMPLES!r} too, so that each "
            "question would be shown with its answer",
            "Ask it without examples: --shots 0",
        )
    found = read_folder(folder, layout, split, config.shots, config.subjects)
    asked = [
        _Asked(subject, known.get(subject.key) or Subject(subject.key.replace("_", " ")), n, item)
        for subject in found
        for n, item in enumerate(subject.items[: config.per_subject])
    ]
    prompts = _prompts(asked, layout, config.shots, fits, how.max_new_tokens)
    most = {subject.key: len(subject.examples) for subject in found}
    readable = [(one, prompt) for one, prompt in zip(asked, prompts, strict=True) if prompt]
    if not readable:
        raise DataError(f"{folder}: every question of {layout.title} is longer than a context")
    short = [len(prompt.messages) // 2 < most[one.subject.key] for one, prompt in readable]
    return Benchmark(
        key,
        layout.title,
        split,
        [one.question(prompt) for one, prompt in readable],
        _categories(found, known),
        {one.subject.key: one.published.name for one in asked},
        how,
        max(most.values()),
        sum(short),
        len(asked) - len(readable),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question on its way to a prompt."""

    subject: SubjectItems
    published: Subject
    number: int
    item: Item

    def prompt(self, layout: Layout, shots: int) -> Conversation:
        """The lead and the examples, the last ones where not all fit, then the question."""
        examples = self.subject.examples
        turns: list[tuple[Role, str]] = []
        for example in examples[len(examples) - shots :]:
            turns += [("user", _ask(layout, example)), ("assistant", example.answer)]
        turns.append(("user", _ask(layout, self.item)))
        lead = layout.lead.format(subject=self.published.name)
        return conversation(("user", f"{lead}\n\n{turns[0][1]}"), *turns[1:])

    def question(self, prompt: Conversation) -> Question:
        """As it is asked and scored; every question is a group of its own."""
        name = f"{self.subject.key}/{self.number + 1}"
        return Question(name, prompt, self.item.answer, self.subject.key, name)


def _ask(layout: Layout, item: Item) -> str:
    texts = dict(zip("abcd", item.options, strict=True))
    return layout.ask.format(question=item.question, **texts)


def _prompts(
    asked: Sequence[_Asked], layout: Layout, shots: int, fits: Sequence[Fits], room: int
) -> list[Conversation | None]:
    """Every question with as many examples as all can read; None where even none are too many."""
    found: list[Conversation | None] = [None] * len(asked)
    left = list(range(len(asked)))
    for count in range(shots, -1, -1):
        here = [n for n in left if count <= len(asked[n].subject.examples)]
        prompts = [asked[n].prompt(layout, count) for n in here]
        verdicts = [one(prompts, room + _SLACK) for one in fits]
        for place, n in enumerate(here):
            if all(verdict[place] for verdict in verdicts):
                found[n] = prompts[place]
        left = [n for n in left if found[n] is None]
    return found


def _categories(
    found: Sequence[SubjectItems], known: Mapping[str, Subject]
) -> dict[str, Sequence[str]]:
    rows: dict[str, list[str]] = {}
    for subject in found:
        for name in known[subject.key].categories if subject.key in known else (UNPUBLISHED,):
            rows.setdefault(name, []).append(subject.key)
    return {name: rows[name] for name in CATEGORIES if name in rows}
