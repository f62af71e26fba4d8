"""A batch of requests that share an adapter, each with its own settings."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from tunewright.config.serving import GenerationConfig
from tunewright.deployment.scheduler import Job, Piece
from tunewright.model.choices import confined
from tunewright.model.decoding import Batch
from tunewright.model.rendering import Renderer
from tunewright.model.sampling import draw
from tunewright.model.text_growth import TextGrowth


class _Row:
    """One job's answer while it grows."""

    def __init__(self, job: Job, renderer: Renderer) -> None:
        self.job = job
        self.ended = False
        self.last = 0
        self.chance = _chance(job.settings)
        self._count = 0
        self._ends = renderer.eos_ids
        self._growth = TextGrowth(renderer.decode, job.settings.stop)
        self.walk = job.choices.walk() if job.choices else None

    def take(self, token: int) -> None:
        """Note a drawn token and send what it makes certain."""
        self.last = token
        self._count += 1
        reason: str | None = None
        text = ""
        if token in self._ends:
            reason = "stop"
        else:
            text = self._growth.add(token)
            reason = "stop" if self._growth.stopped else None
        if self.walk is not None:
            reason = "stop" if self.walk.take(token) else None
        elif reason is None and self._count >= self.job.settings.max_new_tokens:
            reason = "length"
        if reason is not None:
            text += self._growth.finish()
            # A stop text may show only once what was held back is complete.
            reason = "stop" if self._growth.stopped else reason
            self.ended = True
        self.job.send(Piece(text, reason, self._count))


def _chance(settings: GenerationConfig) -> random.Random:
    """As ``chat`` draws a single conversation, so that a seed means the same in both."""
    return random.Random(None if settings.seed is None else f"{settings.seed}:0")


class BatchGroup:
    """The scheduler's group over a loaded model.

    Args:
        activate: lets this group's adapter answer from the next forward pass on.
    """

    def __init__(
        self, model: PreTrainedModel, renderer: Renderer, activate: Callable[[], None]
    ) -> None:
        self._batch = Batch(model, renderer.pad_id)
        self._renderer = renderer
        self._activate = activate
        self._rows: list[_Row] = []

    @property
    def jobs(self) -> Sequence[Job]:
        """Those that have not ended."""
        return [row.job for row in self._rows if not row.ended]

    def turn(self, fresh: Sequence[Job]) -> None:
        """One token for every job; fresh ones get their first two."""
        for row in self._rows:
            row.ended = row.ended or row.job.cancelled.is_set()
        self._compact()
        self._activate()
        if fresh:
            rows = [_Row(job, self._renderer) for job in fresh]
            logits = self._batch.admit([job.prompt for job in fresh])
            self._rows += rows
            _take(rows, logits)
            self._compact()
        if self._rows:
            _take(self._rows, self._batch.step([row.last for row in self._rows]))
            self._compact()

    def _compact(self) -> None:
        """Drop ended rows once an eighth of all is: each drop copies the cache."""
        kept = [place for place, row in enumerate(self._rows) if not row.ended]
        ended = len(self._rows) - len(kept)
        if ended and (not kept or 8 * ended >= len(self._rows)):
            self._batch.keep(kept)
            self._rows = [self._rows[place] for place in kept]


def _take(rows: Sequence[_Row], logits: Tensor) -> None:
    """Draw each live row's next token from its logits (rows, vocab)."""
    logits = confined(logits, [row.walk for row in rows])
    alike: dict[tuple[float, float], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if not row.ended:
            settings = row.job.settings
            alike[settings.temperature, settings.top_p].append(place)
    for places in alike.values():
        chances = [rows[place].chance for place in places]
        tokens = draw(logits[places], rows[places[0]].job.settings, chances)
        for place, token in zip(places, tokens, strict=True):
            rows[place].take(token)
