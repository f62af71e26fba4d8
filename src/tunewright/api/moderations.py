"""OpenAI's /v1/moderations: refused, for no model here is made for it."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from tunewright.api.access import authenticate
from tunewright.deployment.replies import RequestError

router = APIRouter(prefix="/v1/moderations", dependencies=[Depends(authenticate)])


@router.post("", summary="Refused: this server does not moderate", response_model=None)
async def create_moderation() -> None:
    """A guess at what is harmful would be worse than none.

    Raises:
        RequestError: 400, always.
    """
    raise RequestError(
        400,
        "this server has no moderation model: it cannot tell what is harmful. Serve a guard model"
        " and ask it at /v1/chat/completions, or fine-tune a classifier on your own labels",
        code="moderation_not_supported",
        should_retry=False,
    )
