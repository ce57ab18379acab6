"""The allow list: decides which people signed in by an issuer or a proxy are admins. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from admin.identity.admins import Admin, Person, WorkspaceLimit
from admin.settings import AllowSettings, ProxyAllowSettings
from admin.text_rules import NAME_LENGTH, is_email, is_text

Claims = Mapping[str, Any]
"""Statements about a person, named as in OpenID Connect Core §5.1."""

Reason = Literal[
    "no_subject",
    "no_email",
    "invalid_email",
    "email_verified_missing",
    "email_not_verified",
    "claim_missing",
    "not_listed",
]
"""Why the allow list does not admit a person. It depends on the claims only, and never reveals who is listed."""

_PERSON_CLAIMS = ("sub", "name", "preferred_username", "email", "email_verified")


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the allow list: values of a claim. With `domain`, only the part of the email after the @ counts."""

    claim: str
    values: frozenset[str]
    within: WorkspaceLimit
    domain: bool = False

    def matches(self, claims: Claims) -> bool:
        """Return whether these claims match the rule."""
        if self.claim != "email":
            return not self.values.isdisjoint(_texts(claims.get(self.claim)))
        email = verified_email(claims)
        return email is not None and (email.rpartition("@")[2] if self.domain else email) in self.values


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a person is not an admin, the person's masked email or subject, and the compared claims that are missing."""

    reason: Reason
    person: str | None
    missing_claims: tuple[str, ...]


class AllowList:
    """The rules for admins. A person must match at least one, and gets the workspaces of all matching rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._compared = frozenset(rule.claim for rule in self._rules)
        self._relevant = self._compared | set(_PERSON_CLAIMS)

    def admit(self, claims: Claims) -> Admin | None:
        """Return the admin with these claims, or None if no rule matches or the claims name nobody."""
        person = person_of(claims)
        limits = [rule.within for rule in self._rules if rule.matches(claims)]
        if person is None or not limits:
            return None
        finite = [limit for limit in limits if limit is not None]
        return Admin(person, frozenset().union(*finite) if len(finite) == len(limits) else None)

    def rejection(self, claims: Claims) -> Rejection:
        """Return why `admit` returned None for these claims."""
        missing = tuple(sorted(name for name in self._compared if claims.get(name) in (None, "")))
        return Rejection(self._reason(claims, missing), masked_name(claims), missing)

    def _reason(self, claims: Claims, missing: tuple[str, ...]) -> Reason:
        if "email" in self._compared and verified_email(claims) is None:
            email, flag = claims.get("email"), claims.get("email_verified")
            if email in (None, ""):
                return "no_email" if len(missing) == len(self._compared) else "not_listed"
            if not _is_email(email):
                return "invalid_email"
            return "email_verified_missing" if flag is None else "email_not_verified"
        if person_of(claims) is None:
            return "no_subject"
        return "claim_missing" if len(missing) == len(self._compared) else "not_listed"

    def relevant_claims(self, claims: Claims) -> dict[str, Any]:
        """Return the claims that `admit` reads, reduced to values that it can compare and a database can store."""
        return {name: _storable(value) for name, value in claims.items() if name in self._relevant}

    def needs_more(self, claims: Claims) -> bool:
        """Return whether any claim that a rule compares, or that names the person, is missing."""
        needed = self._relevant - {"preferred_username"}
        if "email" not in self._compared:
            needed -= {"email_verified"}
        return not needed <= set(claims)


def rule(table: AllowSettings | ProxyAllowSettings) -> Rule:
    """Return the rule of one `allow` table."""
    within = None if table.workspaces is None else frozenset(table.workspaces)
    if table.emails:
        return Rule("email", frozenset(map(folded, table.emails)), within)
    if table.domains:
        return Rule("email", frozenset(map(folded, table.domains)), within, domain=True)
    if isinstance(table, ProxyAllowSettings):
        return Rule("sub", frozenset(table.users), within)
    return Rule(table.claim or "", frozenset(table.values), within)


def verified_email(claims: Claims) -> str | None:
    """Return the email, folded for comparison, if the issuer has verified it."""
    email = claims.get("email")
    flag = claims.get("email_verified")
    # Some issuers send the flag as text. The number 1, which equals True, is not a flag.
    return folded(email) if _is_email(email) and (flag is True or flag == "true") else None


def person_of(claims: Claims) -> Person | None:
    """Return the person's name and email. The subject replaces an unverified email, which could be anyone's."""
    email = claims["email"] if verified_email(claims) else claims.get("sub")
    if not _is_name(email):
        return None
    name = next((text for key in ("name", "preferred_username") if _is_name(text := claims.get(key))), email)
    return Person(name, email)


def masked_name(claims: Claims) -> str | None:
    """Return a person's email or subject for the log. An email is masked from its second letter to the @."""
    for name in ("email", "sub"):
        if _is_name(text := claims.get(name)):
            local, at, domain = text.rpartition("@")
            return f"{local[:1]}***@{domain}" if at else text
    return None


def _is_email(value: object) -> TypeGuard[str]:
    return _is_name(value) and is_email(value)


def _is_name(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and bool(text.strip()) and len(text) <= NAME_LENGTH and is_text(text)


def folded(email: str) -> str:
    """Return the email with A-Z in lowercase. Unicode case folding would equate addresses that differ."""
    return email.lower() if email.isascii() else email


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _storable(value: object) -> bool | str | list[str] | None:
    """Return the part of a claim's value that rules compare and a database can store."""
    if isinstance(value, bool):
        return value
    texts = [text for text in _texts(value) if is_text(text)]
    return texts if isinstance(value, list) else next(iter(texts), None)
