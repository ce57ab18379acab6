"""The round trip of a browser to the issuer and back: bound to the browser by a cookie, and good for once.

All that must not be guessed (state, nonce and the code verifier) is made from the cookie's secret, so nothing of it is
kept here; the database only says whether the round trip is still open, to every replica.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from admin.connections import Connection
from sql.queries import query

START_ROUND_TRIP = query("start_round_trip")
END_ROUND_TRIP = query("end_round_trip")
PRUNE_ROUND_TRIPS = query("prune_round_trips")

ROUND_TRIP_SECONDS: Final = 600
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class OidcLogin:
    """One round trip, known by the secret that the browser's cookie holds."""

    secret: str

    @classmethod
    def new(cls) -> "OidcLogin":
        """Return one that nobody knows of yet. It must be started."""
        return cls(secrets.token_urlsafe(_SECRET_BYTES))

    @property
    def state(self) -> str:
        """What the issuer sends back, so that nobody can slip in an answer of another sign-in (RFC 6749 §10.12)."""
        return self._derived(b"sitelatch state")

    @property
    def nonce(self) -> str:
        """What the ID token must hold, so that one of another sign-in is of no use (OpenID Connect Core §15.5.2)."""
        return self._derived(b"sitelatch nonce")

    @property
    def verifier(self) -> str:
        """What shows that whoever trades the code in has asked for it (RFC 7636 §4.1)."""
        return self._derived(b"sitelatch code verifier")

    @property
    def challenge(self) -> str:
        """The verifier's digest, by the method S256."""
        return _text(sha256(self.verifier.encode("ascii")).digest())

    def is_state(self, sent: str) -> bool:
        """Say whether `sent` is this one's state, in constant time."""
        return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), self.state.encode("ascii"))

    def _derived(self, purpose: bytes) -> str:
        return _text(hmac.digest(self.secret.encode("utf-8", "surrogateescape"), purpose, "sha256"))

    @property
    def _digest(self) -> bytes:
        return sha256(self.secret.encode("utf-8", "surrogateescape")).digest()

    async def start(self, connection: Connection) -> None:
        """Open it, for ten minutes."""
        await connection.execute(PRUNE_ROUND_TRIPS)
        await connection.execute(START_ROUND_TRIP, self._digest, ROUND_TRIP_SECONDS)

    async def end(self, connection: Connection) -> bool:
        """End it; say whether it was open until now."""
        return bool(await connection.fetchval(END_ROUND_TRIP, self._digest))


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
