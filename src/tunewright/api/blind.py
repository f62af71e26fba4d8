"""Pages on which experts vote blind. The secret in a link opens its session; no key is asked."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tunewright.api.resources import StoreOf, parse_body
from tunewright.core.errors import NotFoundError
from tunewright.core.store import Store
from tunewright.deployment.replies import RequestError
from tunewright.evaluation.blind.page import ASSETS, SERVED_POLICY, asset, served_page
from tunewright.evaluation.blind.session import BlindSession, Item, read_items, session_of
from tunewright.evaluation.blind.votes import Box, Choice, Name, Vote

# These are a page's own ways to its server, for people with a link; clients have no use for them.
router = APIRouter(prefix="/blind", include_in_schema=False)

_NO_STORE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class CastVote(BaseModel):
    """One vote from the page."""

    model_config = ConfigDict(extra="forbid")

    voter: Name
    question: str = Field(max_length=64)
    choice: Choice | None
    comment: str = Field(default="", max_length=2000)


@router.get("/assets/{name}", response_model=None)
async def read_asset(name: str) -> Response:
    """The page's script and style."""
    if name not in ASSETS:
        raise RequestError(404, "there is no such file")
    return Response(asset(name), media_type=ASSETS[name], headers={"cache-control": "no-cache"})


@router.get("/{token}", response_model=None)
async def read_page(token: str, store: StoreOf) -> Response:
    """The page; it holds no questions yet."""
    session = await asyncio.to_thread(_session, store, token)
    headers = {**_NO_STORE, "content-security-policy": SERVED_POLICY}
    return HTMLResponse(served_page(session.language), headers=headers)


@router.get("/{token}/session", response_model=None)
async def read_session(
    token: str, voter: Annotated[str, Query(max_length=256)], store: StoreOf, response: Response
) -> dict[str, Any]:
    """The questions without whose answers they show, and this voter's votes so far."""
    response.headers.update(_NO_STORE)
    try:
        name = _NAME.validate_python(voter)
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RequestError(400, what, param="voter") from None

    def read() -> dict[str, Any]:
        session = _session(store, token)
        items = read_items(store, session)
        own = _box(store, session, items).read().get(name, {})
        votes = {key: vote.model_dump(include={"choice", "comment"}) for key, vote in own.items()}
        return {"questions": [item.public() for item in items], "votes": votes}

    return await asyncio.to_thread(read)


@router.put("/{token}/votes", response_model=None)
async def cast_vote(token: str, request: Request, store: StoreOf) -> dict[str, bool]:
    """Keep one vote; it is on the disk when this answers."""
    session = await asyncio.to_thread(_session, store, token)
    cast = await parse_body(request, CastVote)
    vote = Vote(question=cast.question, choice=cast.choice, comment=cast.comment, cast=time.time())

    def keep() -> None:
        _box(store, session, read_items(store, session)).add(cast.voter, [vote])

    await asyncio.to_thread(keep)
    return {"saved": True}


def _session(store: Store, token: str) -> BlindSession:
    try:
        return session_of(store, token)
    except NotFoundError as error:
        raise RequestError(404, str(error)) from None


def _box(store: Store, session: BlindSession, items: list[Item]) -> Box:
    return Box(store, session, [item.id for item in items])
