"""OpenAI's stored completions: kept with ``store: true``, listed, labelled, deleted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from tunewright.api.access import authenticate
from tunewright.api.paging import list_object, metadata_filter
from tunewright.api.resources import CallerOf, ConfigOf, Metadata, StoreOf, json_body, parse_body
from tunewright.config.serving import ServeConfig
from tunewright.core.completions import Completions, StoredCompletion, new_completion_id
from tunewright.core.errors import StorageError
from tunewright.core.store import Store
from tunewright.deployment.assembly import Assembly
from tunewright.deployment.bodies import unsupported
from tunewright.deployment.protocol import ChatRequest
from tunewright.deployment.replies import RequestError

router = APIRouter(prefix="/v1/chat/completions", dependencies=[Depends(authenticate)])
_MOST_LISTED = 100
_log = logging.getLogger(__name__)
Limit = Annotated[int, Query(ge=0, le=_MOST_LISTED)]


class UpdateCompletionRequest(BaseModel):
    """The body of POST /v1/chat/completions/{completion_id}."""

    model_config = ConfigDict(extra="forbid")

    metadata: Metadata | None
    """Instead of what was there; null for none."""


class Keeping:
    """Keeps the reply to one request, under an id of ours that sorts by time.

    Args:
        completions: where it is kept.
        project: whose it is.
        raw: the request as it came.
        metadata: its labels.
    """

    def __init__(
        self, completions: Completions, project: str, raw: bytes, metadata: Mapping[str, str]
    ) -> None:
        self._completions, self._project = completions, project
        self._raw, self._metadata = raw, dict(metadata)
        self.id = new_completion_id()

    async def whole(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Keep a whole reply, which goes to the client as it is returned.

        Raises:
            RequestError: 500 when it could not be kept, though that was asked for.
        """
        reply = {**reply, "id": self.id}
        stored = StoredCompletion(
            self.id,
            time.time(),
            str(reply.get("model", "")),
            self._metadata,
            orjson.loads(self._raw),
            reply,
        )
        try:
            await asyncio.to_thread(self._completions.add, self._project, stored)
        except StorageError as error:
            _log.error("a completion could not be stored: %s", error.message)
            raise RequestError(
                500,
                "the answer is whole, but could not be stored; without store it would be here",
                code="not_stored",
                should_retry=False,
            ) from None
        return reply

    async def watch(self, events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """A streamed reply as it passes; kept when it is whole, and not at all otherwise."""
        assembly = Assembly()
        async for event in events:
            if "error" in event:
                yield event
                return
            event = {**event, "id": self.id}
            assembly.add(event)
            yield event
        try:
            await self.whole(assembly.whole())
        except RequestError as error:
            yield error.body()


def completions_of(store: Store, config: ServeConfig) -> Completions:
    """The stored completions within the server's bounds."""
    return Completions(store, config.stored.seconds, config.stored.most)


def keeping(
    store: Store, config: ServeConfig, project: str, chat: ChatRequest, raw: bytes
) -> Keeping | None:
    """What is to keep the reply to a request; None where the client did not ask for it.

    Raises:
        RequestError: 400 where the server is to store nothing.
    """
    if not chat.store:
        return None
    if config.stored.most == 0:
        raise unsupported("store", True)
    return Keeping(completions_of(store, config), project, raw, chat.metadata or {})


@router.get("", summary="List stored completions")
def list_completions(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    config: ConfigOf,
    model: str | None = None,
    after: str | None = None,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    """The oldest first; ``metadata[key]=value`` names those wanted."""
    wanted, _ = metadata_filter(request.query_params)
    found, more = completions_of(store, config).page(
        caller.project, limit, after, ascending=order == "asc", model=model, metadata=wanted
    )
    return list_object(found, more, completion_object)


@router.get("/{completion_id}", summary="One stored completion")
def retrieve_completion(
    completion_id: str, caller: CallerOf, store: StoreOf, config: ConfigOf
) -> dict[str, Any]:
    """The reply as it was given, with its labels."""
    return completion_object(_found(completions_of(store, config), caller.project, completion_id))


@router.post(
    "/{completion_id}",
    summary="Label a stored completion",
    openapi_extra=json_body("UpdateCompletionRequest"),
)
async def update_completion(
    request: Request, completion_id: str, caller: CallerOf, store: StoreOf, config: ConfigOf
) -> dict[str, Any]:
    """Only its metadata can be changed."""
    asked = await parse_body(request, UpdateCompletionRequest)
    return await asyncio.to_thread(
        _labelled, completions_of(store, config), caller.project, completion_id, asked.metadata
    )


def _labelled(
    completions: Completions, project: str, completion: str, metadata: Mapping[str, str] | None
) -> dict[str, Any]:
    completions.label(project, completion, metadata or {})
    return completion_object(_found(completions, project, completion))


@router.delete("/{completion_id}", summary="Delete a stored completion")
def delete_completion(
    completion_id: str, caller: CallerOf, store: StoreOf, config: ConfigOf
) -> dict[str, Any]:
    """Request and reply."""
    if not completions_of(store, config).delete(caller.project, completion_id):
        raise _missing(completion_id)
    return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}


@router.get("/{completion_id}/messages", summary="What a stored completion answered")
def list_messages(
    completion_id: str,
    caller: CallerOf,
    store: StoreOf,
    config: ConfigOf,
    after: str | None = None,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    """The request's messages, in the order of the conversation."""
    stored = _found(completions_of(store, config), caller.project, completion_id)
    numbered = list(enumerate(stored.request["messages"]))
    if order == "desc":
        numbered.reverse()
    if after is not None:
        place = _place(stored, after)
        numbered = [] if place is None else _beyond(numbered, place, order)
    found = [_message(stored, number, message) for number, message in numbered]
    return list_object(found[:limit], len(found) > limit, dict)


def _beyond(numbered: list[Any], place: int, order: str) -> list[Any]:
    """What comes after a place in the order."""
    return [one for one in numbered if (one[0] > place if order == "asc" else one[0] < place)]


def _place(stored: StoredCompletion, after: str) -> int | None:
    """The number of a message, told by its id; None for the id of no message of this one."""
    begin, _, number = after.rpartition("-")
    if begin == stored.id and number.isascii() and number.isdigit() and len(number) < 6:
        return int(number)
    return None


def _message(stored: StoredCompletion, number: int, message: dict[str, Any]) -> dict[str, Any]:
    """One message; content in parts stands beside the text that the model read."""
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    joined = "".join(part["text"] for part in parts) if parts is not None else content
    return {
        "refusal": None,
        "name": None,
        **message,
        **{"id": f"{stored.id}-{number}", "content": joined, "content_parts": parts},
    }


def _found(completions: Completions, project: str, completion: str) -> StoredCompletion:
    stored = completions.get(project, completion)
    if stored is None:
        raise _missing(completion)
    return stored


def _missing(completion: str) -> RequestError:
    return RequestError(
        404, f"there is no stored completion {completion[:128]!r}", param="completion_id"
    )


def completion_object(stored: StoredCompletion) -> dict[str, Any]:
    """OpenAI's completion, as it was given, with its labels."""
    return {**stored.reply, "metadata": stored.metadata}
