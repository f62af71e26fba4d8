"""What must hold before the sample may be written. Each check raises `SampleError`."""

import unicodedata
from collections import Counter

from tools.build_sample.frames import TEST_FRAMES, TRAIN_FRAMES
from tools.build_sample.locked_test import TestRow
from tools.build_sample.situations import Situation
from tools.build_sample.spreadsheet import Row
from tools.build_sample.synonyms import Exchange

MAX_OVERLAP = 0.6  # trigram Jaccard of a paraphrase with any training question


class SampleError(Exception):
    """The sample's sentences break one of its own rules; the message names the sentence."""


def normalised(text: str) -> str:
    """Return letters and digits only, NFKC, lower case."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(character for character in folded if character.isalnum())


def trigrams(text: str) -> frozenset[str]:
    """Return the character trigrams of the normalised text."""
    plain = normalised(text)
    return frozenset(plain[start : start + 3] for start in range(len(plain) - 2))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return |left ∩ right| / |left ∪ right|, 0 for two empty sets."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def check_situations(situations: list[Situation]) -> None:
    """Sizes, lengths, and replies that differ from their first character on."""
    openings = Counter(situation.best[0] for situation in situations)
    for situation in situations:
        if not 25 <= len(situation.best) <= 45:
            raise SampleError(f"{situation.id}: the best reply must have 25 to 45 characters")
        if openings[situation.best[0]] > 1:
            raise SampleError(f"{situation.id}: another best reply opens with the same character")
        if len(situation.phrasings) < 10 or len(situation.paraphrases) != 3:
            raise SampleError(f"{situation.id}: needs 10 phrasings and 3 paraphrases")
    sentences = Counter(s for x in situations for s in x.phrasings + x.paraphrases)
    for sentence, times in sentences.items():
        if times > 1:
            raise SampleError(f"written {times} times: {sentence}")


def check_exchanges(situations: list[Situation], exchanges: list[Exchange]) -> None:
    """Every exchange changes a phrasing of its own situation."""
    phrasings = {situation.id: situation.phrasings for situation in situations}
    for exchange in exchanges:
        if exchange.phrasing not in phrasings[exchange.situation]:
            raise SampleError(f"{exchange.situation}: no phrasing {exchange.phrasing}")
        for old, _ in exchange.swaps:
            if old not in exchange.phrasing:
                raise SampleError(f"{exchange.situation}: {old} is not in {exchange.phrasing}")


def check_unseen(train: list[Row], test: list[TestRow]) -> None:
    """No test question is a training question, and no paraphrase is close to one."""
    if set(TRAIN_FRAMES) & set(TEST_FRAMES):
        raise SampleError("training and test share a frame")
    questions = {normalised(row.question): row.question for row in train}
    grams = [(trigrams(text), text) for text in questions.values()]
    seen = Counter(normalised(row.question) for row in test)
    for row in test:
        if normalised(row.question) in questions:
            raise SampleError(f"{row.id}: is a training question: {row.question}")
        if seen[normalised(row.question)] > 1:
            raise SampleError(f"{row.id}: occurs twice in the test set: {row.question}")
        if row.kind == "paraphrase":
            own = trigrams(row.question)
            overlap, nearest = max((jaccard(own, other), text) for other, text in grams)
            if overlap >= MAX_OVERLAP:
                raise SampleError(f"{row.id}: {row.question} is too close to {nearest}")


def check_cleaned(train: list[Row], situations: list[Situation]) -> None:
    """A usable best reply is a canonical one, and no question has two of them."""
    known = {situation.best for situation in situations}
    answers: dict[str, str] = {}
    for row in train:
        question, reply = row.question.strip(), row.reply.strip()
        if row.is_best != "1" or not question or not reply:
            continue
        if reply not in known:
            raise SampleError(f"not a canonical best reply: {reply}")
        if answers.setdefault(normalised(question), reply) != reply:
            raise SampleError(f"two best replies for {question}")
