"""OpenAI's graders: is one well made, and what does it give an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from tunewright.api.access import authenticate
from tunewright.api.job_requests import checked_grader
from tunewright.api.resources import json_body, parse_body
from tunewright.config.grading import AnyGrader, MultiGrader, parse_grader
from tunewright.core.errors import InputError
from tunewright.deployment.replies import RequestError

router = APIRouter(prefix="/v1/fine_tuning/alpha/graders", dependencies=[Depends(authenticate)])


class RunGraderRequest(BaseModel):
    """A grader, an answer, and the row of its question."""

    model_config = ConfigDict(extra="forbid")

    grader: dict[str, Any]
    model_sample: str = Field(max_length=1 << 20)
    item: dict[str, Any] = Field(default_factory=dict)


class ValidateGraderRequest(BaseModel):
    """A grader."""

    model_config = ConfigDict(extra="forbid")

    grader: dict[str, Any]


@router.post("/run", summary="Grade one answer", openapi_extra=json_body("RunGraderRequest"))
async def run(request: Request) -> dict[str, Any]:
    """By rules only: a judge or a reward model would hold up the server."""
    from tunewright.grading.table import run_grader

    asked = await parse_body(request, RunGraderRequest)
    grader = parse_grader(checked_grader(asked.grader))
    _refuse_models(grader)
    try:
        return await asyncio.to_thread(run_grader, grader, asked.model_sample, asked.item)
    except InputError as error:
        raise RequestError(400, error.message, param="grader", code="invalid_grader") from None


@router.post(
    "/validate", summary="Check a grader", openapi_extra=json_body("ValidateGraderRequest")
)
async def validate(request: Request) -> dict[str, Any]:
    """The grader, if it is well made."""
    asked = await parse_body(request, ValidateGraderRequest)
    return {"grader": checked_grader(asked.grader)}


def _refuse_models(grader: AnyGrader) -> None:
    every = grader.graders.values() if isinstance(grader, MultiGrader) else (grader,)
    if any(one.type == "reward_model" for one in every):
        raise RequestError(
            400,
            "a reward model grades in jobs only, not in this call",
            param="grader",
            code="unsupported_grader",
        )
