"""Operations on API users, for the admin API and the command: create, show, delete, reveal keys.

The module `user_list` lists them.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from asyncpg import Record

from admin.api.audit import Change, sites_detail, write_audit
from admin.api.idempotency import claim_key
from admin.api.response_models import CreatedUser, KeyView, PersonView, RevealedKey, RevealedKeys, User
from admin.api.workspaces import workspace_id
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.key_encryption import KeyCipher
from admin.problems import Conflict, Fault, Invalid, NotFound
from admin.text_rules import check_name, is_text
from proxy.decision.api_keys import digest, hint, new_key
from proxy.decision.site_ids import fold_site
from sql.queries import query

CREATE_USER = query("create_user")
CREATE_KEY = query("create_key")
SEAL_KEY = query("seal_key")
SEALED_KEYS = query("sealed_keys")
CREATE_USER_SITES = query("create_user_sites")
LOCK_SITES = query("lock_sites")
SITES_FOLDED_LIKE = query("sites_folded_like")
DESCRIBE_USERS = query("describe_users")
LOCK_USER = query("lock_user")
DELETE_USER = query("delete_user")

MAX_SITES: Final = 10_000
_NOT_FOUND: Final = "This API user does not exist."


async def create_user(
    connection: Connection,
    *,
    workspace: str,
    all_sites: bool,
    sites: Sequence[str] | None,
    name: str | None,
    by: Actor,
    cipher: KeyCipher | None = None,
    idempotency_key: str | None = None,
) -> CreatedUser:
    """Create an API user for all sites of the workspace or for `sites`, and its key.

    With a `cipher`, the key is also stored encrypted and can be revealed later. A retry with the same `idempotency_key`
    returns the user that the first request created, without its key.

    Raises Invalid with a fault for each unknown site, Forbidden, KeyReused, KeyInUse, and Conflict if the user of a
    retry was deleted in the meantime.
    """
    wanted = _wanted_sites(all_sites, sites)
    if name is not None:
        name = check_name(name, "name")
    key = new_key()
    async with connection.transaction():
        owner = await workspace_id(connection, workspace, by.within)
        user_id = uuid4()
        if idempotency_key is not None:
            body = [workspace, all_sites, sorted(wanted), name]
            if first := await claim_key(connection, by.person, idempotency_key, body, user_id):
                return await _retried(connection, first, by.within)
        await _check_sites(connection, owner, workspace, wanted)
        await connection.execute(CREATE_USER, user_id, owner, name, all_sites, by.person.name, by.person.email)
        await connection.execute(CREATE_KEY, user_id, digest(key.encode("ascii")), hint(key))
        if cipher is not None:
            await connection.execute(SEAL_KEY, digest(key.encode("ascii")), cipher.encrypt(user_id, key))
        if wanted:
            await connection.execute(CREATE_USER_SITES, user_id, owner, list(wanted))
        [user] = await describe_users(connection, [user_id], by.within)
        await write_audit(connection, by, "user.created", [Change(workspace, user.id, _audit_detail(user))])
    return CreatedUser(**user.model_dump(), api_key=key)


async def describe_users(
    connection: Connection, user_ids: Sequence[UUID], within: WorkspaceLimit, sites: int | None = None
) -> list[User]:
    """Return the users with these ids that exist, in the same order, each with at most `sites` sites (None: all)."""
    rows = await connection.fetch(
        DESCRIBE_USERS, [str(user_id) for user_id in user_ids], workspace_names(within), sites
    )
    return [_user(row) for row in rows]


async def get_user(connection: Connection, user_id: str, *, within: WorkspaceLimit = None) -> User:
    """Return one API user with all of its sites. Raises NotFound."""
    users = await describe_users(connection, [_uuid(user_id)], within)
    if not users:
        raise NotFound(_NOT_FOUND)
    return users[0]


async def delete_user(connection: Connection, user_id: str, *, by: Actor) -> None:
    """Delete an API user and its keys permanently. Only the audit entries remain. Raises NotFound."""
    key = _uuid(user_id)
    async with connection.transaction():
        await _lock_user(connection, key, by)
        [user] = await describe_users(connection, [key], by.within)
        await connection.execute(DELETE_USER, key)
        await write_audit(connection, by, "user.deleted", [Change(user.workspace, user.id, _audit_detail(user))])


async def reveal_keys(connection: Connection, user_id: str, *, cipher: KeyCipher | None, by: Actor) -> RevealedKeys:
    """Return the keys of an API user and record it in the audit log.

    Raises NotFound, and Conflict if no key can be revealed.
    """
    key = _uuid(user_id)
    async with connection.transaction():
        await _lock_user(connection, key, by)
        if cipher is None:
            raise Conflict("This installation does not store keys, so they cannot be revealed.")
        rows = await connection.fetch(SEALED_KEYS, key)
        keys = [
            RevealedKey(hint=row["hint"], api_key=None if row["sealed"] is None else cipher.decrypt(key, row["sealed"]))
            for row in rows
        ]
        shown = [revealed.hint for revealed in keys if revealed.api_key is not None]
        if not shown:
            if any(row["sealed"] is not None for row in rows):
                raise Conflict(
                    "This key cannot be revealed: it was encrypted with a different admin.recoverable_keys secret."
                )
            raise Conflict("This key cannot be revealed: it was created before admin.recoverable_keys was set.")
        [user] = await describe_users(connection, [key], by.within, 0)
        detail = {"name": user.name, "keys": shown}
        await write_audit(connection, by, "user.revealed", [Change(user.workspace, user.id, detail)])
    return RevealedKeys(keys=keys)


async def _lock_user(connection: Connection, user_id: UUID, by: Actor) -> None:
    if await connection.fetchval(LOCK_USER, user_id, workspace_names(by.within)) is None:
        raise NotFound(_NOT_FOUND)


async def _retried(connection: Connection, user_id: UUID, within: WorkspaceLimit) -> CreatedUser:
    """Return the user that the first request created, without its key, which only the first response contains."""
    try:
        user = await get_user(connection, str(user_id), within=within)
    except NotFound:
        raise Conflict(
            "The API user that this request created has been deleted. To create another, use a new Idempotency-Key."
        ) from None
    return CreatedUser(**user.model_dump(), api_key=None)


def _wanted_sites(all_sites: bool, sites: Sequence[str] | None) -> dict[str, int]:
    """Return the selected sites, each with its first index. Raises Invalid unless exactly one scope is given."""
    if all_sites and sites is not None:
        raise Invalid.at("sites", detail="Set either all_sites or sites, not both.")
    if not all_sites and not sites:
        raise Invalid.at("sites", detail="List at least one site, or set all_sites.")
    if sites is not None and len(sites) > MAX_SITES:
        raise Invalid.at("sites", detail=f"At most {MAX_SITES} sites can be selected. Consider all_sites.")
    places: dict[str, int] = {}
    for place, site in enumerate(sites or ()):
        places.setdefault(site, place)
    return places


async def _check_sites(connection: Connection, owner: int, workspace: str, wanted: dict[str, int]) -> None:
    """Raise Invalid unless the workspace owns every site. Lock the sites against concurrent removal.

    The error does not reveal whether another workspace has a site of that name.
    """
    storable = [site for site in wanted if is_text(site)]
    owned = {row["id"] for row in await connection.fetch(LOCK_SITES, owner, storable)}
    missing = [site for site in wanted if site not in owned]
    if not missing:
        return
    similar = await connection.fetch(SITES_FOLDED_LIKE, owner, [fold_site(site) for site in missing if is_text(site)])
    spelling = {row["folded"]: row["id"] for row in similar}
    faults = []
    for site in missing:
        meant = spelling.get(fold_site(site))
        advice = f'Did you mean "{meant}"?' if meant else "Add it first, or remove it from the list."
        faults.append(Fault(("sites", wanted[site]), f'The workspace "{workspace}" has no site "{site}". {advice}'))
    raise Invalid.of(faults)


def _user(row: Record) -> User:
    return User(
        id=str(row["id"]),
        name=row["name"],
        workspace=row["workspace"],
        all_sites=row["all_sites"],
        sites=row["sites"],
        site_count=row["site_count"],
        keys=[
            KeyView(
                hint=key["hint"],
                created_at=_utc(key["created_at"]),
                expires_at=_utc(key["expires_at"]) if key["expires_at"] else None,
                recoverable=key["recoverable"],
            )
            for key in json.loads(row["keys"])
        ],
        authorized_by=PersonView(name=row["authorized_by_name"], email=row["authorized_by_email"]),
        created_at=row["created_at"],
        last_activity=row["last_used_at"],
        disabled_at=row["disabled_at"],
    )


def _utc(text: str) -> datetime:
    """Parse a time in JSON from the database, which is in the session's time zone."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _audit_detail(user: User) -> dict[str, Any]:
    """Return the audit detail of a user: enough to recognize it after its deletion."""
    scope: dict[str, Any] = {"all_sites": True} if user.all_sites else {"all_sites": False, **sites_detail(user.sites)}
    return {
        "name": user.name,
        "keys": [key.hint for key in user.keys],
        "authorized_by": user.authorized_by.model_dump(),
        **scope,
    }


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(_NOT_FOUND) from None
