"""Which of OpenAI's tests our server answers otherwise than they expect, and why: the one table.

Patterns are of ``<file below tests/api_resources>::<test>[<client>]`` as ``fnmatch`` reads them;
the first that fits counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

V = TypeVar("V")

FILES = (
    *("test_files.py", "test_uploads.py", "uploads", "test_models.py", "test_embeddings.py"),
    *("test_completions.py", "chat", "fine_tuning", "test_batches.py", "test_moderations.py"),
    *("test_evals.py", "evals"),
)
"""What is run, below ``tests/api_resources``."""


@dataclass(frozen=True)
class Refusal:
    """An answer that is to be exactly this error.

    Attributes:
        status: of HTTP.
        code, param: of OpenAI's error object.
        why: in words.
    """

    status: int
    code: str | None
    param: str | None
    why: str


SKIPPED: dict[str, str] = {
    "test_files.py::test_*_content[[]*": "a mock answers in it; no server is asked",
    "evals/test_runs.py::test_*_create*": (
        "their types want an error in every run; one that has none says null, as in OpenAI's pages"
    ),
    "test_embeddings.py::*strict]": (
        "the client asks for base64 by itself, and when strict refuses to get it"
    ),
}

REFUSED: dict[str, Refusal] = {
    "evals/runs/test_output_items.py::test_*_retrieve*": Refusal(
        404, None, "output_item_id", "names an item of no run"
    ),
    "test_evals.py::test_*_create*": Refusal(
        400, "invalid_grader", "testing_criteria.0", "has a message of the role 'role'"
    ),
    "test_batches.py::test_*_create*": Refusal(
        400, "unsupported_endpoint", "endpoint", "asks /v1/responses, which this server has not"
    ),
    "chat/test_completions.py::test_method_create_with_all_params_overload_*": Refusal(
        400, "unsupported_parameter", "audio", "asks for speech"
    ),
    "test_completions.py::test_method_create_with_all_params_overload_*": Refusal(
        400, "unsupported_parameter", "best_of", "asks for the best of none"
    ),
    "test_embeddings.py::test_method_create_with_all_params[[]*loose]": Refusal(
        400, "unsupported_parameter", "dimensions", "asks for vectors of one number"
    ),
    "fine_tuning/test_jobs.py::test_method_create_with_all_params[[]*": Refusal(
        400, None, "method", "names options of two methods besides the one it asks for"
    ),
    "test_moderations.py::*": Refusal(
        400, "moderation_not_supported", None, "asks what is harmful, which no model here can tell"
    ),
    "test_uploads.py::test_*_complete*": Refusal(
        400, None, "part_ids", "names a part 'string', which no upload can have"
    ),
}


def entry(table: dict[str, V], test: str) -> V | None:
    """What a table says of a test."""
    if "::test_path_params" in test:
        # Refused by the client itself.
        return None
    return next((value for pattern, value in table.items() if fnmatchcase(test, pattern)), None)
