"""A login at the OpenID Connect issuer: bound to one browser by a cookie of its own, and valid once.

State, nonce and code verifier are derived from the cookie's secret, so that nothing secret is stored here. The database
only records, for all replicas, that the login is still open.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from admin.connections import Connection
from sql.queries import query

START_LOGIN = query("start_oidc_login")
END_LOGIN = query("end_oidc_login")
PRUNE_LOGINS = query("prune_oidc_logins")

_STATE = re.compile(r"[A-Za-z0-9_-]{43}")

LOGIN_SECONDS: Final = 600
MAX_OPEN_LOGINS: Final = 8
"""A browser can have this many open logins, for example in several tabs. A further login replaces the oldest one."""
_SECRET_BYTES = 32
PURPOSE: Final = "login-"
"""The prefix of the purposes of all login cookies."""


@dataclass(frozen=True, slots=True)
class OidcLogin:
    """One login, identified by the secret in the browser's cookie."""

    secret: str

    @classmethod
    def new(cls) -> "OidcLogin":
        """Return a login with a new secret. Call `start` before the browser leaves."""
        return cls(secrets.token_urlsafe(_SECRET_BYTES))

    @property
    def state(self) -> str:
        """The `state` that the issuer returns. It prevents injection of another login's response (RFC 6749 §10.12)."""
        return self._derived(b"sitelatch state")

    @property
    def purpose(self) -> str:
        """The purpose of the login's cookie. Each login has its own cookie, so several can be open in one browser."""
        return cookie_purpose(self.state)

    @property
    def nonce(self) -> str:
        """The `nonce` that the ID token must repeat. It prevents replay (OpenID Connect Core §15.5.2)."""
        return self._derived(b"sitelatch nonce")

    @property
    def verifier(self) -> str:
        """The PKCE code verifier, which proves that the same party redeems the code (RFC 7636 §4.1)."""
        return self._derived(b"sitelatch code verifier")

    @property
    def challenge(self) -> str:
        """The PKCE code challenge for the method S256."""
        return _text(sha256(self.verifier.encode("ascii")).digest())

    def is_state(self, sent: str) -> bool:
        """Return whether `sent` is this login's state, in constant time."""
        return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), self.state.encode("ascii"))

    def _derived(self, purpose: bytes) -> str:
        return _text(hmac.digest(self.secret.encode("utf-8", "surrogateescape"), purpose, "sha256"))

    @property
    def _digest(self) -> bytes:
        return sha256(self.secret.encode("utf-8", "surrogateescape")).digest()

    async def start(self, connection: Connection) -> None:
        """Record the login as open for LOGIN_SECONDS."""
        await connection.execute(PRUNE_LOGINS)
        await connection.execute(START_LOGIN, self._digest, LOGIN_SECONDS)

    async def end(self, connection: Connection) -> bool:
        """End the login. Return whether it was open."""
        return bool(await connection.fetchval(END_LOGIN, self._digest))


def cookie_purpose(state: str) -> str:
    """Return the purpose of the cookie of the login with this state. An invalid state has no login and no cookie."""
    return PURPOSE + (state[:12] if _STATE.fullmatch(state) else "")


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
