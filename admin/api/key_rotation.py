"""Rotation of keys, for the admin API and the command: an API user gets a new key, and its old one expires later."""

from typing import Final
from uuid import uuid4

from admin.api.audit import Change, write_audit
from admin.api.idempotency import claim_key
from admin.api.response_models import RotatedUser, User
from admin.api.user_creation import SEAL_KEY, stored_hint
from admin.api.users import describe_users, lock_user, user_uuid
from admin.connections import Connection, limit_lock_waits
from admin.identity.admins import Actor
from admin.key_encryption import KeyCipher
from admin.problems import Conflict
from proxy.decision.api_keys import digest, new_key
from sql.queries import query

VALID_KEYS = query("valid_keys")
DELETE_EXPIRED_KEYS = query("delete_expired_keys")
END_KEY = query("end_key")
ADD_KEY = query("add_key")
COUNT_VERSION = query("count_version")

MAX_OVERLAP_SECONDS: Final = 366 * 24 * 3600


async def rotate_key(
    connection: Connection,
    user_id: str,
    *,
    overlap_seconds: int,
    end_old_key: bool = False,
    by: Actor,
    cipher: KeyCipher | None = None,
    idempotency_key: str | None = None,
) -> RotatedUser:
    """Give an API user a new key. Its old key works for `overlap_seconds` more.

    With `end_old_key`, the keys that an earlier rotation replaced end now. Keys that expired before are deleted. A
    retry with the same `idempotency_key` returns the user without its key.

    Raises NotFound, KeyReused, KeyInUse, and Conflict if an earlier rotation's overlap has not ended.
    """
    key = user_uuid(user_id)
    api_key = new_key()
    new_digest = digest(api_key.encode("ascii"))
    async with connection.transaction():
        await limit_lock_waits(connection)
        await lock_user(connection, key, by)
        if idempotency_key is not None:
            # The recorded id is that of the rotation.
            body = ["rotate", str(key), overlap_seconds, end_old_key]
            if await claim_key(connection, by.person, idempotency_key, body, uuid4()):
                [user] = await describe_users(connection, [key], by.within)
                return RotatedUser(**user.model_dump(), api_key=None)
        valid = await connection.fetch(VALID_KEYS, key)
        if len(valid) > 1 and not end_old_key:
            raise Conflict("The old key of an earlier rotation still works. End it first, or with this rotation.")
        await connection.execute(DELETE_EXPIRED_KEYS, key)
        for replaced in valid[:-1]:
            await connection.execute(END_KEY, replaced["digest"], 0.0)
        for old in valid[-1:]:
            await connection.execute(END_KEY, old["digest"], float(overlap_seconds))
        hint = stored_hint(connection, api_key)
        # An imported key may have an expiry of its own. A rotation does not prolong it.
        await connection.execute(ADD_KEY, key, new_digest, hint, valid[-1]["expires_at"] if valid else None)
        if cipher is not None:
            await connection.execute(SEAL_KEY, new_digest, cipher.encrypt(key, api_key))
        await connection.execute(COUNT_VERSION, key)
        [user] = await describe_users(connection, [key], by.within)
        detail = {
            "name": user.name,
            "keys": [each.hint for each in user.keys],
            "from": [old["hint"] for old in valid],
            "to": hint,
            "overlap_seconds": overlap_seconds,
        }
        await write_audit(connection, by, "user.rotated", [Change(user.workspace, user.id, detail)])
    return RotatedUser(**user.model_dump(), api_key=api_key)


async def end_old_keys(connection: Connection, user_id: str, *, by: Actor) -> User:
    """End the overlap of a rotation now: of the keys that work, only the newest one remains. Raises NotFound."""
    key = user_uuid(user_id)
    async with connection.transaction():
        await limit_lock_waits(connection)
        await lock_user(connection, key, by)
        old = (await connection.fetch(VALID_KEYS, key))[:-1]
        for each in old:
            await connection.execute(END_KEY, each["digest"], 0.0)
        if old:
            await connection.execute(COUNT_VERSION, key)
        [user] = await describe_users(connection, [key], by.within)
        if old:
            detail = {
                "name": user.name,
                "keys": [each.hint for each in user.keys],
                "ended": [each["hint"] for each in old],
            }
            await write_audit(connection, by, "user.keys_ended", [Change(user.workspace, user.id, detail)])
    return user
