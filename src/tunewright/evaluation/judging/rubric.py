"""What a judge is asked, and what it replied."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tunewright.config.judging import JudgeConfig
from tunewright.core.errors import ConfigError
from tunewright.core.files import digest
from tunewright.endpoints.dialect import Messages
from tunewright.evaluation.answers import Question
from tunewright.evaluation.scorers.base import Material
from tunewright.evaluation.wording.judging import ASKS, RUBRICS

Choice = Literal["A", "B", "tie"]
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "verdict": {"type": "string", "enum": ["A", "B", "tie"]},
    },
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}
"""Of a reply."""
_MOST_RUBRIC_BYTES = 64 << 10
_MOST_REASON = 500
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
# What judges write in place of the three words asked for.
_ASIDE = re.compile(r"[\s\"'`*\[\]().。：:]|answer|response|回答|答案", re.IGNORECASE)
_WORDS: Final[dict[str, Choice]] = {
    "a": "A", "b": "B", "tie": "tie", "c": "tie", "draw": "tie", "equal": "tie", "neither": "tie",
    "both": "tie", "same": "tie", "平": "tie", "平局": "tie", "平手": "tie", "相同": "tie",
    "不分高下": "tie",
}  # fmt: skip
_BROKEN = re.compile(r"verdict[\"']?\s*[:：=]\s*[\"']?([^\"',，}\n]{1,40})", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\[\s*([ABC]|tie)\s*\]\]")


@dataclass(frozen=True, slots=True)
class Ruling:
    """One reply: ``A`` is the answer shown first."""

    choice: Choice
    reason: str


@dataclass(frozen=True)
class Rubric:
    """What answers are judged by.

    Attributes:
        text: what makes an answer better.
        language: that the judge is talked to in, ``en`` or ``zh``.
        reference: whether the reference answer is shown.
    """

    text: str
    language: str
    reference: bool = True

    def messages(self, question: Question, first: str, second: str) -> Messages:
        """The request for a verdict on two answers, in this order.

        The marks around texts depend on the texts, so that none of them can hold its own end.
        """
        words = ASKS[self.language]
        mark = digest([question.reference, first, second])[:12]
        parts = [("question", _asked(question, words))]
        if self.reference and question.reference:
            parts.append(("reference", question.reference))
        parts += [("a", first.strip() or words["empty"]), ("b", second.strip() or words["empty"])]
        blocks = [f"===={mark} {words[name]}\n{text}" for name, text in parts]
        return (
            {
                "role": "system",
                "content": words["instructions"].format(rubric=self.text, mark=mark),
            },
            {"role": "user", "content": "\n".join([*blocks, f"===={mark} {words['end']}"])},
        )

    def again(self, messages: Messages, reply: str) -> Messages:
        """The request after a reply that could not be read."""
        asked = ASKS[self.language]["again"]
        said = {"role": "assistant", "content": reply or "…"}
        return (*messages, said, {"role": "user", "content": asked})


def read_rubric(config: JudgeConfig, questions: Sequence[Question]) -> Rubric:
    """The rubric that is asked for.

    Raises:
        ConfigError: its file cannot be read, or says nothing.
    """
    chinese = Material([question.reference for question in questions]).chinese
    language = config.language or ("zh" if chinese else "en")
    text = RUBRICS[language] if config.rubric is None else _read_file(Path(config.rubric))
    return Rubric(text, language, config.reference)


def _read_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_RUBRIC_BYTES + 1)
        text = data.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"option 'judge.rubric': {path} cannot be read ({why})") from None
    if not text or len(data) > _MOST_RUBRIC_BYTES:
        what = "is empty" if not text else f"is longer than {_MOST_RUBRIC_BYTES} bytes"
        raise ConfigError(f"option 'judge.rubric': {path} {what}", "A page of plain text will do.")
    return text


def _asked(question: Question, words: Any) -> str:
    """The question, with what was said before it."""
    turns = question.prompt.messages
    if len(turns) == 1:
        return question.prompt.question
    return "\n\n".join(f"[{words.get(turn.role, turn.role)}] {turn.content}" for turn in turns)


def read_reply(text: str) -> Ruling | None:
    """The verdict in a reply, whatever stands around it; None where there is none."""
    said = _THOUGHT.sub("", text).strip()
    decoder = json.JSONDecoder()
    for start in reversed([place.start() for place in re.finditer(r"\{", said)][-50:]):
        try:
            value, _ = decoder.raw_decode(said, start)
        except (ValueError, RecursionError):
            continue
        choice = _choice(value.get("verdict")) if isinstance(value, dict) else None
        if choice is not None:
            reason = value.get("reason")
            return Ruling(choice, reason[:_MOST_REASON] if isinstance(reason, str) else "")
    found = _BROKEN.findall(said) or _BRACKETED.findall(said) or [said]
    choice = _choice(found[-1])
    return Ruling(choice, "") if choice is not None else None


def _choice(value: Any) -> Choice | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    return _WORDS.get(_ASIDE.sub("", value).lower())
