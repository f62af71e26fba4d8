"""Answers that must be one of a few texts: a trie of their tokens that masks what may come next.

The tokens of a choice are those that the renderer gives an answer of this text, so that a model
trained on the labels meets them as it learnt them. After a choice that begins another one, the
end of the answer competes with the longer one's next token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tunewright.core.errors import InputError
from tunewright.core.messages import conversation
from tunewright.model.rendering import Renderer


@dataclass
class _Node:
    """What may follow a beginning; ``text`` is the choice that is complete here, if one is."""

    children: dict[int, _Node] = field(default_factory=dict)
    text: str | None = None


class Choices:
    """The texts that an answer may be.

    Args:
        texts: at least one; none empty.
        renderer: of the base that answers.

    Attributes:
        longest: most tokens that an answer takes, its end token included.

    Raises:
        InputError: two of them are the same tokens to the base, or one is no token at all.
    """

    def __init__(self, texts: Sequence[str], renderer: Renderer) -> None:
        asked = [conversation(("user", "?"), ("assistant", text)) for text in texts]
        self._root = _Node()
        self._ends = sorted(renderer.eos_ids)
        self.longest = 0
        for text, rendered in zip(texts, renderer.render_many(asked), strict=True):
            learnt = [token for token, one in zip(rendered.ids, rendered.mask, strict=True) if one]
            ids = [token for token in learnt if token not in renderer.eos_ids]
            self._add(text, ids)
            self.longest = max(self.longest, len(ids) + 1)

    def _add(self, text: str, ids: Sequence[int]) -> None:
        if not ids:
            raise InputError(f"choice {text!r} is no token to the base", "Give it another name.")
        node = self._root
        for token in ids:
            node = node.children.setdefault(token, _Node())
        if node.text is not None:
            raise InputError(
                f"choices {node.text!r} and {text!r} are the same tokens to the base",
                "Leave one of them out.",
            )
        node.text = text

    def walk(self) -> Walk:
        """The way of one answer, at its beginning."""
        return Walk(self._root, self._ends)


class Walk:
    """One answer on its way to a choice.

    Attributes:
        probability: of the way so far among the ways that were open, at temperature 1.
    """

    def __init__(self, node: _Node, ends: Sequence[int]) -> None:
        self._node = node
        self._ends = ends
        self.probability = 1.0

    @property
    def open(self) -> list[int]:
        """The tokens that may come next."""
        return [*self._node.children, *(self._ends if self._node.text is not None else ())]

    @property
    def text(self) -> str | None:
        """The choice that the way has come to, if it is at one."""
        return self._node.text

    def take(self, token: int) -> bool:
        """Go on with an open token; True when nothing is left to choose."""
        child = self._node.children.get(token)
        if child is None:  # an end token
            return True
        self._node = child
        return not child.children

    def weigh(self, logits: Tensor, token: int) -> None:
        """Take in how likely an open token is, before it is taken.

        Args:
            logits: (vocab,).
            token: the one that was drawn.
        """
        places = self.open
        shares = logits[places].double().softmax(dim=-1).tolist()
        # Several tokens may end an answer; they mean the same.
        same = self._ends if token in self._ends else (token,)
        weight = sum(share for place, share in zip(places, shares, strict=True) if place in same)
        self.probability *= weight if math.isfinite(weight) else 0.0


def confined(logits: Tensor, walks: Sequence[Walk | None]) -> Tensor:
    """Logits (rows, vocab) with all that is not open to a row's walk at minus infinity."""
    if not any(walks):
        return logits
    kept = logits.clone()
    for row, walk in enumerate(walks):
        if walk is not None:
            places = walk.open
            kept[row] = -math.inf
            kept[row, places] = logits[row, places]
    return kept
