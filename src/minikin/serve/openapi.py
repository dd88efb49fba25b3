"""The API as OpenAPI 3.1, from the fields themselves."""

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from minikin import __version__
from minikin.serve.fields import ChatRequest, CompletionRequest, ResponsesRequest

_ASKED = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponsesRequest,
}
_TOLD = {
    "/v1/models": "The members that are served.",
    "/health": "Whether the server is well, and how busy.",
    "/metrics": "Counters for Prometheus.",
}
_ERRORS = (400, 401, 404, 405, 413, 415, 421, 429, 503)


def description(members: Sequence[str]) -> dict[str, Any]:
    """The whole document, for a server of these members."""
    _, schemas = models_json_schema(
        [(fields, "validation") for fields in _ASKED.values()], ref_template="#/components/schemas/{model}"
    )
    for fields in _ASKED.values():
        schemas["$defs"][fields.__name__]["properties"]["model"]["enum"] = list(members)
    asked = {path: {"post": _post(fields.__name__, fields.__doc__ or "")} for path, fields in _ASKED.items()}
    told = {path: {"get": {"summary": said, "responses": _responses()}} for path, said in _TOLD.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "minikin", "version": __version__},
        "paths": asked | told,
        "components": {"schemas": schemas["$defs"] | {"Error": _error()}},
    }


def _post(fields: str, summary: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{fields}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": " ".join(summary.split()), "requestBody": body, "responses": _responses()}


def _responses() -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refused = {str(status): {"description": "Refused.", "content": problem} for status in _ERRORS}
    return {"200": {"description": "The answer, or a stream of it."}} | refused


def _error() -> dict[str, Any]:
    optional = {"type": ["string", "null"]}
    fields = {"message": {"type": "string"}, "type": {"type": "string"}, "param": optional, "code": optional}
    inner = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}
