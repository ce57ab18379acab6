"""Endpoints for API users."""

from uuid import UUID

from aiohttp import web

from admin.api import users
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, json_response, no_content
from admin.api.idempotency import HEADER, read_idempotency_key
from admin.api.key_rotation import end_old_keys, rotate_key
from admin.api.request_models import ActivityQuery, EditUser, NewUser, NoQuery, RotateKey, UserFilter, UserQuery
from admin.api.response_models import Count, CreatedUser, Page, RevealedKeys, RotatedUser, User, UserActivities
from admin.api.user_creation import create_user
from admin.api.user_editing import FIELDS, SiteEdit, edit_user
from admin.api.user_list import Filters, count_users, list_activity, list_users
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes
from admin.key_encryption import KeyCipher
from admin.problems import ChangedMeanwhile, Conflict, Fault, Invalid, NotFound


class UserEndpoints:
    """List, create, show, change and delete API users, and rotate and reveal their keys."""

    def __init__(self, lanes: Lanes, cipher: KeyCipher | None) -> None:
        self._lanes = lanes
        self._cipher = cipher

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/users", self.list_users, UserQuery, {200: Page[User]}),
            endpoint("POST", "/users", self.create_user, NewUser, {201: CreatedUser}, Conflict, idempotent=True),
            endpoint("GET", "/user-count", self.count_users, UserFilter, {200: Count}),
            endpoint("GET", "/users/{id}", self.get_user, NoQuery, {200: User}, NotFound),
            endpoint(
                "PATCH",
                "/users/{id}",
                self.edit_user,
                EditUser,
                {200: User},
                NotFound,
                ChangedMeanwhile,
                conditional=True,
            ),
            endpoint(
                "POST",
                "/users/{id}/keys",
                self.rotate_key,
                RotateKey,
                {201: RotatedUser},
                NotFound,
                Conflict,
                idempotent=True,
            ),
            endpoint("DELETE", "/users/{id}/old-keys", self.end_old_keys, NoQuery, {200: User}, NotFound),
            endpoint("DELETE", "/users/{id}", self.delete_user, NoQuery, {204: None}, NotFound),
            endpoint("GET", "/activity", self.list_activity, ActivityQuery, {200: UserActivities}),
            endpoint("POST", "/users/{id}/reveal", self.reveal_user, NoQuery, {200: RevealedKeys}, NotFound, Conflict),
        ]

    async def list_users(self, request: web.Request, query: UserQuery) -> web.Response:
        """List API users."""
        async with self._lanes.lists.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            page = await list_users(
                connection,
                within=within,
                search=query.search,
                filters=_filters(query),
                sort=query.sort,
                after=query.after,
                limit=query.limit,
            )
        return json_response(page)

    async def count_users(self, request: web.Request, query: UserFilter) -> web.Response:
        """Count the API users that a list contains, up to 10,000."""
        async with self._lanes.counts.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            count = await count_users(connection, within=within, search=query.search, filters=_filters(query))
        return json_response(count)

    async def list_activity(self, request: web.Request, query: ActivityQuery) -> web.Response:
        """List the last activity of some API users."""
        ids = user_ids(query.ids)
        async with self._lanes.lookups.read() as connection:
            activities = await list_activity(connection, ids, within=admin_of(request).workspaces)
        return json_response(activities)

    async def create_user(self, request: web.Request, body: NewUser) -> web.Response:
        """Create an API user. The response contains its key, which is not shown again."""
        key = read_idempotency_key(request.headers.getall(HEADER, []))
        async with self._lanes.changes.borrow() as connection:
            user = await create_user(
                connection,
                workspace=body.workspace,
                all_sites=body.all_sites,
                sites=body.sites,
                name=body.name,
                by=actor_of(request),
                cipher=self._cipher,
                idempotency_key=key,
            )
        return json_response(user, 201)

    async def get_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show an API user with all of its sites."""
        async with self._lanes.lookups.read() as connection:
            user = await users.get_user(connection, request.match_info["id"], within=admin_of(request).workspaces)
        return json_response(user, etag=str(user.version))

    async def edit_user(self, request: web.Request, body: EditUser) -> web.Response:
        """Change an API user. What the body leaves out stays as it is."""
        changes = {name: getattr(body, name) for name in body.model_fields_set if name in FIELDS}
        sites = None
        if "sites" in body.model_fields_set:
            given = body.sites
            sites = SiteEdit(given) if isinstance(given, list) else SiteEdit(add=given.add, remove=given.remove)
        async with self._lanes.changes.borrow() as connection:
            user = await edit_user(
                connection,
                request.match_info["id"],
                changes,
                sites=sites,
                versions=_versions(request),
                by=actor_of(request),
            )
        return json_response(user, etag=str(user.version))

    async def rotate_key(self, request: web.Request, body: RotateKey) -> web.Response:
        """Give an API user a new key. The old key works until the overlap ends."""
        key = read_idempotency_key(request.headers.getall(HEADER, []))
        async with self._lanes.changes.borrow() as connection:
            user = await rotate_key(
                connection,
                request.match_info["id"],
                overlap_seconds=body.overlap_seconds,
                end_old_key=body.end_old_key,
                by=actor_of(request),
                cipher=self._cipher,
                idempotency_key=key,
            )
        return json_response(user, 201, etag=str(user.version))

    async def end_old_keys(self, request: web.Request, _: NoQuery) -> web.Response:
        """End the overlap of a rotation now. Only the newest key of the API user remains valid."""
        async with self._lanes.changes.borrow() as connection:
            user = await end_old_keys(connection, request.match_info["id"], by=actor_of(request))
        return json_response(user, etag=str(user.version))

    async def delete_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Delete an API user and its keys permanently."""
        async with self._lanes.deletions.borrow() as connection:
            await users.delete_user(connection, request.match_info["id"], by=actor_of(request))
        return no_content()

    async def reveal_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Reveal the keys of an API user, if they are recoverable. The audit log records each reveal."""
        async with self._lanes.changes.borrow() as connection:
            keys = await users.reveal_keys(
                connection, request.match_info["id"], cipher=self._cipher, by=actor_of(request)
            )
        return json_response(keys)


def _versions(request: web.Request) -> set[int] | None:
    """Return the versions that the If-Match of a request accepts, or None if it accepts any."""
    tags = request.if_match
    if tags is None or any(tag.value == "*" and not tag.is_weak for tag in tags):
        return None
    return {int(tag.value) for tag in tags if not tag.is_weak and tag.value.isdecimal() and len(tag.value) < 20}


def user_ids(ids: str) -> list[UUID]:
    """Return the ids in the parameter `ids`. Raises Invalid."""
    try:
        return [UUID(user_id) for user_id in ids.split(",")]
    except ValueError:
        fault = Fault(("ids",), "must be ids of API users, separated by commas.", in_parameter=True)
        raise Invalid(f'"ids" {fault.detail}', (fault,)) from None


def _filters(query: UserFilter) -> Filters:
    return Filters(query.never_used, query.unused_days, query.authorized_by, query.expires_within_days, query.expired)
