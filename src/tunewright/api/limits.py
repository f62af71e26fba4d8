"""How much each key or deployment may ask for: requests and tokens in any minute, and at a time.

What was used is kept for one minute in slots of a tenth of a second, so that in no minute more is
let through than the limit; a bucket that starts full would let through twice as much in its first.
Everything happens on the event loop's thread and between no two awaits: it is exact.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from tunewright.config.serving import LimitsConfig
from tunewright.core.usage import Second
from tunewright.deployment.live import Live
from tunewright.deployment.replies import RequestError

_SPAN = 60.0
_SLOTS_PER_SECOND = 10
_BYTES_PER_TOKEN = 4
_NOT_ASCII = bytes(range(128, 256))
# The longest wait that OpenAI's client obeys is 120 seconds.
_LONGEST_WAIT = 120
# Of each limit, what work in the background leaves to those who wait.
_LEFT_SHARE = 0.5

_NO_LIMITS = LimitsConfig()

Kind = Literal["requests", "tokens"]
_KINDS: tuple[Kind, Kind] = ("requests", "tokens")


def estimate_tokens(body: bytes) -> int:
    """About how many tokens a JSON body in UTF-8 holds: four ASCII letters or one other
    character each, as is usual for English and Chinese."""
    ascii_bytes = len(body.translate(None, _NOT_ASCII))
    return max(1, ascii_bytes // _BYTES_PER_TOKEN + (len(body) - ascii_bytes) // 3)


class Window:
    """What one key used of one thing within the last minute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        # [number of the slot, amount]; oldest first.
        self._slots: deque[list[int]] = deque()

    def take(self, amount: int, now: float) -> int:
        """Note a use; returns its slot."""
        slot = math.floor(now * _SLOTS_PER_SECOND)
        if self._slots and self._slots[-1][0] >= slot:
            slot = self._slots[-1][0]
            self._slots[-1][1] += amount
        else:
            self._slots.append([slot, amount])
        self.used += amount
        return slot

    def give_back(self, amount: int, slot: int) -> None:
        """Undo a part of what was taken in a slot, unless that is a minute ago."""
        for known in self._slots:
            if known[0] == slot:
                part = min(amount, known[1])
                known[1] -= part
                self.used -= part
                return

    def wait(self, amount: int, now: float, left: int = 0) -> float:
        """Seconds until so much more can be taken, and ``left`` remains: 0 for now; infinite for
        more than the limit."""
        self._forget(now)
        if amount + left > self.limit:
            return math.inf
        missing = self.used + amount + left - self.limit
        for slot, freed in self._slots:
            if missing <= 0:
                break
            missing -= freed
            until = _end(slot)
            if missing <= 0:
                return max(0.0, until - now)
        return 0.0

    def full_in(self, now: float) -> float:
        """Seconds until nothing of the limit is used."""
        self._forget(now)
        return max(0.0, _end(self._slots[-1][0]) - now) if self._slots else 0.0

    def remaining(self, now: float) -> int:
        """What is left now."""
        self._forget(now)
        return max(0, self.limit - self.used)

    def seconds(self, now: float, offset: float) -> dict[int, int]:
        """``{second: amount}`` on a clock that is ``offset`` ahead of this one, rounded up."""
        self._forget(now)
        found: dict[int, int] = {}
        for slot, amount in self._slots:
            at = math.ceil((slot + 1) / _SLOTS_PER_SECOND + offset)
            found[at] = found.get(at, 0) + amount
        return found

    def _forget(self, now: float) -> None:
        while self._slots and _end(self._slots[0][0]) <= now:
            self.used -= self._slots.popleft()[1]


def _end(slot: int) -> float:
    """When what was used in a slot counts no more."""
    return (slot + 1) / _SLOTS_PER_SECOND + _SPAN


