"""Models of responses, which the command prints as well. No I/O."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel

Item = TypeVar("Item")


class View(BaseModel):
    """Base of response models."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(View, Generic[Item]):
    """One page of a list. Pass `next` as the parameter `after` to get the next page; it is null on the last one.

    A page can have fewer items than `limit`, or none, and still have a `next`: the search can go on after many that do
    not match.
    """

    items: list[Item]
    next: str | None

    @classmethod
    def of(cls, items: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Self:
        """Return the page with the first `limit` of `items`. One more item means that there is a next page."""
        shown = list(items[:limit])
        return cls(items=shown, next=cursor(shown[-1]) if len(items) > limit else None)


class PersonView(View):
    """The person who authorized an API user, or who made a change in the audit log."""

    name: str
    email: str


class ExplainedStep(View):
    """A step of a decision."""

    title: str
    lines: list[str]


class Explanation(View):
    """The decision on a request that was not sent. `status` and `code` are those of the refusal, or null.

    `undecided` means that the database does not answer, or that the API user does not exist.
    """

    outcome: Literal["passes", "refused", "undecided"]
    status: int | None
    code: str | None
    reason: str
    hints: list[str]
    steps: list[ExplainedStep]


class KeyView(View):
    """The visible part of an API key. `recoverable` means that the key is stored encrypted and can be revealed.

    `seconds_left` is how long the key still works by the database's clock, rounded up: until its own `expires_at` or
    its user's, whichever is earlier. It is null if neither is set.
    """

    hint: str
    created_at: datetime
    expires_at: datetime | None
    seconds_left: int | None
    last_activity: datetime | None
    recoverable: bool


class User(View):
    """An API user. Lists may shorten `sites`, but `site_count` is always exact. With `all_sites`, `sites` is empty.

    `methods` and `networks` are the only methods and networks that the keys may be used with; null means all.
    `requests_per_second`, `burst` and `requests_per_day` (UTC) limit the requests with all keys together; null means
    the limit of the route, and a burst of a second's worth. `version` grows with each change, but not with activity.
    """

    id: str
    name: str | None
    workspace: str
    all_sites: bool
    sites: list[str]
    site_count: int
    keys: list[KeyView]
    authorized_by: PersonView
    created_at: datetime
    last_activity: datetime | None
    disabled: bool
    disabled_at: datetime | None
    expires_at: datetime | None
    methods: list[str] | None
    networks: list[str] | None
    requests_per_second: float | None
    burst: int | None
    requests_per_day: int | None
    version: int


class Count(View):
    """How many items a list contains, up to 10,000. `more` means that there are more than `count`."""

    count: int
    more: bool


class UserActivity(View):
    """The last activity of an API user."""

    id: str
    last_activity: datetime | None


class UserActivities(View):
    """The last activity of several API users, in any order. Users that do not exist are left out."""

    items: list[UserActivity]


class UsageInterval(View):
    """The usage of an API user in an hour or on a day (UTC) that begins `at`.

    `refused` has the number of refused requests by code. `bytes_out` are those of response bodies.
    """

    at: datetime
    passed: int
    refused: dict[str, int]
    bytes_out: int


class UserUsage(View):
    """The usage of an API user, oldest first. Hours or days from `since` to `until` without requests are left out."""

    by: Literal["hour", "day"]
    since: datetime
    until: datetime
    items: list[UsageInterval]


class UsageLine(View):
    """The requests of an API user with one outcome, `passed` or the code of a refusal, in an hour or on a day (UTC).

    `name` and `workspace` are null if the API user was deleted. `bytes_out` is null for refused requests.
    """

    at: datetime
    id: str
    name: str | None
    workspace: str | None
    outcome: str
    requests: int
    bytes_out: int | None


class UsageSummary(View):
    """How many requests of an API user passed on each day (UTC), oldest first; the last day is today."""

    id: str
    passed: list[int]


class UsageSummaries(View):
    """The last 30 days of several API users, beginning with `since`. Users without requests are left out."""

    since: datetime
    items: list[UsageSummary]


class CreatedUser(User):
    """A new API user with its key, which is not returned again. `api_key` is null in the response to a retry."""

    api_key: str | None


class RotatedUser(User):
    """An API user with its new key, which is not returned again. `api_key` is null in the response to a retry."""

    api_key: str | None


class RevealedKey(View):
    """A revealed key. `api_key` is null if only its hint is stored."""

    hint: str
    api_key: str | None


class RevealedKeys(View):
    """The keys of an API user, oldest first."""

    keys: list[RevealedKey]


class Workspace(View):
    """A workspace."""

    name: str
    created_at: datetime


class WorkspaceWithCounts(Workspace):
    """A workspace, with the numbers of its sites and API users."""

    site_count: int
    user_count: int


class ExampleRequest(View):
    """An example request to this installation, with the placeholders `{site}`, `{key}` and `{basic}` (RFC 7617)."""

    url: str
    headers: list[str]


class ImportedSite(View):
    """What an import does with a site of the file. `previous_name` is the name of a site that exists."""

    line: int
    outcome: Literal["new", "renamed", "unchanged"]
    id: str
    workspace: str
    display_name: str
    previous_name: str | None


class ImportFault(View):
    """An error in an imported file. `line` is null if the error concerns the whole file."""

    line: int | None
    detail: str


class ImportResult(View):
    """The numbers of sites that an import adds, renames and leaves unchanged, and the sites.

    A dry run returns what an import would do, and all errors. `ignored_columns` are the headings of other columns, and
    `encoding` is the encoding that the file was read with, because it may be a guess.
    """

    created: int
    renamed: int
    unchanged: int
    sites: list[ImportedSite]
    new_workspaces: list[str]
    ignored_columns: list[str]
    encoding: str
    errors: list[ImportFault]


class KeyImportResult(View):
    """The numbers of keys that an import adds, changes and leaves unchanged.

    A dry run returns what an import would do, and all errors. `warnings` are sentences for the admin.
    """

    imported: int
    changed: int
    unchanged: int
    warnings: list[str]
    errors: list[ImportFault]


class SignInMethods(View):
    """The sign-in methods of the page: whether tokens work, and the OpenID Connect issuer's name, if there is one."""

    token: bool
    oidc: str | None


class AuthorizationRedirect(View):
    """The issuer's URL, to which the page sends the browser. The issuer then sends the browser back."""

    location: str


class SessionView(View):
    """The signed-in admin, and facts about this installation.

    Send `csrf_token` in the `X-CSRF-Token` header of every request that changes something. It is null for callers
    that send an Authorization header, which need none. `can_sign_out` means that there is a session to end.
    `shadow_routes` are the routes in shadow mode, which refuse nothing.
    """

    person: PersonView
    workspaces: list[str] | None
    csrf_token: str | None
    can_sign_out: bool
    recoverable_keys: bool
    try_it: ExampleRequest | None
    shadow_routes: list[str]


class Site(View):
    """A site."""

    id: str
    workspace: str
    display_name: str
    created_at: datetime


class SiteWithUsers(Site):
    """A site, with the number of API users that have selected it."""

    user_count: int


class MissingSite(View):
    """An id that is not a site of the workspace. `similar` is a site with a similar id, such as `shop` for `Shop`."""

    id: str
    similar: str | None


class FoundSites(View):
    """Which of the given ids are sites of the workspace, each once and in the given order."""

    found: list[str]
    missing: list[MissingSite]


class AuditLine(View):
    """An entry of the audit log. It outlives its subject: `subject_exists` says whether an API user still exists, and
    is null if the subject is not an API user.
    """

    id: int
    at: datetime
    actor: PersonView
    address: str
    action: str
    workspace: str | None
    subject: str | None
    subject_exists: bool | None
    detail: dict[str, Any]


class ShadowUser(View):
    """The API user of a finding. If it was deleted, everything but its id is null."""

    id: str
    name: str | None
    workspace: str | None
    key_hint: str | None


class ShadowFix(View):
    """What would let the requests of a finding pass.

    `kind` says where to change something: `add_site` and `edit_user` change the API user, `register_site` adds a site
    to the workspace, `import_keys` imports keys, `route` and `keys` are tables of the config, and `setting` names the
    option. With `client`, only the client can change its requests. `database` means that lookups failed.
    """

    kind: Literal["add_site", "register_site", "edit_user", "import_keys", "route", "keys", "client", "database"]
    setting: str | None
    advice: str


class ShadowFinding(View):
    """Requests that a route in shadow mode forwarded, and that it would have refused for the same reason.

    `user` is null if the requests had no known key. `site` is the site that the key does not cover, and `…` stands for
    further sites of the same API user.
    """

    route: str
    code: str
    detail: str
    requests: int
    first_seen: datetime
    last_seen: datetime
    user: ShadowUser | None
    site: str | None
    fix: ShadowFix


class CsvFile(RootModel[str]):
    """A CSV file (RFC 4180), with a heading for each column in the first line."""

    media_type: ClassVar[str] = "text/csv"


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""
