"""The OpenAPI document."""

from tunewright.api.app import create_app, openapi_document
from tunewright.api.scopes import OPEN_PATHS
from tunewright.config.serving import ServeConfig
from tunewright.core.store import Store


def test_the_document_builds_and_its_references_resolve(store: Store) -> None:
    document = openapi_document(create_app(store, ServeConfig()))
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/models", "/v1/models/{model}", "/v1/chat/completions", "/health", "/openapi.json",
        "/v1/files", "/v1/files/{file_id}/content", "/v1/uploads/{upload_id}/parts",
        "/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/{job_id}/events",
        "/v1/fine_tuning/alpha/graders/run",
    } <= set(document["paths"])  # fmt: skip
    names = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in names
    chat = names["ChatRequest"]
    assert chat["required"] == ["model", "messages"]
    assert chat["additionalProperties"] is False


def test_operations_say_who_may_and_what_they_answer(store: Store) -> None:
    paths = openapi_document(create_app(store, ServeConfig()))["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            assert min(operation["responses"]).startswith("2")
            assert path in OPEN_PATHS or operation["security"] == [{"key": []}]
    described = paths["/v1/evals"]["post"]["responses"]["201"]["content"]["application/json"]
    assert described["schema"]["$ref"].endswith("/EvalObject")
    streamed = paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(streamed) == {"application/json", "text/event-stream"}


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []
