"""The OpenAPI document: what FastAPI knows of the routes, and what it cannot know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tunewright.api import deployment_objects as d
from tunewright.api import export_objects as x
from tunewright.api import objects as o
from tunewright.api.scopes import LINK_PATHS, OPEN_PATHS

_JSON = "application/json"
_KEY = "key"
_PERMISSIONS = "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"
_JOB = "/v1/fine_tuning/jobs/{job_id}"
_EVAL = "/v1/evals/{eval_id}"
_RUNS = f"{_EVAL}/runs"
_RUN = f"{_RUNS}/{{run_id}}"
_DEPLOYMENT = "/v1/deployments/{name}"
_STORED = "/v1/chat/completions/{completion_id}"

# (method, path) → what a good reply holds; a route that is not here answers some JSON object.
_REPLIES: dict[tuple[str, str], type[BaseModel]] = {
    ("get", "/v1/models"): o.Models,
    ("get", "/v1/models/{model}"): o.ModelObject,
    ("delete", "/v1/models/{model}"): o.Deleted,
    ("post", "/v1/chat/completions"): o.Answered,
    ("get", "/v1/chat/completions"): o.Page[o.Answered],
    ("get", _STORED): o.Answered,
    ("post", _STORED): o.Answered,
    ("delete", _STORED): o.Deleted,
    ("get", f"{_STORED}/messages"): o.Page[o.StoredMessage],
    ("post", "/v1/completions"): o.Answered,
    ("post", "/v1/embeddings"): o.Vectors,
    ("post", "/tokenize"): o.Tokens,
    ("post", "/detokenize"): o.Text,
    ("get", "/v1/batches"): o.Page[o.BatchObject],
    ("post", "/v1/batches"): o.BatchObject,
    ("get", "/v1/batches/{batch_id}"): o.BatchObject,
    ("post", "/v1/batches/{batch_id}/cancel"): o.BatchObject,
    ("get", "/v1/evals"): o.Page[o.EvalObject],
    ("post", "/v1/evals"): o.EvalObject,
    ("get", _EVAL): o.EvalObject,
    ("post", _EVAL): o.EvalObject,
    ("delete", _EVAL): o.EvalDeleted,
    ("get", _RUNS): o.Page[o.RunObject],
    ("post", _RUNS): o.RunObject,
    ("get", _RUN): o.RunObject,
    ("post", _RUN): o.RunObject,
    ("post", f"{_RUN}/cancel"): o.RunObject,
    ("delete", _RUN): o.RunDeleted,
    ("get", f"{_RUN}/output_items"): o.Page[o.ItemObject],
    ("get", f"{_RUN}/output_items/{{output_item_id}}"): o.ItemObject,
    ("get", "/v1/deployments"): o.Page[d.DeploymentObject],
    ("post", "/v1/deployments"): d.DeploymentObject,
    ("get", _DEPLOYMENT): d.DeploymentObject,
    ("post", _DEPLOYMENT): d.DeploymentObject,
    ("delete", _DEPLOYMENT): d.DeploymentDeleted,
    ("get", f"{_DEPLOYMENT}/revisions"): o.Page[d.DeploymentObject],
    ("post", f"{_DEPLOYMENT}/on"): d.DeploymentObject,
    ("post", f"{_DEPLOYMENT}/off"): d.DeploymentObject,
    ("post", f"{_DEPLOYMENT}/compare"): d.DeploymentObject,
    ("post", f"{_DEPLOYMENT}/canary"): d.DeploymentObject,
    ("delete", f"{_DEPLOYMENT}/canary"): d.DeploymentObject,
    ("post", f"{_DEPLOYMENT}/promote"): d.DeploymentObject,
    ("post", f"{_DEPLOYMENT}/rollback"): d.DeploymentObject,
    ("get", "/v1/exports"): o.Page[x.ExportObject],
    ("post", "/v1/exports"): x.ExportObject,
    ("get", "/v1/exports/{export_id}"): x.ExportObject,
    ("delete", "/v1/exports/{export_id}"): x.ExportDeleted,
    ("get", "/v1/files"): o.Page[o.FileObject],
    ("post", "/v1/files"): o.FileObject,
    ("get", "/v1/files/{file_id}"): o.FileObject,
    ("delete", "/v1/files/{file_id}"): o.Deleted,
    ("post", "/v1/uploads"): o.UploadObject,
    ("post", "/v1/uploads/{upload_id}/parts"): o.PartObject,
    ("post", "/v1/uploads/{upload_id}/complete"): o.UploadObject,
    ("post", "/v1/uploads/{upload_id}/cancel"): o.UploadObject,
    ("get", "/v1/fine_tuning/jobs"): o.Page[o.JobObject],
    ("post", "/v1/fine_tuning/jobs"): o.JobObject,
    ("get", _JOB): o.JobObject,
    ("post", f"{_JOB}/cancel"): o.JobObject,
    ("post", f"{_JOB}/pause"): o.JobObject,
    ("post", f"{_JOB}/resume"): o.JobObject,
    ("get", f"{_JOB}/events"): o.Page[o.EventObject],
    ("get", f"{_JOB}/checkpoints"): o.Page[o.CheckpointObject],
    ("post", "/v1/fine_tuning/alpha/graders/run"): o.Grade,
    ("post", "/v1/fine_tuning/alpha/graders/validate"): o.GraderObject,
    ("get", _PERMISSIONS): o.Page[o.PermissionObject],
    ("post", _PERMISSIONS): o.Page[o.PermissionObject],
    ("delete", f"{_PERMISSIONS}/{{permission_id}}"): o.Deleted,
    ("get", "/tunewright/v1/usage"): o.UsageObject,
    ("get", "/health"): o.Health,
    ("get", "/ready"): o.Health,
}
# Replies that are no JSON, or not always.
_OTHER_TYPES: dict[tuple[str, str], dict[str, Any]] = {
    ("get", "/v1/files/{file_id}/content"): {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
    },
    ("get", "/metrics"): {"text/plain": {"schema": {"type": "string"}}},
}
_STREAMED = {
    "text/event-stream": {
        "schema": {"type": "string", "description": "``data: {…}`` lines; the last is [DONE]."}
    }
}
_STREAMS = {("post", "/v1/chat/completions"), ("post", "/v1/completions")}
# What makes something → the parameter that its id is in operations on it.
_MADE = {
    "/v1/files": "file_id",
    "/v1/uploads": "upload_id",
    "/v1/fine_tuning/jobs": "job_id",
    "/v1/batches": "batch_id",
    "/v1/evals": "eval_id",
    "/v1/deployments": "name",
    "/v1/exports": "export_id",
}


def build(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """OpenAPI 3.1 of an application.

    Args:
        app: whose routes.
        bodies: of requests that routes parse themselves, once the key is checked.
    """
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    names = _add_schemas(document, bodies)
    document["components"]["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method, path, names)
    _link(document["paths"])
    return document


def _add_schemas(
    document: dict[str, Any], bodies: Sequence[type[BaseModel]]
) -> dict[type[BaseModel], dict[str, Any]]:
    """Add the schemas of bodies and replies; the reference of each."""
    models: list[type[BaseModel]] = [*bodies, o.ErrorObject]
    models += [reply for reply in _REPLIES.values() if reply not in models]
    references, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(schemas.get("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    return {model: references[model, "validation"] for model in models}


def _complete(
    operation: dict[str, Any],
    method: str,
    path: str,
    names: dict[type[BaseModel], dict[str, Any]],
) -> None:
    """One operation: who may, what a good reply holds, and what every other one does."""
    if path not in OPEN_PATHS and not path.startswith(LINK_PATHS):
        operation["security"] = [{_KEY: []}]
    operation["parameters"] = [
        one for one in operation.get("parameters", []) if one["name"] != "authorization"
    ]
    replies = operation["responses"]
    replies.pop("422", None)
    good = _good(operation)
    where = (method, path)
    if where in _OTHER_TYPES:
        good["content"] = _OTHER_TYPES[where]
    elif where in _REPLIES:
        good["content"] = {_JSON: {"schema": names[_REPLIES[where]]}}
    if where in _STREAMS:
        good["content"] |= _STREAMED
    failed = {_JSON: {"schema": names[o.ErrorObject]}}
    replies["4XX"] = {"description": "Refused", "content": failed}
    replies["5XX"] = {"description": "Failed", "content": failed}
    if path == "/ready":
        replies["503"] = {"description": "Not ready", "content": good["content"]}


def _good(operation: dict[str, Any]) -> dict[str, Any]:
    """What an operation answers when all went well."""
    replies: dict[str, dict[str, Any]] = operation["responses"]
    return next(reply for code, reply in replies.items() if code.startswith("2"))


def _link(paths: dict[str, Any]) -> None:
    """Which operations go on with what another one made."""
    for path, name in _MADE.items():
        links = _good(paths[path]["post"]).setdefault("links", {})
        for other, operations in paths.items():
            if f"{{{name}}}" in other:
                for operation in operations.values():
                    links[operation["operationId"]] = {
                        "operationId": operation["operationId"],
                        "parameters": {name: "$response.body#/id"},
                    }
