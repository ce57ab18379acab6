"""What the admin API answers with and the command prints: users, workspaces, sites, audit lines, problems. No I/O."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel

Item = TypeVar("Item")


class View(BaseModel):
    """The base of every answer: made by us, so nothing in it is guessed or converted."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(View, Generic[Item]):
    """Some of a list. `next` asks for what comes after (as the parameter `after`); null: this is the end."""

    items: list[Item]
    next: str | None


class PersonView(View):
    """Who authorised an API user, or did what an audit line tells."""

    name: str
    email: str


class KeyView(View):
    """What may be shown of an API key. `recoverable`: it is kept encrypted, and can be revealed."""

    hint: str
    created_at: datetime
    expires_at: datetime | None
    recoverable: bool


class User(View):
    """One API user. `sites` may be cut short in lists, `site_count` never; with `all_sites` there are none."""

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
    disabled_at: datetime | None


class CreatedUser(User):
    """A new API user and its key: the only time that the key is shown. Null where the same wish was granted before."""

    api_key: str | None


class RevealedKey(View):
    """A key shown again; `api_key` is null where only its hint is kept."""

    hint: str
    api_key: str | None


class RevealedKeys(View):
    """The keys of an API user, the oldest first."""

    keys: list[RevealedKey]


class Workspace(View):
    """One workspace."""

    name: str
    created_at: datetime


class ExampleRequest(View):
    """A request to this installation's data: `{site}`, `{key}` and `{basic}` (RFC 7617) are to be filled in."""

    url: str
    headers: list[str]


class ImportResult(View):
    """How many sites an import added, renamed, and found as they were."""

    created: int
    renamed: int
    unchanged: int


class SignInMethods(View):
    """How admins sign in on the page: with a token or not, and at which OpenID Connect issuer (its name), if any."""

    token: bool
    oidc: str | None


class AuthorizationRedirect(View):
    """Where the browser goes to sign in. It comes back by itself."""

    location: str


class SessionView(View):
    """Who is asking, and what there is to know about this installation.

    `csrf_token` goes into the header `X-CSRF-Token` of whatever changes something; it is null with an Authorization
    header, which needs none. `can_sign_out` says that there is a session to end.
    """

    person: PersonView
    workspaces: list[str] | None
    csrf_token: str | None
    can_sign_out: bool
    recoverable_keys: bool
    try_it: ExampleRequest | None


class Site(View):
    """One site."""

    id: str
    workspace: str
    display_name: str
    created_at: datetime


class SiteWithUsers(Site):
    """One site, and how many API users have it among their selected sites."""

    user_count: int


class AuditLine(View):
    """What was done, by whom, when, from where. Outlives what it tells of."""

    id: int
    at: datetime
    actor: PersonView
    address: str
    action: str
    workspace: str | None
    subject: str | None
    detail: dict[str, Any]


class Document(RootModel[dict[str, Any]]):
    """An OpenAPI document."""
