"""Documents → questions and answers, each with a quote that was found in its source."""

from __future__ import annotations

import random
import re
from collections import Counter

from tunewright.config.generation import QuestionsConfig
from tunewright.core.errors import DataError
from tunewright.core.store import Store
from tunewright.data.generate.passages import Passage, read_passages
from tunewright.data.generate.prompts import language_of, questions_prompt
from tunewright.data.generate.sample import output_name, sampled
from tunewright.data.generate.work import Item, Language, Result, Row, Work
from tunewright.data.normal import near_key, turns_group
from tunewright.data.records import Draft, Turn, Unusable

FIELDS = ("question", "answer", "quote")
_SHORTEST_PASSAGE = 20
_SHORTEST_QUOTE = 6
_EXPECTED = {"zh": 140, "en": 380}
# A question that points at a text in front of the reader makes no sense to anyone else.
_LEANING = re.compile(
    r"(根据|依据|按照|结合)(上|本|这|该|此)?(文|段|资料|材料|段落|内容|文本|段话)(?!件)"
    r"|(上文|上述|文中|本文|本段|该段|这段(话|文字|资料)|原文|以上(内容|资料|文字|段落))"
    r"|\b(the|this) (passage|text|excerpt|source material|paragraph|document)\b"
    r"|\b(mentioned|described|stated) (above|here)\b",
    re.IGNORECASE,
)


def make_questions(config: QuestionsConfig, store: Store) -> Work:
    """One item for each passage that is long enough to ask about.

    Raises:
        DataError: a document that cannot be read, or none with text enough.
    """
    skipped: Counter[str] = Counter()
    passages: list[Passage] = []
    for passage in read_passages(config.files, config.characters, skipped):
        if len(near_key(passage.text)) < _SHORTEST_PASSAGE:
            skipped["too short to ask about"] += 1
        else:
            passages.append(passage)
    if not passages:
        raise DataError(
            f"{', '.join(config.files)}: no passage is long enough to ask about",
            f"A passage needs {_SHORTEST_PASSAGE} letters or characters besides its headings.",
        )
    chosen = sampled(len(passages), config.limit, random.Random(config.seed))
    return Work(
        name="questions",
        items=[_item(passages[place], config) for place in chosen],
        fields=FIELDS,
        together=True,
        draft=question_draft,
        output=output_name(config.files[0], "questions"),
        skipped=skipped,
    )


def question_draft(row: Row, number: int) -> Draft:
    """A row of questions as the checks see it."""
    turns = (Turn("user", row["question"]), Turn("assistant", row["answer"]))
    return Draft(turns, row.get("source", {}).get("file", ""), number, turns_group(turns))


def _item(passage: Passage, config: QuestionsConfig) -> Item:
    found = language_of(passage.text)
    language: Language = found if config.prompts == "auto" else config.prompts
    return Item(
        language=language,
        prompt=lambda count: questions_prompt(passage.text, passage.heading, count, language),
        accept=lambda result: _row(passage, result),
        expected=_EXPECTED[language],
    )


def _row(passage: Passage, result: Result) -> Row:
    question, answer, quote = (result[name] for name in FIELDS)
    if _LEANING.search(question):
        raise Unusable("question leans on the source", question)
    if near_key(question) == near_key(answer):
        raise Unusable("answer repeats the question", question)
    if len(near_key(quote)) < _SHORTEST_QUOTE:
        raise Unusable("quote too short", quote)
    found = passage.find(quote)
    if found is None:
        raise Unusable("quote not in the source", quote)
    return {
        "question": question,
        "answer": answer,
        "quote": found[0],
        "source": {"file": passage.file, "heading": passage.heading, "line": found[1]},
    }
