"""Personal admin tokens. The configuration holds only their SHA-256 digests."""

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

from admin.identity.admins import Admin, Person
from admin.settings import TokenSettings

TOKEN_BYTES = 32


def new_token() -> str:
    """Return a new token: 256 random bits, with a prefix that logs mask and secret scanners recognize."""
    return "sla_" + secrets.token_urlsafe(TOKEN_BYTES)


def token_digest(token: str) -> str:
    """Return the digest that the configuration holds: SHA-256 in lowercase hexadecimal."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class AdminTokens:
    """The configured tokens, of which only the digests are known."""

    def __init__(self, tokens: Sequence[TokenSettings]) -> None:
        self._admins = _by_digest(tokens)

    def replace(self, tokens: Sequence[TokenSettings]) -> None:
        """Accept these tokens from now on, and no others."""
        self._admins = _by_digest(tokens)

    def __bool__(self) -> bool:
        return bool(self._admins)

    def find(self, token: str) -> Admin | None:
        """Return the admin whose token this is."""
        return self.find_by_name(self.name_of(token))

    @staticmethod
    def name_of(token: str) -> str:
        """Return a name for the token that sessions store. It cannot be used to sign in."""
        return f"token:{token_digest(token)}"

    def find_by_name(self, name: str) -> Admin | None:
        """Return the admin whose token has this name, in time that does not depend on which token matches."""
        kind, _, text = name.partition(":")
        digest = text.encode("ascii") if kind == "token" else b""
        found = None
        for known, admin in self._admins:
            if hmac.compare_digest(digest, known):
                found = admin
        return found


def _by_digest(tokens: Sequence[TokenSettings]) -> tuple[tuple[bytes, Admin], ...]:
    return tuple(
        (
            token.sha256.encode("ascii"),
            Admin(
                Person(token.name, token.email),
                None if token.workspaces is None else frozenset(token.workspaces),
            ),
        )
        for token in tokens
    )
