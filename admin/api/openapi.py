"""The admin API as an OpenAPI 3.1 document, made from what serves it: the route table and its models. No I/O."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from admin.api.endpoints import Endpoint, ProblemType
from admin.api.idempotency import HEADER, KEPT_SECONDS, PATTERN
from admin.problems import HEADERS, ProblemDetails

Json = dict[str, Any]
_IDEMPOTENCY_KEY: Json = {
    "name": HEADER,
    "in": "header",
    "description": (
        "A key of your own for this wish, like a UUID. The same body with the same key is granted once: sent again "
        f"within {KEPT_SECONDS // 3600} hours it is answered with what was made, as it is now, but without the API key."
    ),
    "schema": {"type": "string", "pattern": PATTERN},
}
Schemas = dict[object, JsonSchemaValue]
"""For each model where its schema is."""


def openapi(routes: Iterable[Endpoint], version: str) -> Json:
    """Return the document for the routes, as they are mounted at /admin."""
    table = list(routes)
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (ProblemDetails, "serialization"),
        *((route.takes, "validation") for route in table if route.takes_body),
        *((answer, "serialization") for route in table for answer in route.answers.values() if answer),
    ]
    made, defined = models_json_schema(models, ref_template="#/components/schemas/{model}", schema_generator=_Schemas)
    schemas: Schemas = {model: schema for (model, _), schema in made.items()}
    paths: Json = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    refusals = {refusal for route in table for refusal in route.refuses}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Sitelatch admin",
            "version": version,
            "description": "Who may read which sites. Every request needs an admin: a personal token, or a JWT of "
            "the OpenID Connect issuer, as bearer.",
        },
        "servers": [{"url": "/admin"}],
        "security": [{"admin_token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"admin_token": {"type": "http", "scheme": "bearer"}},
            "schemas": defined["$defs"],
            "responses": {
                refusal.__name__: _refused(refusal, schemas)
                for refusal in sorted(refusals, key=lambda refusal: refusal.__name__)
            },
        },
    }


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas, without the titles that only repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = schema["schema"]
        if self.mode == "serialization" and inner["type"] == "nullable" and schema.get("default", ...) is None:
            return self.generate_inner(inner["schema"])  # left out rather than null
        return super().default_schema(schema)


def _operation(route: Endpoint, schemas: Schemas) -> Json:
    operation: Json = {"operationId": route.name, "summary": route.summary}
    if route.open:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.takes_body:
        operation["requestBody"] = {"required": True, "content": _content(schemas[route.takes])}
    else:
        # A query has no null, only what is left out: hence the mode in which that is so.
        query = route.takes.model_json_schema(mode="serialization", schema_generator=_Schemas)["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    if route.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    responses: Json = {}
    for status, model in route.answers.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
        if model is not None:
            responses[str(status)]["content"] = _content(schemas[model])
    for refusal in sorted(route.refuses, key=lambda refusal: refusal.status):
        responses[str(refusal.status)] = {"$ref": f"#/components/responses/{refusal.__name__}"}
    operation["responses"] = responses
    return operation


def _content(schema: JsonSchemaValue, media_type: str = "application/json") -> Json:
    return {media_type: {"schema": schema}}


def _refused(refusal: ProblemType, schemas: Schemas) -> Json:
    response: Json = {
        "description": refusal.__doc__ or "",
        "content": _content(schemas[ProblemDetails], "application/problem+json"),
    }
    if sent := HEADERS.get(refusal.status):
        response["headers"] = {name: {"required": True, "schema": {"type": "string"}} for name in sent}
    return response
