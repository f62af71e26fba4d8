"""The clean part of the spreadsheet: every phrasing with its best and some inferior replies."""

from dataclasses import dataclass

from tools.build_sample.draw import draw, pick, shuffled
from tools.build_sample.frames import TRAIN_FRAMES, framed
from tools.build_sample.situations import Situation

PLAIN_SHARE = 0.5  # of first occurrences; every other one stands in a frame
SECOND_SHARE = 0.35  # of phrasings that occur twice, the second time in a frame


@dataclass(frozen=True)
class Row:
    """One line of the spreadsheet; `is_best` is "1" or "0" as the export writes it."""

    title: str
    question: str
    reply: str
    is_best: str


def asked(situation: Situation) -> list[str]:
    """Return the question texts of one situation, each phrasing plain or framed, once or twice."""
    texts = []
    for phrasing in situation.phrasings:
        first, second = shuffled(TRAIN_FRAMES, f"frame/{phrasing}")[:2]
        plain = draw(f"plain/{phrasing}") < PLAIN_SHARE
        texts.append(phrasing if plain else framed(first, phrasing))
        if draw(f"second/{phrasing}") < SECOND_SHARE:
            texts.append(framed(second, phrasing))
    return texts


def inferior_replies(situation: Situation, common: tuple[str, ...], question: str) -> list[str]:
    """Return none, one or two replies that were not chosen, some of them off the shelf."""
    size = int(draw(f"replies/{question}") * 5 + 1) // 2  # 0, 1, 2 with weights 1, 2, 2
    own = shuffled(situation.others, f"own/{question}")
    shelf = shuffled(common, f"shelf/{question}")
    first = own if draw(f"source/{question}") < 0.6 else shelf
    return [first[0], shelf[1]][:size]


def thread(situation: Situation, common: tuple[str, ...], question: str) -> list[Row]:
    """Return the rows of one question: the best reply and the others, in the order they came."""
    title = pick(situation.titles, f"title/{question}")
    rows = [Row(title, question, situation.best, "1")]
    for reply in inferior_replies(situation, common, question):
        rows.append(Row(title, question, reply, "0"))
    return shuffled(rows, f"order/{question}")


def threads(situations: list[Situation], common: tuple[str, ...]) -> list[list[Row]]:
    """Return the threads of all situations, mixed as in an export sorted by date."""
    every = [
        thread(situation, common, question)
        for situation in situations
        for question in asked(situation)
    ]
    return shuffled(every, "threads")
