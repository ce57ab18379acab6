"""The OpenAPI 3.1 document of the admin API, generated from its endpoints and models. No I/O."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from admin.api.endpoints import Endpoint, ProblemType
from admin.api.idempotency import HEADER, KEPT_SECONDS, PATTERN
from admin.api.response_models import CsvFile
from admin.problem_details import HEADERS, ProblemDetails

Json = dict[str, Any]
_IDEMPOTENCY_KEY: Json = {
    "name": HEADER,
    "in": "header",
    "description": (
        "A unique key for this request, such as a UUID. A retry with the same key and body within "
        f"{KEPT_SECONDS // 3600} hours creates nothing; it returns the API user in its current state, without its key."
    ),
    "schema": {"type": "string", "pattern": PATTERN},
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": (
        "The ETag of the API user that the change is based on: its `version` in quotes. If someone has changed the API "
        "user since then, the response is 412, and nothing is changed."
    ),
    "schema": {"type": "string"},
}
Schemas = dict[object, JsonSchemaValue]
"""A reference to the schema of each model."""


def openapi(endpoints: Iterable[Endpoint], version: str) -> Json:
    """Return the document for the endpoints, which are mounted at /admin."""
    table = list(endpoints)
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (ProblemDetails, "serialization"),
        *((each.takes, "validation") for each in table if each.takes_body),
        *((model, "serialization") for each in table for model in each.responses.values() if model),
    ]
    references, defined = models_json_schema(
        models, ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    schemas: Schemas = {model: schema for (model, _), schema in references.items()}
    paths: Json = {}
    for each in table:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    problems = {problem for each in table for problem in each.problems}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Sitelatch admin",
            "version": version,
            "description": "Manages API users, their keys and the sites that they may access. Authenticate with a "
            "bearer token: a personal admin token, or a JWT from the OpenID Connect issuer.",
        },
        "servers": [{"url": "/admin"}],
        "security": [{"admin_token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"admin_token": {"type": "http", "scheme": "bearer"}},
            "schemas": defined["$defs"],
            "responses": {
                problem.__name__: _problem_response(problem, schemas)
                for problem in sorted(problems, key=lambda problem: problem.__name__)
            },
        },
    }


class _Schemas(GenerateJsonSchema):
    """Generates Pydantic's schemas without titles, because these only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = schema["schema"]
        if self.mode == "serialization" and inner["type"] == "nullable" and schema.get("default", ...) is None:
            return self.generate_inner(inner["schema"])  # omitted rather than null
        return super().default_schema(schema)


def _operation(endpoint: Endpoint, schemas: Schemas) -> Json:
    operation: Json = {"operationId": endpoint.name, "summary": endpoint.summary}
    if endpoint.open:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    if endpoint.takes_body:
        operation["requestBody"] = {"required": True, "content": _content(schemas[endpoint.takes])}
    else:
        # A query parameter is omitted rather than null. The serialization mode describes that.
        query = endpoint.takes.model_json_schema(mode="serialization", schema_generator=_Schemas)["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    if endpoint.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    if endpoint.conditional:
        parameters.append(_IF_MATCH)
    if parameters:
        operation["parameters"] = parameters
    responses: Json = {}
    for status, model in endpoint.responses.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if model is not None:
            media_type = model.media_type if issubclass(model, CsvFile) else "application/json"
            responses[str(status)]["content"] = _content(schemas[model], media_type)
    for problem in sorted(endpoint.problems, key=lambda problem: problem.status):
        responses[str(problem.status)] = {"$ref": f"#/components/responses/{problem.__name__}"}
    operation["responses"] = responses
    return operation


def _content(schema: JsonSchemaValue, media_type: str = "application/json") -> Json:
    return {media_type: {"schema": schema}}


def _problem_response(problem: ProblemType, schemas: Schemas) -> Json:
    response: Json = {
        "description": problem.__doc__ or "",
        "content": _content(schemas[ProblemDetails], "application/problem+json"),
    }
    if sent := HEADERS.get(problem.status):
        response["headers"] = {name: {"required": True, "schema": {"type": "string"}} for name in sent}
    return response
