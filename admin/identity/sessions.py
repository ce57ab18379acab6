"""Sessions of the admin page: random tokens, stored as digests in PostgreSQL so that every replica knows them."""

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
    """A valid session: the credential that it was started with, and the issuer's claims at that time, if any."""

    signed_in_with: str
    claims: Mapping[str, Any] | None


async def start_session(
    connection: Connection, admin: Admin, signed_in_with: str, claims: Mapping[str, Any] | None = None
) -> str:
    """Start a session and return its new token."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    await connection.execute(PRUNE_SESSIONS, IDLE_SECONDS)
    await connection.execute(
        START_SESSION,
        _digest(token),
        admin.person.name,
        admin.person.email,
        workspace_names(admin.workspaces),
        signed_in_with,
        None if claims is None else json.dumps(claims, ensure_ascii=False),
        ABSOLUTE_SECONDS,
    )
    return token


async def find_session(connection: Connection, token: str) -> Session | None:
    """Return the session with this token and record its use. Returns None if it has ended or was idle too long."""
    row = await connection.fetchrow(FIND_SESSION, _digest(token), IDLE_SECONDS)
    if row is None:
        return None
    if row["touch"]:
        await connection.execute(TOUCH_SESSION, _digest(token))
    return Session(row["signed_in_with"], None if row["claims"] is None else json.loads(row["claims"]))


async def end_session(connection: Connection, token: str) -> None:
    """End the session with this token, if there is one."""
    await connection.execute(END_SESSION, _digest(token))


def csrf_token(token: str) -> str:
    """Return the CSRF token of a session. Only our own page can read it; it does not reveal the session's token."""
    return hmac.digest(token.encode("utf-8", "surrogateescape"), b"sitelatch csrf", "sha256").hex()


def is_csrf_token(sent: str, token: str) -> bool:
    """Return whether `sent` is the session's CSRF token, in constant time."""
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), csrf_token(token).encode("ascii"))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
