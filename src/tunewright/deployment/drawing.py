"""Drawing the next tokens of many rows at once, each with its own wishes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from tunewright.deployment.replies import RequestError
from tunewright.deployment.rows import Post, Row, Token
from tunewright.model.choices import confined
from tunewright.model.sampling import draw_each, log_shares

_log = logging.getLogger(__name__)


class Drawer:
    """Draws tokens and tells each row.

    Args:
        vocabulary: width of the logits.
        ends: ids that end an answer.
    """

    def __init__(self, vocabulary: int, ends: frozenset[int]) -> None:
        self.vocabulary = vocabulary
        self._ends = ends

    def draw(self, rows: Sequence[Row], logits: Tensor, post: Post) -> None:
        """One token for every row, from its logits (rows, vocab)."""
        shaped = logits
        if any(_shapes(row) for row in rows):
            shaped, rows, logits = self._shaped(rows, logits, post)
        if not rows:
            return
        settings = [row.job.wishes.settings for row in rows]
        tokens = draw_each(shaped, settings, [row.chance for row in rows])
        told = _told(rows, logits, tokens)
        for row, token in zip(rows, told, strict=True):
            try:
                row.take(token.id, self._ends)
            except Exception:  # noqa: BLE001 - one row's form must not end the others
                _fail(row, post)
            else:
                post.token(row, token)

    def _shaped(
        self, rows: Sequence[Row], logits: Tensor, post: Post
    ) -> tuple[Tensor, Sequence[Row], Tensor]:
        """Logits with what rows wish for added, and the rows and logits that could be shaped."""
        wide = confined(logits.float(), [row.walk for row in rows])
        wide = wide.clone() if wide is logits else wide
        good: list[int] = []
        for place, row in enumerate(rows):
            try:
                _shape(row, wide[place])
            except Exception:  # noqa: BLE001 - one row's form must not end the others
                _fail(row, post)
            else:
                good.append(place)
        if len(good) < len(rows):
            return wide[good], [rows[place] for place in good], logits[good]
        return wide, rows, logits


def reported(logits: Tensor, tokens: Sequence[int], alternatives: int | None) -> list[Token]:
    """Tokens with their log-probabilities under logits (tokens, vocab).

    Args:
        logits: before any wish changed them: what the model itself says.
        tokens: one per row.
        alternatives: how many likely tokens to name beside each; None names no probabilities.
    """
    if alternatives is None or not tokens:
        return [Token(token) for token in tokens]
    ids = torch.tensor(tokens, device=logits.device)
    own, best, likely = (part.tolist() for part in log_shares(logits, ids, alternatives))
    return [
        Token(token, logprob, tuple(zip(names, shares, strict=True)))
        for token, logprob, names, shares in zip(tokens, own, likely, best, strict=True)
    ]


def _told(rows: Sequence[Row], logits: Tensor, tokens: Sequence[int]) -> list[Token]:
    told = [Token(token) for token in tokens]
    wanting: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        if row.job.wishes.logprobs is not None:
            wanting.setdefault(row.job.wishes.logprobs, []).append(place)
    for alternatives, places in wanting.items():
        found = reported(logits[places], [tokens[place] for place in places], alternatives)
        for place, token in zip(places, found, strict=True):
            told[place] = token
    return told


def _shapes(row: Row) -> bool:
    wishes = row.job.wishes
    return bool(wishes.bias) or wishes.penalised or row.walk is not None or row.state is not None


def _shape(row: Row, logits: Tensor) -> None:
    """Change one row's logits (vocab,) in place: bias, penalties, and what its form allows."""
    wishes = row.job.wishes
    if wishes.bias:
        ids = torch.tensor(list(wishes.bias), device=logits.device)
        added = torch.tensor(list(wishes.bias.values()), device=logits.device)
        logits.index_add_(0, ids, added)
    if wishes.penalised and row.drawn:
        counts = Counter(row.ids[len(row.job.prompt) :])
        ids = torch.tensor(list(counts), device=logits.device)
        taken = [-(wishes.presence + wishes.frequency * count) for count in counts.values()]
        logits.index_add_(0, ids, torch.tensor(taken, device=logits.device))
    if row.state is not None:
        bits = torch.frombuffer(bytearray(row.state.open()), dtype=torch.uint8)
        places = torch.arange(8, dtype=torch.uint8)
        allowed = ((bits[:, None] >> places) & 1).bool().flatten()[: logits.shape[0]]
        logits[: allowed.shape[0]].masked_fill_(~allowed.to(logits.device), float("-inf"))
        logits[allowed.shape[0] :] = float("-inf")


def _fail(row: Row, post: Post) -> None:
    _log.exception("an answer could not go on")
    post.error(row.job, RequestError(500, "generation failed; the engine's log says why"))