class Allowance:
    """The limits of one key or deployment, and where it stands.

    Args:
        clock: seconds that never go back.
        whose: in refusals.

    Attributes:
        running: its requests at the moment.
        changes: grows whenever something is used.
    """

    def __init__(self, clock: Callable[[], float], whose: str = "this key") -> None:
        self._clock = clock
        self._whose = whose
        self._windows: dict[Kind, Window] = {}
        self._concurrency: int | None = None
        self._behind_until = -math.inf
        self.running = 0
        self.changes = 0

    def set(self, limits: LimitsConfig) -> None:
        """Use these limits from now on."""
        self._concurrency = limits.concurrency
        amounts: dict[Kind, int | None] = {
            "requests": limits.requests_per_minute,
            "tokens": limits.tokens_per_minute,
        }
        for kind, limit in amounts.items():
            if limit is None:
                self._windows.pop(kind, None)
            else:
                self._windows.setdefault(kind, Window(limit)).limit = limit

    def enter(self) -> None:
        """Count one more request.

        Raises:
            RequestError: 429 when the limit of requests is reached; nothing is counted.
        """
        if self._concurrency is not None and self.running >= self._concurrency:
            raise self._refused("requests", f"{self._concurrency} at a time", 1)
        self._take("requests", 1)
        self.running += 1

    def leave(self) -> None:
        """A request has ended."""
        self.running -= 1

    def reserve(self, tokens: int) -> int | None:
        """Set tokens aside for a request; returns the slot, None where tokens have no limit.

        Raises:
            RequestError: 429 when the limit of tokens is reached, or is too small for it ever.
        """
        return self._take("tokens", tokens)

    def wait_behind(self, tokens: int) -> float:
        """Seconds until work in the background may send a request of so many tokens: 0 for now.

        It leaves half of each limit to those who wait, and takes of the other half what they have
        not taken. Where they take more, one of its requests a minute goes all the same, if there
        is room for it.

        Raises:
            RequestError: 429 when the limit of tokens is too small for it ever.
        """
        now = self._clock()
        amounts: dict[Kind, int] = {"requests": 1, "tokens": tokens}
        waits = [0.0]
        for kind, window in self._windows.items():
            room = window.wait(amounts[kind], now)
            if room == math.inf:
                raise self._refused(kind, f"{window.limit} per minute", room, amounts[kind])
            left = math.ceil(window.limit * _LEFT_SHARE)
            alone = max(room, self._behind_until - now)
            waits.append(min(alone, window.wait(amounts[kind], now, left)))
        return max(waits)

    def take_behind(self, tokens: int) -> int | None:
        """Count a request in the background that need not wait; returns the slot of its tokens.

        It is none of those at a time: what is done in the background bounds itself.
        """
        now = self._clock()
        self._behind_until = now + _SPAN
        self.changes += 1
        amounts: dict[Kind, int] = {"requests": 1, "tokens": tokens}
        slots = {kind: window.take(amounts[kind], now) for kind, window in self._windows.items()}
        return slots.get("tokens")

    def correct(self, slot: int | None, reserved: int, used: int) -> None:
        """Replace what was set aside by what was really used."""
        window = self._windows.get("tokens")
        if window is None or used == reserved:
            return
        self.changes += 1
        if used > reserved:
            window.take(used - reserved, self._clock())
        elif slot is not None:
            window.give_back(reserved - used, slot)

    def headers(self) -> dict[str, str]:
        """OpenAI's headers about limits; none for what has no limit."""
        now = self._clock()
        values: dict[str, str] = {}
        for kind, window in self._windows.items():
            values[f"x-ratelimit-limit-{kind}"] = str(window.limit)
            values[f"x-ratelimit-remaining-{kind}"] = str(window.remaining(now))
            values[f"x-ratelimit-reset-{kind}"] = _spelled(window.full_in(now))
        return values

    def _take(self, kind: Kind, amount: int) -> int | None:
        window = self._windows.get(kind)
        if window is None:
            return None
        now = self._clock()
        wait = window.wait(amount, now)
        if wait == 0:
            self.changes += 1
            return window.take(amount, now)
        raise self._refused(kind, f"{window.limit} per minute", wait, amount)

    def _refused(self, kind: Kind, limit: str, wait: float, amount: int = 1) -> RequestError:
        if wait == math.inf:
            return RequestError(
                429,
                f"this request takes about {amount} {kind}, more than {self._whose}'s limit of"
                f" {limit}; no waiting helps: send less",
                code="rate_limit_exceeded",
                kind=kind,
                should_retry=False,
            )
        seconds = min(_LONGEST_WAIT, max(1, math.ceil(wait)))
        what = f"{limit} {kind}" if kind == "tokens" else f"requests, {limit},"
        return RequestError(
            429,
            f"{self._whose}'s limit of {what} is reached; try again in {seconds} s",
            code="rate_limit_exceeded",
            kind=kind,
            retry_after=seconds,
        )

    # Across restarts ----------------------------------------------------------------------------

    def minute(self, offset: float) -> list[Second]:
        """``[(second, requests, tokens), …]`` on a clock that is ``offset`` ahead of this one."""
        now = self._clock()
        used = {kind: window.seconds(now, offset) for kind, window in self._windows.items()}
        requests, tokens = used.get("requests", {}), used.get("tokens", {})
        return [(at, requests.get(at, 0), tokens.get(at, 0)) for at in {**requests, **tokens}]

    def remember(self, minute: Sequence[Second], offset: float) -> None:
        """Take over what was used before a restart; limits must be set."""
        now = self._clock()
        for at, *amounts in sorted(minute):
            for kind, amount in zip(_KINDS, amounts, strict=True):
                window = self._windows.get(kind)
                if window is not None and amount:
                    window.take(amount, min(now, at - offset))


