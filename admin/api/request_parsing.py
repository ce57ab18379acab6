"""Parsing of request bodies and query parameters into models, with a sentence for each error."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from admin.api.request_models import FORMS
from admin.problems import MAX_FAULTS, Fault, Invalid, Malformed

Model = TypeVar("Model", bound=BaseModel)

_MAX_NAMES = 100
"""The maximum number of names. No model has as many. Anyone can send thousands, and reporting them all is slow."""
_TOO_MANY_CONTAINERS = re.compile(rb'(?:(?>(?:[^"\[{]++|"(?>(?:[^"\\]++|\\.)*)")*)[\[{]){%d}' % (_MAX_NAMES + 1))
"""Matches JSON with more than _MAX_NAMES lists and objects. Brackets inside strings do not count."""


def read_body(model: type[Model], raw: bytes) -> Model:
    """Parse the body as `model`. Raises Malformed if it is not JSON, and Invalid with a fault for each broken rule."""
    # Building a million lists takes half a second, and blocks the whole process for that time.
    if _TOO_MANY_CONTAINERS.match(raw):
        raise Malformed(f"The body contains more than {_MAX_NAMES} lists and objects.")
    try:
        payload = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise Malformed("The body must be a JSON object in UTF-8 without duplicate names.") from None
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise _invalid(error, in_query=False) from None


def read_query(model: type[Model], parameters: MultiMapping[str]) -> Model:
    """Parse the query parameters as `model`. Raises Invalid."""
    if len(parameters) > _MAX_NAMES:
        raise Invalid(f"The query has more than {_MAX_NAMES} parameters.")
    repeated = {name for name in parameters if len(parameters.getall(name)) > 1}
    if repeated:
        faults = tuple(Fault((name,), "must not be repeated.", in_parameter=True) for name in sorted(repeated))
        raise Invalid("A parameter is repeated.", faults)
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise _invalid(error, in_query=True) from None


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    read = dict(pairs)
    # Parsers disagree about which of two equal names counts.
    if len(read) != len(pairs) or len(read) > _MAX_NAMES:
        raise ValueError
    return read


_SENTENCES = {
    "missing": "is missing.",
    "extra_forbidden": "is unknown.",
    "string_type": "must be text.",
    "bool_type": "must be true or false.",
    "bool_parsing": "must be true or false.",
    "list_type": "must be a list.",
    "int_parsing": "must be a whole number.",
    "int_type": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "model_type": "must be a JSON object.",
}


def _invalid(error: ValidationError, *, in_query: bool) -> Invalid:
    faults = tuple(
        Fault(tuple(part for part in details["loc"] if part not in FORMS), _sentence(details), in_parameter=in_query)
        for details in error.errors(include_url=False, include_input=False)
    )
    return Invalid("\n".join(map(_with_name, faults[:MAX_FAULTS])), faults[:MAX_FAULTS])


def _with_name(fault: Fault) -> str:
    what = f'"{"/".join(map(str, fault.place))}"' if fault.place else "The body"
    return f"{what} {fault.detail}"


def _sentence(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "greater_than_equal":
            return f"must be {context['ge']} or more."
        case "less_than_equal":
            return f"must be {context['le']} or less."
        case "less_than":
            return f"must be less than {context['lt']}."
        case "string_too_long" | "too_long":
            unit = "items" if context.get("field_type") == "List" else "characters"
            return f"must have at most {context['max_length']} {unit}."
        case "datetime_parsing" | "datetime_from_date_parsing":
            return "must be a time that exists, such as 2026-11-30T08:00:00Z."
        case "literal_error":
            return f"must be one of {context['expected']}."
        case kind:
            return _SENTENCES.get(kind, details["msg"])
