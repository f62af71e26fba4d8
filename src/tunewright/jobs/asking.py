"""What work in the background needs of the server to ask its models."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from tunewright.core.errors import StorageError, TunewrightError
from tunewright.deployment.replies import RequestError
from tunewright.jobs.pace import Pacer

_TRIES = 5
_LONGEST_WAIT = 30.0
_SHORTEST_LOOK, _LONGEST_LOOK = 0.1, 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """A request as it would come over the wire.

    Attributes:
        endpoint: its path.
        body: as JSON.
        project, api_key: who asks; the key is empty where none was asked for.
    """

    endpoint: str
    body: bytes
    project: str
    api_key: str


@dataclass(frozen=True)
class Reply:
    """A question's outcome.

    Attributes:
        id: of the request, as in ``x-request-id``.
        status: 200, or an error's.
        body: of the reply, in OpenAI's shape.
        model: public name of who answered; empty where nobody did.
        code: of an error.
    """

    id: str
    status: int
    body: dict[str, Any]
    model: str = ""
    code: str | None = None

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts; empty for an error."""
        told = self.body.get("usage")
        return told if isinstance(told, dict) else {}


class NotYetError(Exception):
    """Limits are used up for the moment; nothing was asked.

    Attributes:
        seconds: after which there may be room.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.1f} s")
        self.seconds = seconds


class Asker(Protocol):
    """Asks models in the server's name."""

    async def find(self, model: str, project: str, api_key: str) -> None:
        """Make sure that a model is served to a project, and that its key may ask it.

        Raises:
            RequestError: 404.
        """
        ...

    async def ask(self, question: Question) -> Reply:
        """Ask once, within the limits of the key and of the deployment.

        Raises:
            NotYetError: others go first.
            RequestError: for anything but a whole reply.
        """
        ...


async def persistently(asker: Asker, pacer: Pacer, question: Question) -> Reply:
    """Ask until there is a reply, or an error that asking again would not change.

    Limits and a model that is busy are waited for; one whose engine fails is asked a few times.

    Raises:
        StorageError: the database cannot be read.
    """
    for attempt in itertools.count(1):
        try:
            return await _within_limits(asker, pacer, question)
        except RequestError as error:
            known = error
            if not _passing(error, attempt):
                break
        except StorageError:
            raise
        except TunewrightError as error:
            _log.error("a request in the background: %s", error.message)
            known = RequestError(500, "the server failed; its log says why")
            break
        except Exception:  # noqa: BLE001
            # One request must not take the others of its file with it.
            _log.exception("a request in the background")
            known = RequestError(500, "the server failed; its log says why")
            break
        await asyncio.sleep(min(_LONGEST_WAIT, max(known.retry_after or 0, 2.0 ** (attempt - 1))))
    return Reply(f"req_{secrets.token_hex(16)}", known.status, known.body(), code=known.code)


async def _within_limits(asker: Asker, pacer: Pacer, question: Question) -> Reply:
    """Ask once, as soon as the limits have room; the turn is not kept meanwhile."""
    while True:
        try:
            async with pacer.turn():
                return await asker.ask(question)
        except NotYetError as error:
            # Limits may be raised meanwhile.
            await asyncio.sleep(min(_LONGEST_LOOK, max(_SHORTEST_LOOK, error.seconds)))


def _passing(error: RequestError, attempt: int) -> bool:
    """Whether the same question may get its answer a little later."""
    if error.should_retry is False:
        return False
    return error.status == 429 or (error.status in (500, 502, 503) and attempt < _TRIES)
