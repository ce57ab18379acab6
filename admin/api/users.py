"""API users: created, shown, deleted. What the admin API and the command do is done here; user_list.py lists."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from asyncpg import Record

from admin.api.audit import Change, some_sites, write_audit
from admin.api.idempotency import made_before
from admin.api.response_models import CreatedUser, KeyView, PersonView, RevealedKey, RevealedKeys, User
from admin.api.sites import MAX_FAULTS, sentence
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
    """Make an API user for all sites of the workspace or for `sites`, and its key, which is shown this once.

    With a `cipher` the key is kept in it, and can be revealed. The same wish with the same `idempotency_key` makes one
    user, which is then returned without its key.
    Raises Invalid (every unknown site is a fault), Forbidden, KeyReused, KeyInUse, and Conflict where that user was
    deleted.
    """
    wanted = _wanted_sites(all_sites, sites)
    if name is not None:
        name = check_name(name, "name")
    key = new_key()
    async with connection.transaction():
        owner = await workspace_id(connection, workspace, by.within)
        user_id = uuid4()
        if idempotency_key is not None:
            wish = [workspace, all_sites, sorted(wanted), name]
            if before := await made_before(connection, by.person, idempotency_key, wish, user_id):
                return await _made_before(connection, before, by.within)
        await _check_sites(connection, owner, workspace, wanted)
        await connection.execute(CREATE_USER, user_id, owner, name, all_sites, by.person.name, by.person.email)
        await connection.execute(CREATE_KEY, user_id, digest(key.encode("ascii")), hint(key))
        if cipher is not None:
            await connection.execute(SEAL_KEY, digest(key.encode("ascii")), cipher.encrypt(user_id, key))
        if wanted:
            await connection.execute(CREATE_USER_SITES, user_id, owner, list(wanted))
        [user] = await describe_users(connection, [user_id], by.within)
        await write_audit(connection, by, "user.created", [Change(workspace, user.id, _noted(user))])
    return CreatedUser(**user.model_dump(), api_key=key)


async def describe_users(
    connection: Connection, user_ids: Sequence[UUID], within: WorkspaceLimit, sites: int | None = None
) -> list[User]:
    """Return those of the users that are there, in their order, each with at most so many `sites` (None: all)."""
    rows = await connection.fetch(
        DESCRIBE_USERS, [str(user_id) for user_id in user_ids], workspace_names(within), sites
    )
    return [_user(row) for row in rows]


async def get_user(connection: Connection, user_id: str, *, within: WorkspaceLimit = None) -> User:
    """Return one API user with all its sites. Raises NotFound."""
    users = await describe_users(connection, [_uuid(user_id)], within)
    if not users:
        raise NotFound("There is no such API user.")
    return users[0]


async def delete_user(connection: Connection, user_id: str, *, by: Actor) -> None:
    """Delete an API user and its keys, for good. Only the audit line remains. Raises NotFound."""
    key = _uuid(user_id)
    async with connection.transaction():
        if await connection.fetchval(LOCK_USER, key, workspace_names(by.within)) is None:
            raise NotFound("There is no such API user.")
        [user] = await describe_users(connection, [key], by.within)
        await connection.execute(DELETE_USER, key)
        await write_audit(connection, by, "user.deleted", [Change(user.workspace, user.id, _noted(user))])


async def reveal_keys(connection: Connection, user_id: str, *, cipher: KeyCipher | None, by: Actor) -> RevealedKeys:
    """Return the keys of an API user, and note who saw them. Raises NotFound, and Conflict where none can be shown."""
    key = _uuid(user_id)
    async with connection.transaction():
        if await connection.fetchval(LOCK_USER, key, workspace_names(by.within)) is None:
            raise NotFound("There is no such API user.")
        if cipher is None:
            raise Conflict("Keys are shown once here: this installation does not keep them.")
        rows = await connection.fetch(SEALED_KEYS, key)
        opened = [
            RevealedKey(hint=row["hint"], api_key=None if row["sealed"] is None else cipher.decrypt(key, row["sealed"]))
            for row in rows
        ]
        shown = [one.hint for one in opened if one.api_key is not None]
        if not shown:
            if any(row["sealed"] is not None for row in rows):
                raise Conflict("This key was kept under another secret than admin.recoverable_keys, and stays a hint.")
            raise Conflict("This key was made before keys were kept here, and stays a hint.")
        [user] = await describe_users(connection, [key], by.within, 0)
        detail = {"name": user.name, "keys": shown}
        await write_audit(connection, by, "user.revealed", [Change(user.workspace, user.id, detail)])
    return RevealedKeys(keys=opened)


async def _made_before(connection: Connection, user_id: UUID, within: WorkspaceLimit) -> CreatedUser:
    """Return a user as the answer to the wish that made it, sent again: its key was shown to the first."""
    try:
        user = await get_user(connection, str(user_id), within=within)
    except NotFound:
        raise Conflict(
            "The API user that this request made was deleted since. To make another, take a new Idempotency-Key."
        ) from None
    return CreatedUser(**user.model_dump(), api_key=None)


def _wanted_sites(all_sites: bool, sites: Sequence[str] | None) -> dict[str, int]:
    """Return the selected sites, each with its first place. Raises Invalid unless one of the two scopes is chosen."""
    if all_sites and sites is not None:
        raise Invalid.at("sites", detail="Give either all_sites or sites, not both.")
    if not all_sites and not sites:
        raise Invalid.at("sites", detail="Name at least one site, or set all_sites.")
    if sites is not None and len(sites) > MAX_SITES:
        raise Invalid.at("sites", detail=f"At most {MAX_SITES} sites can be selected. Consider all_sites.")
    places: dict[str, int] = {}
    for place, site in enumerate(sites or ()):
        places.setdefault(site, place)
    return places


async def _check_sites(connection: Connection, owner: int, workspace: str, wanted: dict[str, int]) -> None:
    """Raise Invalid unless the workspace owns every site; keep them from being removed meanwhile.

    Whether another workspace has a site of that name is not told.
    """
    storable = [site for site in wanted if is_text(site)]
    owned = {row["id"] for row in await connection.fetch(LOCK_SITES, owner, storable)}
    missing = [site for site in wanted if site not in owned]
    if not missing:
        return
    alike = await connection.fetch(SITES_FOLDED_LIKE, owner, [fold_site(site) for site in missing if is_text(site)])
    spelt = {row["folded"]: row["id"] for row in alike}
    faults = []
    for site in missing:
        meant = spelt.get(fold_site(site))
        mend = f'Did you mean "{meant}"?' if meant else "Add it first, or take it out."
        faults.append(
            Fault(("sites", wanted[site]), f'There is no site "{site}" in the workspace "{workspace}". {mend}')
        )
    raise Invalid(sentence(faults), tuple(faults[:MAX_FAULTS]))


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
    """Return the time that JSON of the database's making holds: it is in the session's time zone."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _noted(user: User) -> dict[str, Any]:
    """Return what an audit line says of a user, enough to know it again when it is gone."""
    scope: dict[str, Any] = {"all_sites": True} if user.all_sites else {"all_sites": False, **some_sites(user.sites)}
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
        raise NotFound("There is no such API user.") from None
