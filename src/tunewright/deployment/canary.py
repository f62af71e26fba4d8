"""A second model for some of the requests: who gets it, and when it is taken back."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunewright.config.deployment import CanaryConfig

_DIGEST_BYTES = 8
_PLACES = float(1 << 8 * _DIGEST_BYTES)


def position(salt: str, identity: str | None, draw: random.Random) -> float:
    """Where a request stands between 0 and 1: always the same place for the same identity.

    Args:
        salt: another one gives every identity another place.
        identity: who asks, as far as that is told; else a place is drawn.
    """
    if identity is None:
        return draw.random()
    digest = hashlib.sha256(f"{salt}\0{identity}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:_DIGEST_BYTES], "big") / _PLACES


def fails_more(failed: int, of: int, others_failed: int, others: int) -> float:
    """One-sided exact p (Fisher 1922) that ``failed`` of ``of`` is chance, beside others' share.

    The chance that of all failures at least so many fall on these requests when everybody is as
    likely to fail: the upper tail of the hypergeometric distribution.
    """
    everybody, failures = of + others, failed + others_failed
    highest = min(of, failures)
    if failed <= max(0, failures - others):
        return 1.0
    total = _log_choose(everybody, of)
    return min(
        1.0,
        math.fsum(
            math.exp(_log_choose(failures, k) + _log_choose(everybody - failures, of - k) - total)
            for k in range(failed, highest + 1)
        ),
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


@dataclass
class Arm:
    """How one model fares."""

    requests: int = 0
    failed: int = 0

    def note(self, failed: bool) -> None:
        """One more request has ended."""
        self.requests += 1
        self.failed += failed


class Trial:
    """A canary beside the model whose place it may take.

    It is judged when its requests have reached ``least``, and again whenever they have doubled.
    The k-th look may be wrong with a chance of ``level / 2^k``, so all of them together with no
    more than ``level``, however long the trial runs.

    Args:
        config: how often, and how strictly.

    Attributes:
        canary, model: how both fare.
        verdict: why the canary is to be taken back, once it is.
    """

    def __init__(self, config: CanaryConfig) -> None:
        self._config = config
        self._looks = 0
        self.canary = Arm()
        self.model = Arm()
        self.verdict: str | None = None

    def note(self, canary: bool, failed: bool) -> None:
        """A request has ended."""
        (self.canary if canary else self.model).note(failed)
        due = self.canary.requests >= self._config.least * 2**self._looks
        if canary and due and self.verdict is None:
            self.verdict = self._judged()

    def state(self) -> dict[str, Any]:
        """Where it stands, for ``restore``."""
        arms = {"model": asdict(self.model), "canary": asdict(self.canary)}
        return {**arms, "looks": self._looks, "verdict": self.verdict}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state`` was told: looks that were taken are not taken again."""
        self.model, self.canary = Arm(**state["model"]), Arm(**state["canary"])
        self._looks, self.verdict = state["looks"], state["verdict"]

    def _judged(self) -> str | None:
        self._looks += 1
        level = self._config.level / 2**self._looks
        mine, others = self.canary, self.model
        p = fails_more(mine.failed, mine.requests, others.failed, others.requests)
        if p >= level:
            return None
        return (
            f"the canary failed {mine.failed} of {mine.requests} requests,"
            f" the model {others.failed} of {others.requests} (exact p = {p:.2g})"
        )
