"""Questions → the same questions in other words, as a test set with the same answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tunewright.config.data import PrepareConfig
from tunewright.config.generation import ParaphrasesConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import DataError
from tunewright.core.events import ignore
from tunewright.core.messages import SPLITS
from tunewright.core.messages import Row as DatasetRow
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.data.collect import collect
from tunewright.data.generate.prompts import language_of, paraphrases_prompt
from tunewright.data.generate.questions import question_draft
from tunewright.data.generate.sample import output_name, sampled
from tunewright.data.generate.work import Item, Language, Result, Row, Work
from tunewright.data.normal import near_key
from tunewright.data.records import Unusable

FIELDS = ("question",)
KIND = "paraphrase"
_TOO_CLOSE = 0.8
_PADDED = 1.5
_GRAM = 3
_MOST_LIKELY_LONGER = 1.3
# Several wordings with one answer are the point here; elsewhere they would be repetitions.
_WITHOUT = frozenset(
    {"duplicates", "near_duplicates", "contradictions", "boilerplate", "diversity"}
)

Pair = tuple[str, str]
"""A question and its answer."""


def make_paraphrases(config: ParaphrasesConfig, store: Store) -> Work:
    """One item for each different question with a single-turn answer.

    Raises:
        NotFoundError: there is neither such a dataset nor such a file.
        DataError: the file cannot be read, or holds no single questions with answers.
    """
    skipped: Counter[str] = Counter()
    if Path(config.source).is_file():
        name = config.source
        pairs, known = _pairs_of_file(config.source, skipped)
    else:
        dataset = store.get(Dataset, config.source)
        name = dataset.name
        pairs, known = _pairs_of_dataset(dataset, config, store, skipped)
    different = {near_key(question): (question, answer) for question, answer in reversed(pairs)}
    if not different:
        raise DataError(
            f"{config.source}: there is no single question with an answer to put in other words",
            "Conversations of several turns cannot be paraphrased; name other rows.",
        )
    skipped["duplicate"] += len(pairs) - len(different)
    ordered = list(reversed(different.values()))
    chosen = sampled(len(ordered), config.limit, random.Random(config.seed))
    return Work(
        name="paraphrases",
        items=[_item(*ordered[place], config) for place in chosen],
        fields=FIELDS,
        together=True,
        draft=question_draft,
        output=output_name(name, "paraphrases"),
        without=_WITHOUT,
        known=frozenset(known),
        skipped=+skipped,
    )


def _pairs_of_file(file: str, skipped: Counter[str]) -> tuple[list[Pair], set[str]]:
    found = collect(PrepareConfig(files=(file,)), ignore)
    skipped.update(found.counts())
    pairs: list[Pair] = []
    for draft in found.train:
        roles = [turn.role for turn in draft.turns if turn.role != "system"]
        if draft.kind == "conversation" and roles == ["user", "assistant"]:
            pairs.append((draft.question, draft.answer))
        else:
            skipped["not a single question"] += 1
    return pairs, {near_key(draft.question) for draft in found.train}


def _pairs_of_dataset(
    dataset: Dataset, config: ParaphrasesConfig, store: Store, skipped: Counter[str]
) -> tuple[list[Pair], set[str]]:
    """Questions of one split; no paraphrase may repeat a question of any."""
    if dataset.content == "text":
        raise DataError(
            f"dataset {dataset.name}: its rows are plain text, not questions",
            "Name a dataset of questions and answers.",
        )
    folder = store.folder(Dataset, dataset.id)
    rows = {split: read_rows(folder, split) for split in SPLITS}
    known = {near_key(row.conversation.question) for all_of in rows.values() for row in all_of}
    return _single(rows[config.split], skipped), known


def _single(rows: Sequence[DatasetRow], skipped: Counter[str]) -> list[Pair]:
    pairs: list[Pair] = []
    for row in rows:
        messages = [m for m in row.conversation.messages if m.role != "system"]
        if row.origin == "general":
            continue
        if [m.role for m in messages] != ["user", "assistant"] or row.desirable is False:
            skipped["not a single question"] += 1
        else:
            pairs.append((messages[0].content, messages[1].content))
    return pairs


def _item(question: str, answer: str, config: ParaphrasesConfig) -> Item:
    language: Language = language_of(question) if config.prompts == "auto" else config.prompts

    def accept(result: Result) -> Row:
        if too_close(result["question"], question):
            raise Unusable("too close to its question", result["question"])
        return {
            "question": result["question"],
            "answer": answer,
            "kind": KIND,
            "original": question,
        }

    return Item(
        language=language,
        prompt=lambda count: paraphrases_prompt(question, count, language),
        accept=accept,
        expected=round(_MOST_LIKELY_LONGER * len(question)),
    )


def too_close(paraphrase: str, question: str) -> bool:
    """Whether a paraphrase tests nothing: hardly other words, or only a polite phrase around.

    By the Jaccard similarity of character trigrams. ``prepare`` measures leaks alike: above its
    threshold it would take the training question away from the paraphrase that is to test it.
    """
    short, long = sorted((near_key(paraphrase), near_key(question)), key=len)
    if short in long and len(long) <= _PADDED * len(short):
        return True
    first, second = _grams(short), _grams(long)
    return len(first & second) >= _TOO_CLOSE * len(first | second)


def _grams(key: str) -> set[str]:
    return {key[at : at + _GRAM] for at in range(max(1, len(key) - _GRAM + 1))}
