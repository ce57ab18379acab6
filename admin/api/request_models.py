"""What the admin API is sent: bodies and query parameters, as models that refuse what they do not know.

Shape is judged here; what needs the database (and what the command shares) is judged where it is done.
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
from admin.problems import Fault, Invalid, Malformed
from admin.text_rules import NAME_LENGTH, WORKSPACE, WORKSPACE_LENGTH, is_text

Model = TypeVar("Model", bound=BaseModel)


def _text(text: str) -> str:
    if not is_text(text):
        raise PydanticCustomError("text", "must hold no control characters.")
    return text


def _judged_later(**rules: Any) -> Any:
    """Describe rules that are judged elsewhere, with sentences of their own."""
    return Field(json_schema_extra=rules)


Text = Annotated[str, AfterValidator(_text), _judged_later(pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")]
Name = Annotated[Text, _judged_later(minLength=1, maxLength=NAME_LENGTH)]
Workspace = Annotated[Text, _judged_later(pattern=f"^{WORKSPACE}$", maxLength=WORKSPACE_LENGTH)]


class Body(BaseModel):
    """The base of bodies: strict, so that `"all_sites": "no"` is an error and not true."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    most_bytes: ClassVar[int] = 8 * 1024
    """Names fit. Reading megabytes holds everything else up, and anybody may send them to where nobody is known yet."""


class NewUser(Body):
    """`POST /admin/users`: all sites of the workspace, or the named ones."""

    most_bytes: ClassVar[int] = 4 * 1024 * 1024
    """Ten thousand sites with long ids fit."""

    workspace: Workspace
    all_sites: bool = False
    # A fault for each of a million wrong items took a minute.
    sites: Annotated[list[Text], Field(fail_fast=True), _judged_later(minItems=1, maxItems=MAX_SITES)] | None = None
    name: Name | None = None


class SignIn(Body):
    """`POST /admin/session`: the token of an admin."""

    token: Annotated[Text, Field(max_length=500)]


class NewWorkspace(Body):
    """`POST /admin/workspaces`."""

    name: Workspace


class ImportSites(Body):
    """`POST /admin/sites`: a CSV file with the columns site, workspace and, if you like, display_name."""

    most_bytes: ClassVar[int] = 4 * 1024 * 1024

    csv: str


class PutSite(Body):
    """`PUT /admin/sites/{id}`: whose it is, and what people call it (the id, if nothing else is said)."""

    workspace: Workspace
    display_name: Name | None = None


class RenameSite(Body):
    """`PATCH /admin/sites/{id}`: what people call it from now on."""

    display_name: Name


class QueryParameters(BaseModel):
    """The base of query parameters, which are text to begin with."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WorkspaceQuery(QueryParameters):
    """Parameters of `GET /admin/workspaces`."""

    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


# No name and no id begins with a space, and what is nothing else is no search.
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


_MOST_NAMES = 100
"""Far more than any object or query of ours has. Naming each of thousands takes long, and anybody may send them."""

_TOO_MANY_INSIDE = re.compile(rb'(?:(?:[^"\[{]++|"(?:[^"\\]++|\\.)*+")*+[\[{]){%d}' % (_MOST_NAMES + 1))
"""The start of a JSON text with more lists and objects than that. Strings may hold brackets, and are stepped over."""


def read_body(model: type[Model], raw: bytes) -> Model:
    """Return the body as `model`. Raises Malformed where it is not JSON, Invalid with a fault for each broken rule."""
    # To make a million of them takes half a second, in which nothing else of the process goes on.
    if _TOO_MANY_INSIDE.match(raw):
        raise Malformed(f"The body holds more than {_MOST_NAMES} lists and objects.")
    try:
        payload = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Malformed("The body must be one JSON object in UTF-8, with each name once.") from None
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise _invalid(error, in_query=False) from None


def read_query(model: type[Model], parameters: MultiMapping[str]) -> Model:
    """Return the query parameters as `model`. Raises Invalid."""
    if len(parameters) > _MOST_NAMES:
        raise Invalid(f"There are more than {_MOST_NAMES} parameters.")
    twice = {name for name in parameters if len(parameters.getall(name)) > 1}
    if twice:
        faults = tuple(Fault((name,), "must be given once.", in_parameter=True) for name in sorted(twice))
        raise Invalid("A parameter is given more than once.", faults)
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise _invalid(error, in_query=True) from None


def _once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    read = dict(pairs)
    # Two readers could take different ones.
    if len(read) != len(pairs) or len(read) > _MOST_NAMES:
        raise ValueError
    return read


_SENTENCES = {
    "missing": "is missing.",
    "extra_forbidden": "is not known here.",
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
    return Invalid("\n".join(map(_told, faults[:20])), faults[:20])


def _told(fault: Fault) -> str:
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
