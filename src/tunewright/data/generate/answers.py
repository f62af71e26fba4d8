"""What the journal knows about a prompt: its results, and what is still to be asked."""

from __future__ import annotations

from typing import NamedTuple

from tunewright.config.generation import GenerateConfig
from tunewright.data.generate.journal import Journal
from tunewright.data.generate.prompts import correction
from tunewright.data.generate.replies import read_reply
from tunewright.data.generate.work import Ask, Result, Work, request_key
from tunewright.endpoints.dialect import Messages

_LONGEST_ECHO = 4000


class Retry(NamedTuple):
    """The second chance of an answer that cannot be read: one completion of another prompt."""

    key: str
    messages: Messages


def retry_of(
    ask: Ask, index: int, journal: Journal, work: Work, config: GenerateConfig
) -> Retry | None:
    """The second chance that a completion needs; None when it reads, or is not answered yet."""
    text = journal.get(ask.key, index)
    if text is None:
        return None
    try:
        read_reply(text, work.fields)
    except ValueError as error:
        language = work.items[ask.item].language
        messages = correction(ask.messages, text[:_LONGEST_ECHO], str(error), language)
        return Retry(request_key(messages, work.fields, config), messages)
    return None


def results_of(
    ask: Ask, index: int, journal: Journal, work: Work, config: GenerateConfig
) -> list[Result] | None:
    """The results of one completion, from its second chance if need be; None without an answer.

    Raises:
        ValueError: it was answered, but cannot be read.
    """
    again = retry_of(ask, index, journal, work, config)
    text = journal.get(ask.key, index) if again is None else journal.get(again.key, 0)
    return None if text is None else read_reply(text, work.fields)


def waiting(ask: Ask, journal: Journal, work: Work, config: GenerateConfig) -> int:
    """Completions that are still to be asked for, second chances among them."""
    again = (retry_of(ask, index, journal, work, config) for index in range(ask.completions))
    return len(journal.missing(ask.key, ask.completions)) + sum(
        one is not None and journal.get(one.key, 0) is None for one in again
    )
