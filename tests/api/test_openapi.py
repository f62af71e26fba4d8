"""The OpenAPI document."""

from tunewright.api.app import create_app, openapi_document
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


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []
