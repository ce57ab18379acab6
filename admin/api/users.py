"""Operations on API users, for the admin API and the command: show, delete, reveal keys.

The module `user_list` lists them, `user_creation` creates them, `user_editing` changes them, and `key_rotation`
replaces their keys.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from admin.api.audit import Change, sites_detail, write_audit
from admin.api.response_models import KeyView, PersonView, RevealedKey, RevealedKeys, User
from admin.connections import Connection, limit_lock_waits
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.key_encryption import KeyCipher
from admin.problems import Conflict, NotFound
from sql.queries import query

SEALED_KEYS = query("sealed_keys")
DESCRIBE_USERS = query("describe_users")
LOCK_USER = query("lock_user")
DELETE_USER = query("delete_user")

_NOT_FOUND: Final = "This API user does not exist."


async def describe_users(
    connection: Connection, user_ids: Sequence[UUID], within: WorkspaceLimit, sites: int | None = None
) -> list[User]:
    """Return the users with these ids that exist, in the same order, each with at most `sites` sites (None: all)."""
    rows = await connection.fetch(
        DESCRIBE_USERS, [str(user_id) for user_id in user_ids], workspace_names(within), sites
    )
    return [_user(row) for row in rows]


async def get_user(
    connection: Connection, user_id: str, *, within: WorkspaceLimit = None, sites: int | None = None
) -> User:
    """Return one API user with at most `sites` of its sites (None: all). Raises NotFound."""
    users = await describe_users(connection, [user_uuid(user_id)], within, sites)
    if not users:
        raise NotFound(_NOT_FOUND)
    return users[0]


async def delete_user(connection: Connection, user_id: str, *, by: Actor) -> None:
    """Delete an API user and its keys permanently. Only the audit entries remain. Raises NotFound."""
    key = user_uuid(user_id)
    async with connection.transaction():
        await limit_lock_waits(connection)
        await lock_user(connection, key, by)
        [user] = await describe_users(connection, [key], by.within)
        await connection.execute(DELETE_USER, key)
        await write_audit(connection, by, "user.deleted", [Change(user.workspace, user.id, audit_detail(user))])


async def reveal_keys(connection: Connection, user_id: str, *, cipher: KeyCipher | None, by: Actor) -> RevealedKeys:
    """Return the keys of an API user, and record that in the audit log.

    Raises NotFound, and Conflict if no key can be revealed.
    """
    key = user_uuid(user_id)
    async with connection.transaction():
        await lock_user(connection, key, by)
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


async def lock_user(connection: Connection, user_id: UUID, by: Actor) -> None:
    """Protect an API user from changes until the transaction ends. Raises NotFound."""
    if await connection.fetchval(LOCK_USER, user_id, workspace_names(by.within)) is None:
        raise NotFound(_NOT_FOUND)


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
                seconds_left=key["seconds_left"],
                last_activity=_utc(key["last_activity"]) if key["last_activity"] else None,
                recoverable=key["recoverable"],
            )
            for key in json.loads(row["keys"])
        ],
        authorized_by=PersonView(name=row["authorized_by_name"], email=row["authorized_by_email"]),
        created_at=row["created_at"],
        last_activity=row["last_used_at"],
        disabled=row["disabled_at"] is not None,
        disabled_at=row["disabled_at"],
        expires_at=row["expires_at"],
        methods=row["methods"],
        networks=row["networks"],
        requests_per_second=row["requests_per_second"],
        burst=row["burst"],
        requests_per_day=row["requests_per_day"],
        version=row["version"],
    )


def _utc(text: str) -> datetime:
    """Parse a time in JSON from the database, which is in the session's time zone."""
    return datetime.fromisoformat(text).astimezone(UTC)


def audit_detail(user: User) -> dict[str, Any]:
    """Return the audit detail of a user: enough to recognize it after its deletion."""
    scope: dict[str, Any] = {"all_sites": True} if user.all_sites else {"all_sites": False, **sites_detail(user.sites)}
    return {
        "name": user.name,
        "keys": [key.hint for key in user.keys],
        "authorized_by": user.authorized_by.model_dump(),
        **scope,
    }


def user_uuid(text: str) -> UUID:
    """Return the id of an API user. Raises NotFound if the text is not an id."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(_NOT_FOUND) from None
