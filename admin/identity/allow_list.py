"""Who of those that somebody else has signed in is an admin. Being known somewhere is not enough. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from admin.identity.admins import Admin, Person, WorkspaceLimit
from admin.settings import AllowSettings, ProxyAllowSettings
from admin.text_rules import NAME_LENGTH, is_text

Claims = Mapping[str, Any]
"""What is said of a person, by the names of OpenID Connect Core §5.1."""

_ABOUT_PEOPLE = ("sub", "name", "preferred_username", "email", "email_verified")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to be let in: a value of a claim; `domain` says that what stands behind the @ is compared."""

    claim: str
    values: frozenset[str]
    within: WorkspaceLimit
    domain: bool = False

    def lets_in(self, claims: Claims) -> bool:
        """Say whether these claims fit."""
        if self.claim != "email":
            return not self.values.isdisjoint(_texts(claims.get(self.claim)))
        email = verified_email(claims)
        return email is not None and (email.rpartition("@")[2] if self.domain else email) in self.values


class AllowList:
    """Rules, one of which must let a person in. The workspaces of all that do add up."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._judged = frozenset((*_ABOUT_PEOPLE, *(rule.claim for rule in self._rules)))

    def admit(self, claims: Claims) -> Admin | None:
        """Return the admin whom the claims are of, or None."""
        person = person_of(claims)
        fitting = [rule.within for rule in self._rules if rule.lets_in(claims)]
        if person is None or not fitting:
            return None
        limits = [within for within in fitting if within is not None]
        return Admin(person, frozenset().union(*limits) if len(limits) == len(fitting) else None)

    def judged(self, claims: Claims) -> dict[str, Any]:
        """Return those claims that `admit` looks at, and of those no more than it can make use of."""
        return {name: _kept(value) for name, value in claims.items() if name in self._judged}

    def needs(self, claims: Claims) -> bool:
        """Say whether these claims leave something open that a rule looks at, or people call each other by."""
        return not (self._judged - {"preferred_username", "email_verified"}) <= set(claims)


def rule(table: AllowSettings | ProxyAllowSettings) -> Rule:
    """Return the rule of one `allow` table."""
    within = None if table.workspaces is None else frozenset(table.workspaces)
    if table.emails:
        return Rule("email", frozenset(map(_folded, table.emails)), within)
    if table.domains:
        return Rule("email", frozenset(map(_folded, table.domains)), within, domain=True)
    if isinstance(table, ProxyAllowSettings):
        return Rule("sub", frozenset(table.users), within)
    return Rule(table.claim or "", frozenset(table.values), within)


def verified_email(claims: Claims) -> str | None:
    """Return a person's email, for comparing, if whoever says so has made sure that it is theirs."""
    email = claims.get("email")
    # Some issuers write the flag as text.
    if not isinstance(email, str) or email.count("@") != 1 or claims.get("email_verified") not in (True, "true"):
        return None
    return _folded(email)


def person_of(claims: Claims) -> Person | None:
    """Return how to call a person. An email that nobody has verified could be anybody's: then it is the subject."""
    email = claims["email"] if verified_email(claims) else claims.get("sub")
    if not _is_name(email):
        return None
    name = next((text for key in ("name", "preferred_username") if _is_name(text := claims.get(key))), email)
    return Person(name, email)


def _is_name(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and bool(text.strip()) and len(text) <= NAME_LENGTH and is_text(text)


def _folded(email: str) -> str:
    """Return an email without the case of A-Z. Unicode's folding would make one of two that are not the same."""
    return email.lower() if email.isascii() else email


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _kept(value: object) -> bool | str | list[str] | None:
    """Return what a rule may compare of a claim's value, and a database can hold: not every text is for it."""
    if isinstance(value, bool):
        return value
    texts = [text for text in _texts(value) if is_text(text)]
    return texts if isinstance(value, list) else next(iter(texts), None)
