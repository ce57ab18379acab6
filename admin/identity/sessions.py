"""Sessions: what the page has instead of a token. Random, kept as a digest, known to every replica, ended in time."""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from admin.connections import Connection
from admin.identity.admins import Admin, workspace_names
from sql.queries import query

START_SESSION = query("start_session")
FIND_SESSION = query("find_session")
TOUCH_SESSION = query("touch_session")
END_SESSION = query("end_session")
PRUNE_SESSIONS = query("prune_sessions")

IDLE_SECONDS: Final = 3600
ABSOLUTE_SECONDS: Final = 12 * 3600
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """A session that goes on: with which credential it was begun, and what was said then of whoever did."""

    signed_in_with: str
    claims: Mapping[str, Any] | None


async def start_session(
    connection: Connection, admin: Admin, signed_in_with: str, claims: Mapping[str, Any] | None = None
) -> str:
    """Begin a session and return its token, which nobody had before."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    await connection.execute(PRUNE_SESSIONS, IDLE_SECONDS)
    await connection.execute(
        START_SESSION,
        _digest(token),
        admin.person.name,
        admin.person.email,
        workspace_names(admin.workspaces),
        signed_in_with,
        None if claims is None else json.dumps(claims),
        ABSOLUTE_SECONDS,
    )
    return token


async def find_session(connection: Connection, token: str) -> Session | None:
    """Return the session of a token, unless it ended or was idle for too long; this use of it is noted."""
    row = await connection.fetchrow(FIND_SESSION, _digest(token), IDLE_SECONDS)
    if row is None:
        return None
    if row["touch"]:
        await connection.execute(TOUCH_SESSION, _digest(token))
    return Session(row["signed_in_with"], None if row["claims"] is None else json.loads(row["claims"]))


async def end_session(connection: Connection, token: str) -> None:
    """End the session of a token, if there is one."""
    await connection.execute(END_SESSION, _digest(token))


def csrf_token(token: str) -> str:
    """Return what our page, and no other, knows of a session: changes need it. It does not lead back to the token."""
    return hmac.digest(token.encode("utf-8", "surrogateescape"), b"sitelatch csrf", "sha256").hex()


def is_csrf_token(sent: str, token: str) -> bool:
    """Say whether `sent` is the session's, in constant time."""
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), csrf_token(token).encode("ascii"))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
