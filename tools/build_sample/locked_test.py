"""The locked test set: three kinds of unseen questions, from easy to hard."""

import json
from dataclasses import asdict, dataclass

from tools.build_sample.draw import shuffled
from tools.build_sample.frames import TEST_FRAMES, framed
from tools.build_sample.situations import Situation
from tools.build_sample.synonyms import Exchange

REWORDED_PER_SITUATION = 2


@dataclass(frozen=True)
class TestRow:
    """One test question with its one right answer."""

    id: str
    kind: str
    situation: str
    question: str
    answer: str


def reworded(situation: Situation) -> list[str]:
    """Return known phrasings, each in a frame that training never saw."""
    phrasings = shuffled(situation.phrasings, f"reworded/{situation.id}")
    frames = shuffled(TEST_FRAMES, f"test frame/{situation.id}")
    pairs = zip(phrasings, frames, strict=True)
    return [framed(frame, phrasing) for phrasing, frame in pairs][:REWORDED_PER_SITUATION]


def locked_rows(situations: list[Situation], exchanges: list[Exchange]) -> list[TestRow]:
    """Return all rows: every kind for every situation."""
    rows = []
    for situation in situations:
        own = [exchange.question for exchange in exchanges if exchange.situation == situation.id]
        kinds = {
            "reworded": reworded(situation),
            "synonyms": own,
            "paraphrase": list(situation.paraphrases),
        }
        for kind, questions in kinds.items():
            for number, question in enumerate(questions, start=1):
                name = f"{kind}-{situation.id}-{number}"
                rows.append(TestRow(name, kind, situation.id, question, situation.best))
    return rows


def to_jsonl(rows: list[TestRow]) -> bytes:
    """Return one JSON object per line, UTF-8."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows]
    return "".join(lines).encode("utf-8")
