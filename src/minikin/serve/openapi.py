"""The API as OpenAPI 3.1, from the fields themselves."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from minikin import __version__
from minikin.serve.fields import Settings

_TOLD = {
    "/v1/models": "The members that are served.",
    "/v1/models/{name}": "One of them.",
    "/health": "Whether the server is well, and how busy.",
    "/metrics": "Counters for Prometheus.",
}
_ERRORS = (400, 401, 404, 405, 413, 415, 421, 429, 431, 500, 503)
_TOO_SLOW = 504  # only an answer that is written can be
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


def description(members: Sequence[str], asked: Mapping[str, type[Settings]]) -> dict[str, Any]:
    """The whole document, for a server of these members, which is asked in these fields at these paths."""
    _, schemas = models_json_schema(
        [(fields, "validation") for fields in asked.values()], ref_template="#/components/schemas/{model}"
    )
    for fields in asked.values():
        schemas["$defs"][fields.__name__]["properties"]["model"]["enum"] = list(members)
    posts = {path: {"post": _post(fields.__name__, fields.__doc__ or "")} for path, fields in asked.items()}
    gets = {path: {"get": _get(path, said)} for path, said in _TOLD.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "minikin", "version": __version__},
        "paths": posts | gets,
        "components": {"schemas": schemas["$defs"] | {"Error": _error()}},
    }


def with_key(told: Mapping[str, Any], open_paths: Collection[str]) -> dict[str, Any]:
    """The same document for a server that asks for a key, but on some paths."""
    paths = {
        path: {method: how | ({"security": []} if path in open_paths else {}) for method, how in methods.items()}
        for path, methods in told["paths"].items()
    }
    scheme = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
    return {**told, "paths": paths, "components": told["components"] | scheme, "security": [{"key": []}]}


def _post(fields: str, summary: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{fields}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": " ".join(summary.split()), "requestBody": body, "responses": _responses(*_ERRORS, _TOO_SLOW)}


def _get(path: str, summary: str) -> dict[str, Any]:
    named = {"parameters": [_NAME]} if "{name}" in path else {}
    return {"summary": summary, "responses": _responses(*_ERRORS)} | named


def _responses(*errors: int) -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refused = {str(status): {"description": "Refused.", "content": problem} for status in errors}
    return {"200": {"description": "The answer, or a stream of it."}} | refused


def _error() -> dict[str, Any]:
    optional = {"type": ["string", "null"]}
    fields = {"message": {"type": "string"}, "type": {"type": "string"}, "param": optional, "code": optional}
    inner = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}
