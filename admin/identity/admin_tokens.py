"""Who is asking: admins, known by personal tokens. There is no anonymous admin."""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from admin.settings import TokenSettings

TOKEN_BYTES = 32


Within = frozenset[str] | None
"""The only workspaces that exist for whoever asks; None: all of them."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a name: whom "Authorized by" and the audit log tell of."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Admin:
    """A person who may change API users and sites."""

    person: Person
    workspaces: Within = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: what it may touch, and what its audit line says."""

    person: Person
    address: str
    """Where from: an address, or COMMAND."""
    within: Within = None


COMMAND = "command"
"""The address of changes that the command makes."""


def names(within: Within) -> list[str] | None:
    """Return workspaces as the queries take them."""
    return None if within is None else sorted(within)


def new_token() -> str:
    """Return a new personal admin token: 256 random bits behind a prefix that logs mask and scanners find."""
    return "sla_" + secrets.token_urlsafe(TOKEN_BYTES)


def token_digest(token: str) -> str:
    """Return what the config holds of a token: its SHA-256, as lower-case hexadecimal digits."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class AdminTokens:
    """The configured tokens, of which only digests are known."""

    def __init__(self, tokens: Sequence[TokenSettings]) -> None:
        self._admins = tuple(
            (
                token.sha256.encode("ascii"),
                Admin(
                    Person(token.name, token.email),
                    None if token.workspaces is None else frozenset(token.workspaces),
                ),
            )
            for token in tokens
        )

    def __bool__(self) -> bool:
        return bool(self._admins)

    def find(self, token: str) -> Admin | None:
        """Return whose token this is."""
        return self.known(self.name_of(token))

    @staticmethod
    def name_of(token: str) -> str:
        """Return what names a token to `known` without being of use to anybody else."""
        return f"token:{token_digest(token)}"

    def known(self, name: str) -> Admin | None:
        """Return whose token is named so. Takes the same time whichever it is: all are compared, to their ends."""
        kind, _, text = name.partition(":")
        digest = text.encode("ascii") if kind == "token" else b""
        found = None
        for known, admin in self._admins:
            if hmac.compare_digest(digest, known):
                found = admin
        return found