class Limits:
    """The allowances of all keys.

    Args:
        default: for what a key has no limit of its own.
        before: what each key used in its last minute, as ``minutes`` told it.
        clock, wall: seconds that never go back, and Unix time.
    """

    def __init__(
        self,
        default: LimitsConfig,
        before: Mapping[str, Sequence[Second]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._default = default
        self._clock = clock
        # Fixed, so that the same use is told in the same words every time.
        self._offset = wall() - clock()
        self._before = dict(before or {})
        self._allowances: dict[str, Allowance] = {}

    def of(self, key: str, own: Mapping[str, int]) -> Allowance:
        """The allowance of a key by its id, with its own limits over the server's."""
        allowance = self._allowances.get(key)
        if allowance is None:
            limits = self._default.model_copy(update=dict(own))
            allowance = self._allowances[key] = Allowance(self._clock)
            allowance.set(limits)
            allowance.remember(self._before.pop(key, ()), self._offset)
        return allowance

    def changes(self) -> dict[str, int]:
        """How often each key that has limits used something."""
        return {key: a.changes for key, a in self._allowances.items() if a.changes}

    def minutes(self, keys: Iterable[str]) -> dict[str, list[Second]]:
        """What these keys used in their last minute, by Unix seconds, late rather than early."""
        return {key: self._allowances[key].minute(self._offset) for key in keys}


class DeploymentLimits:
    """The allowances of deployments, which all their clients share."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowances: dict[str, tuple[LimitsConfig, Allowance]] = {}

    def of(self, live: Live) -> list[Allowance]:
        """The allowance of a deployment, within its limits now; none without limits."""
        record, limits = live.record, live.config.limits
        if limits == _NO_LIMITS:
            self._allowances.pop(record.id, None)
            return []
        known = self._allowances.get(record.id)
        if known is None or known[0] is not limits:
            allowance = known[1] if known else Allowance(self._clock, f"deployment {record.name!r}")
            allowance.set(limits)
            known = self._allowances[record.id] = (limits, allowance)
        return [known[1]]


def _spelled(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``1s``, ``6m0s``."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
