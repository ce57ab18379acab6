"""Models of request bodies and query parameters. They reject unknown fields.

The models check types and sizes. The operations check rules that need the database, or that also hold for the command.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic_core import PydanticCustomError

from admin.api.audit import Action
from admin.api.key_rotation import MAX_OVERLAP_SECONDS
from admin.api.usage import UsageBy
from admin.api.user_conditions import MAX_METHODS, MAX_NETWORKS
from admin.api.user_creation import MAX_SITES
from admin.api.user_order import Sort
from admin.text_rules import NAME_LENGTH, WORKSPACE, WORKSPACE_LENGTH, is_text
from proxy.settings import MAX_BURST, MAX_PER_DAY, MAX_PER_SECOND, MIN_PER_SECOND

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _text(text: str) -> str:
    if not is_text(text):
        raise PydanticCustomError("text", "must not contain control characters.")
    return text


def _checked_later(**rules: Any) -> Any:
    """Add rules to the OpenAPI schema only. The operations check the rules, with better error messages."""
    return Field(json_schema_extra=rules)


Text = Annotated[str, AfterValidator(_text), _checked_later(pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")]
Name = Annotated[Text, _checked_later(minLength=1, maxLength=NAME_LENGTH)]
Workspace = Annotated[Text, _checked_later(pattern=f"^{WORKSPACE}$", maxLength=WORKSPACE_LENGTH)]


def _with_offset(text: object) -> str:
    # Pydantic would also accept numbers, as seconds since 1970.
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise PydanticCustomError("time", "must be a time with a UTC offset, such as 2026-11-30T08:00:00Z.")
    return text


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("time", "must be between the years 1 and 9999 in UTC.") from None


Time = Annotated[AwareDatetime, BeforeValidator(_with_offset), AfterValidator(_utc)]


class Body(BaseModel):
    """Base of request bodies: strict, so that `"all_sites": "no"` is an error rather than true."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    max_bytes: ClassVar[int] = 8 * 1024
    """Enough for names. Parsing megabytes is slow, and an endpoint without credentials accepts them from anyone."""


class NewUser(Body):
    """`POST /admin/users`: a user for all sites of the workspace, or for the listed ones."""

    max_bytes: ClassVar[int] = 4 * 1024 * 1024
    """Enough for ten thousand sites with long ids."""

    workspace: Workspace
    all_sites: bool = False
    # fail_fast, because one error for each of a million wrong items took a minute.
    sites: Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_SITES)] | None = None
    name: Name | None = None


