"""Where a tokenizer with byte fallback puts a space that the text does not have.

llama.cpp either never does, or does it before every text and after every control token, however
the text begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.core.errors import ModelError
from tunewright.core.messages import conversation
from tunewright.export.gguf.architecture import CONVERT
from tunewright.export.gguf.pieces import SPACE
from tunewright.model.rendering import Renderer


def leads(described: Mapping[str, Any], renderer: Renderer) -> bool:
    """Whether a space comes before every text.

    Args:
        described: the tokenizer's JSON.
        renderer: of the base.

    Raises:
        ModelError: spaces elsewhere, or other changes of the text.
    """
    normalizers = _parts(described.get("normalizer"), "normalizers")
    cutters = _parts(described.get("pre_tokenizer"), "pretokenizers")
    match normalizers, cutters:
        case [*first, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}], cuts if all(
            map(_cuts_nothing, cuts)
        ):
            if not first:
                return False
            if first == [{"type": "Prepend", "prepend": SPACE}]:
                return True
        case [], [{"type": "Metaspace", "replacement": "▁", **options}] if _keeps_words(
            options, described
        ):
            scheme = options.get("prepend_scheme")
            # Before a text only: in a chat a control token stands there, which takes none.
            if scheme == "never" or (scheme == "first" and _controlled(renderer)):
                return False
    raise ModelError(
        "this tokenizer normalises texts, or puts spaces before them, in a way that llama.cpp does"
        " not, so that its texts would become other tokens",
        CONVERT,
    )


def _parts(described: Any, key: str) -> list[dict[str, Any]]:
    if described is None:
        return []
    return list(described[key]) if described["type"] == "Sequence" else [described]


def _cuts_nothing(cutter: Mapping[str, Any]) -> bool:
    """After the spaces were replaced there are none at which to cut."""
    return cutter.get("type") == "Split" and cutter.get("pattern") == {"String": " "}


def _keeps_words(options: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    """Whether cutting texts at spaces, where it is done, changes no piece."""
    whole = all(SPACE not in text[1:] for text in described["model"]["vocab"])
    return not options.get("split", True) or whole


def _controlled(renderer: Renderer) -> bool:
    first = renderer.prompt_ids(conversation(("user", "a")))[0]
    return renderer.tokenizer.id_to_token(first) in renderer.control_tokens
