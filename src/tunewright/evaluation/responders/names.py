"""What a reference may name, read without looking anything up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunewright.core.errors import ConfigError

ENDPOINT = "openai:"
_SHOTS = re.compile(r"(.+?)\+(\d{1,2})[ -]?shot")
_AT_URL = re.compile(r"(.+?)@(https?://.+)", re.IGNORECASE)
MOST_SHOTS = 32


@dataclass(frozen=True, slots=True)
class Name:
    """A reference in its parts.

    Attributes:
        reference: as it was given.
        target: who is asked.
        shots: examples shown before every question.
    """

    reference: str
    target: str
    shots: int = 0

    @property
    def remote(self) -> bool:
        """Whether it is a model behind an endpoint."""
        return self.target.startswith(ENDPOINT)


def read_name(reference: str) -> Name:
    """``nano``, ``nano+5shot``, ``openai:MODEL@URL`` …

    Raises:
        ConfigError: too many examples.
    """
    found = _SHOTS.fullmatch(reference)
    if found is None:
        return Name(reference, reference)
    shots = int(found[2])
    if not 1 <= shots <= MOST_SHOTS:
        raise ConfigError(
            f"option 'models': {reference!r} asks for {shots} examples; 1 to {MOST_SHOTS} can be "
            "shown"
        )
    return Name(reference, found[1], shots)


def at_url(text: str, option: str) -> tuple[str, str]:
    """``MODEL@URL`` in its parts.

    Raises:
        ConfigError: it is not of that form.
    """
    found = _AT_URL.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"option '{option}': {text!r} is not MODEL@URL",
            "Example: openai:qwen3-8b@http://127.0.0.1:8000/v1"
            if option == "models"
            else "Example: bge-m3@http://127.0.0.1:8000/v1",
        )
    return found[1], found[2]