class SiteChanges(BaseModel):
    """Sites to add to the selected ones, and sites to remove."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    add: Annotated[list[Text], Field(fail_fast=True), _checked_later(maxItems=MAX_SITES)] = []
    remove: Annotated[list[Text], Field(fail_fast=True), _checked_later(maxItems=MAX_SITES)] = []


def _form_of_sites(value: Any) -> str:
    return _CHANGED_SITES if isinstance(value, dict | SiteChanges) else _LISTED_SITES


_Methods = Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_METHODS)]
_Networks = Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_NETWORKS)]
_LISTED_SITES, _CHANGED_SITES = FORMS = ("(listed sites)", "(changed sites)")
"""Pydantic adds these to the places of errors."""


class EditUser(Body):
    """The changes of `PATCH /admin/users/{id}`. Omitted fields stay as they are, and null removes a limit or the name.

    `sites` is the new list, or an object with the sites to `add` and to `remove`. `methods` and `networks` are the only
    methods and networks (in CIDR notation) that the keys may be used with. `requests_per_second`, `burst` and
    `requests_per_day` (UTC) limit the requests with all keys together, in place of the route's `user_limits`.
    """

    max_bytes: ClassVar[int] = 4 * 1024 * 1024

    name: Name | None = None
    all_sites: bool = False
    sites: Annotated[
        Annotated[list[Text], Field(fail_fast=True), _checked_later(maxItems=MAX_SITES), Tag(_LISTED_SITES)]
        | Annotated[SiteChanges, Tag(_CHANGED_SITES)],
        Discriminator(_form_of_sites),
    ] = []
    disabled: bool = False
    expires_at: Annotated[Time, Field(strict=False)] | None = None
    methods: Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_METHODS)] | None = (
        None
    )
    networks: Annotated[list[Text], Field(fail_fast=True), _checked_later(minItems=1, maxItems=MAX_NETWORKS)] | None = (
        None
    )
    requests_per_second: (
        Annotated[float, Field(allow_inf_nan=False), _checked_later(minimum=MIN_PER_SECOND, maximum=MAX_PER_SECOND)]
        | None
    ) = None
    burst: Annotated[int, _checked_later(minimum=1, maximum=MAX_BURST)] | None = None
    requests_per_day: Annotated[int, _checked_later(minimum=1, maximum=MAX_PER_DAY)] | None = None


class RotateKey(Body):
    """`POST /admin/users/{id}/keys`: for how long the old key still works, and whether to end an overlap in progress.

    With `end_old_key`, the keys that an earlier rotation replaced stop working at once. Otherwise, a rotation during an
    overlap is a conflict.
    """

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)]
    end_old_key: bool = False


class SignIn(Body):
    """`POST /admin/session`: an admin token."""

    token: Annotated[Text, Field(max_length=500)]


class TriedRequest(Body):
    """`POST /admin/explain`: a request to decide on without sending it.

    `url` is a path with its query, or a complete URL. Each of `headers` is a line `NAME: VALUE`. The request has a key
    of the API user `user_id`, or the key `api_key`, or neither. A key that is limited to networks needs
    `client_address`.
    """

    max_bytes: ClassVar[int] = 256 * 1024

    method: Annotated[Text, Field(max_length=64)] = "GET"
    url: Annotated[Text, Field(max_length=64 * 1024)]
    headers: Annotated[list[Text], Field(max_length=100)] = []
    user_id: Annotated[Text, Field(max_length=100)] | None = None
    api_key: Annotated[Text, Field(max_length=1000)] | None = None
    client_address: Annotated[Text, Field(max_length=64)] | None = None


class NewWorkspace(Body):
    """`POST /admin/workspaces`."""

    name: Workspace


class RenameWorkspace(Body):
    """`PATCH /admin/workspaces/{name}`: the new name."""

    name: Workspace


class ImportSites(Body):
    """`POST /admin/sites`: a CSV file with the column site and, optionally, workspace and display_name.

    Send its text as `csv`, or its bytes in Base64 as `file`; they may be UTF-8, UTF-16 or Windows-1252. `workspace` is
    the default for lines without a workspace. Without `create_workspaces`, a workspace that does not exist is an error.
    With `dry_run`, nothing is changed, and the response lists all errors.
    """

    max_bytes: ClassVar[int] = 4 * 1024 * 1024

    csv: str | None = None
    file: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})] | None = None
    workspace: Workspace | None = None
    create_workspaces: bool = False
    dry_run: bool = False


class ImportKeys(Body):
    """`POST /admin/key-imports`: a list of existing keys, as CSV with headings or as JSON lines.

    Send its text as `text`, or its bytes in Base64 as `file`. Each line has `key` or `sha256`, and optionally
    `workspace`, `sites` or `all_sites`, `name` and `expires_at`; the fields of the body are the defaults. Without
    `update`, a known key with another scope is an error. With `dry_run`, nothing is changed, and the response lists all
    errors.
    """

    max_bytes: ClassVar[int] = 4 * 1024 * 1024

    text: str | None = None
    file: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})] | None = None
    workspace: Workspace | None = None
    all_sites: bool = False
    sites: Annotated[list[Text], Field(fail_fast=True, max_length=MAX_SITES)] = []
    update: bool = False
    allow_weak: bool = False
    dry_run: bool = False


class LookUpSites(Body):
    """`POST /admin/site-lookup`: ids that a person pasted, to select the sites among them."""

    max_bytes: ClassVar[int] = 4 * 1024 * 1024

    workspace: Workspace
    ids: Annotated[list[Text], Field(fail_fast=True, max_length=MAX_SITES)]


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


class UserFilter(QueryParameters):
    """Parameters of `GET /admin/user-count`: the API users that a list contains.

    `authorized_by` is an email address, or beginnings of words in the name and email address of the person.
    """

    workspace: Text | None = None
    search: Search | None = None
    never_used: bool = False
    unused_days: Annotated[int, Field(ge=1, le=36500)] | None = None
    authorized_by: Annotated[Text, Field(max_length=320)] | None = None
    expires_within_days: Annotated[int, Field(ge=1, le=36500)] | None = None
    expired: bool = False


class UserQuery(UserFilter):
    """Parameters of `GET /admin/users`."""

    sort: Sort = "-created"
    after: Annotated[Text, Field(max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ActivityQuery(QueryParameters):
    """Parameters of `GET /admin/activity`: up to 100 ids of API users, separated by commas."""

    ids: Annotated[Text, Field(max_length=3700)]


class UsageSummaryQuery(QueryParameters):
    """Parameters of `GET /admin/usage`: up to 100 ids of API users, separated by commas."""

    ids: Annotated[Text, Field(max_length=3700)]


class UsageQuery(QueryParameters):
    """Parameters of `GET /admin/users/{id}/usage`: hours or days, and the period.

    Without `since`, it begins 30 days ago, or as early as there are hours.
    """

    by: UsageBy = "day"
    since: Time | None = None
    until: Time | None = None


class UsageExport(UsageQuery):
    """Parameters of `GET /admin/usage.csv`: hours or days, the period, and the workspace."""

    workspace: Text | None = None


class SiteFilter(QueryParameters):
    """Parameters of `GET /admin/site-count`: the sites that a list contains."""

    workspace: Text | None = None
    search: Search | None = None


class SiteQuery(SiteFilter):
    """Parameters of `GET /admin/sites`."""

    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AuditExport(QueryParameters):
    """Parameters of `GET /admin/audit.csv`: which entries to return.

    `subject` is the id of an API user or site, or the name of a workspace, and `actor` the email address of a person.
    """

    workspace: Text | None = None
    search: Search | None = None
    subject: Text | None = None
    actor: Annotated[Text, Field(max_length=320)] | None = None
    action: Action | None = None
    since: Time | None = None
    until: Time | None = None


class AuditQuery(AuditExport):
    """Parameters of `GET /admin/audit`: which entries to return, and which page of them."""

    after: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ShadowQuery(QueryParameters):
    """Parameters of `GET /admin/shadow-findings`. With `workspace`, only findings about its API users are listed."""

    workspace: Text | None = None
    after: Annotated[str, Field(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class NoQuery(QueryParameters):
    """No parameters."""
