"""Models of request bodies and query parameters. They reject unknown fields.

The models check types and sizes. The operations check what needs the database, and what the command shares.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from multidict import MultiMapping
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from admin.api.user_list import Sort
from admin.api.users import MAX_SITES
from admin.problems import MAX_FAULTS, Fault, Invalid, Malformed
from admin.text_rules import NAME_LENGTH, WORKSPACE, WORKSPACE_LENGTH, is_text

Model = TypeVar("Model", bound=BaseModel)


def _text(text: str) -> str:
    if not is_text(text):
        raise PydanticCustomError("text", "must not contain control characters.")
    return text


def _checked_later(**rules: Any) -> Any:
    """Add rules to the schema that the operations check, because they have better error messages."""
    return Field(json_schema_extra=rules)


Text = Annotated[str, AfterValidator(_text), _checked_later(pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")]
Name = Annotated[Text, _checked_later(minLength=1, maxLength=NAME_LENGTH)]
Workspace = Annotated[Text, _checked_later(pattern=f"^{WORKSPACE}$", maxLength=WORKSPACE_LENGTH)]


class Body(BaseModel):
    """Base of request bodies: strict, so that `"all_sites": "no"` is an error rather than true."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    max_bytes: ClassVar[int] = 8 * 1024
    """Enough for names. Parsing megabytes takes long, and anyone can send them to an endpoint without credentials."""


class NewUser(Body):
    """`POST /admin/users`: a user for all sites of the workspace, or for the listed ones."""

    max_bytes: ClassVar[int] = 4 * 1024 * 1024
    """Enough for ten thousand sites with long ids."""

    workspace: Workspace
    all_sites: bool = False
    # fail_fast, because one error for each of a million wrong items took a minute.
    sites: Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_SITES)] | None = None
    name: Name | None = None


class SignIn(Body):
    """`POST /admin/session`: an admin token."""

    token: Annotated[Text, Field(max_length=500)]


class NewWorkspace(Body):
    """`POST /admin/workspaces`."""

    name: Workspace


class ImportSites(Body):
    """`POST /admin/sites`: a CSV file with the columns site, workspace and, optionally, display_name."""

    max_bytes: ClassVar[int] = 4 * 1024 * 1024

    csv: str


class PutSite(Body):
    """`PUT /admin/sites/{id}`: the workspace that owns the site, and its display name (default: the id)."""

    workspace: Workspace
    display_name: Name | None = None


class RenameSite(Body):
    """`PATCH /admin/sites/{id}`: the new display name."""

    display_name: Name


class QueryParameters(BaseModel):
    """Base of query parameters. Not strict, because every parameter arrives as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WorkspaceQuery(QueryParameters):
    """Parameters of `GET /admin/workspaces`."""

    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


# Names and ids never begin with a space, and a search for nothing but spaces is ignored.
Search = Annotated[Text, Field(max_length=200), AfterValidator(str.lstrip)]


class UserQuery(QueryParameters):
    """Parameters of `GET /admin/users`."""

    workspace: Text | None = None
    search: Search | None = None
    sort: Sort = "-created"
    after: Annotated[Text, Field(max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class SiteQuery(QueryParameters):
    """Parameters of `GET /admin/sites`."""

    workspace: Text | None = None
    search: Search | None = None
    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AuditQuery(QueryParameters):
    """Parameters of `GET /admin/audit`: `subject` is a user's or site's id, or a workspace's name."""

    workspace: Text | None = None
    subject: Text | None = None
    after: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class NoQuery(QueryParameters):
    """No parameters."""


_MAX_NAMES = 100
"""Far more than any of our models has. Reporting each of thousands takes long, and anyone can send them."""

_TOO_MANY_CONTAINERS = re.compile(rb'(?:(?:[^"\[{]++|"(?:[^"\\]++|\\.)*+")*+[\[{]){%d}' % (_MAX_NAMES + 1))
"""Matches JSON that contains more lists and objects than that. Brackets inside strings do not count."""


def read_body(model: type[Model], raw: bytes) -> Model:
    """Parse the body as `model`. Raises Malformed if it is not JSON, and Invalid with a fault for each broken rule."""
    # Building a million of them takes half a second, during which the whole process is blocked.
    if _TOO_MANY_CONTAINERS.match(raw):
        raise Malformed(f"The body contains more than {_MAX_NAMES} lists and objects.")
    try:
        payload = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
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
    # Of two equal names, different parsers take different values.
    if len(read) != len(pairs) or len(read) > _MAX_NAMES:
        raise ValueError
    return read


_SENTENCES = {
    "missing": "is missing.",
    "extra_forbidden": "is unknown.",
    "string_type": "must be text.",
    "bool_type": "must be true or false.",
    "list_type": "must be a list.",
    "int_parsing": "must be a whole number.",
    "model_type": "must be a JSON object.",
}


def _invalid(error: ValidationError, *, in_query: bool) -> Invalid:
    faults = tuple(
        Fault(details["loc"], _sentence(details), in_parameter=in_query)
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
            return f"must have at most {context['max_length']} characters."
        case "literal_error":
            return f"must be one of {context['expected']}."
        case kind:
            return _SENTENCES.get(kind, details["msg"])
