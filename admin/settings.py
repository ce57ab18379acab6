"""The `[admin]` part of the configuration file."""

from hashlib import sha256
from ipaddress import ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from admin.key_encryption import read_secret
from admin.problems import Invalid
from admin.secure_urls import is_safe
from admin.text_rules import check_email, is_text
from proxy.http.forwarding import address_matcher
from proxy.settings import ListenSettings
from sql.settings import SettingError, Settings


def _secret(text: str) -> str:
    read_secret(text)
    return text


def _text(text: str) -> str:
    if not is_text(text):
        raise ValueError("must not contain control characters")
    return text


def _safe_url(url: str) -> str:
    if not is_safe(url):
        raise ValueError("must be an https URL (http only on loopback) without a user, a query or a fragment")
    return url


def _network(network: str) -> str:
    try:
        address_matcher((network,))
    except ValueError:
        raise ValueError('must be an address, a network like "10.0.0.0/8", or "unix"') from None
    return network


def _not_everyone(network: str) -> str:
    if network != "unix" and ip_network(network, strict=False).prefixlen == 0:
        raise ValueError(
            "must not cover all addresses: any client in this range can act as any admin. Give the proxy's own address"
        )
    return network


def _digest(text: str) -> str:
    if text == sha256(b"").hexdigest():
        raise ValueError("is the SHA-256 of an empty token; use the lines that `sitelatch tokens new` prints")
    return text


def _email(text: str) -> str:
    try:
        return check_email(text)
    except Invalid as problem:
        raise ValueError(problem.detail.removesuffix(".")) from None


def _domain(text: str) -> str:
    if not text or "@" in text or text.startswith((".", "*")):
        raise ValueError('must be the part of the email after the @, like "example.com"; list each subdomain')
    return text


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in scopes:
        raise ValueError('must include "openid"')
    return scopes


Text = Annotated[str, AfterValidator(_text)]
Filled = Annotated[Text, Field(min_length=1)]
Email = Annotated[Filled, AfterValidator(_email)]
Domain = Annotated[Filled, AfterValidator(_domain)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
Network = Annotated[str, AfterValidator(_network)]
SafeUrl = Annotated[str, AfterValidator(_safe_url)]


class TokenSettings(Settings):
    """One `[[admin.tokens]]` table: an admin, and the SHA-256 of the admin's token."""

    name: Annotated[Text, Field(min_length=1)]
    email: Email
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), AfterValidator(_digest)]
    workspaces: tuple[str, ...] | None = None


class AllowSettings(Settings):
    """One `[[admin.oidc.allow]]` table: which of the issuer's users are admins, and of which workspaces."""

    emails: tuple[Email, ...] = ()
    domains: tuple[Domain, ...] = ()
    claim: Filled | None = None
    values: tuple[Filled, ...] = ()
    workspaces: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_criterion(self) -> Self:
        if (self.claim is None) != (not self.values):
            raise ValueError("`claim` and `values` go together: the name of a claim, and its values for admins.")
        if sum(map(bool, (self.emails, self.domains, self.claim))) != 1:
            raise ValueError("must have exactly one of `emails`, `domains`, or `claim` with `values`.")
        return self


class OidcSettings(Settings):
    """`[admin.oidc]`: the OpenID Connect issuer that admins sign in with."""

    issuer: SafeUrl
    client_id: Filled
    client_secret: Annotated[Filled | None, Field(repr=False)] = None
    name: Filled | None = None
    scopes: Annotated[tuple[Filled, ...], AfterValidator(_scopes)] = ("openid", "email", "profile")
    audience: Filled | None = None
    allow: Annotated[tuple[AllowSettings, ...], Field(min_length=1)]


class ProxyAllowSettings(Settings):
    """One `[[admin.identity_proxy.allow]]` table: which of the proxy's users are admins, and of which workspaces."""

    emails: tuple[Email, ...] = ()
    domains: tuple[Domain, ...] = ()
    users: tuple[Filled, ...] = ()
    workspaces: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_criterion(self) -> Self:
        if sum(map(bool, (self.emails, self.domains, self.users))) != 1:
            raise ValueError("must have exactly one of `emails`, `domains` or `users`.")
        return self


class IdentityProxySettings(Settings):
    """`[admin.identity_proxy]`: a proxy in front that signs people in and names them in headers."""

    addresses: Annotated[tuple[Annotated[Network, AfterValidator(_not_everyone)], ...], Field(min_length=1)]
    email_header: HeaderName = "X-Forwarded-Email"
    user_header: HeaderName = "X-Forwarded-User"
    allow: Annotated[tuple[ProxyAllowSettings, ...], Field(min_length=1)]


class AdminSettings(ListenSettings):
    """`[admin]`: the address of the admin API and page, and the ways for admins to sign in."""

    listen: str = "127.0.0.1:9091"
    public_url: SafeUrl | None = None
    trusted_proxies: tuple[Network, ...] = ()
    database_url: Annotated[str | None, Field(repr=False)] = None
    recoverable_keys: Annotated[Annotated[str, AfterValidator(_secret)] | None, Field(repr=False)] = None
    tokens: tuple[TokenSettings, ...] = ()
    oidc: OidcSettings | None = None
    identity_proxy: IdentityProxySettings | None = None

    @model_validator(mode="after")
    def _tokens_differ(self) -> Self:
        seen: set[str] = set()
        for index, token in enumerate(self.tokens):
            if token.sha256 in seen:
                raise SettingError(
                    "another token before it has the same. Keep one of the two", "tokens", index, "sha256"
                )
            seen.add(token.sha256)
        return self

    @model_validator(mode="after")
    def _has_public_url(self) -> Self:
        if self.oidc is not None and self.public_url is None:
            raise SettingError("is missing. Add it, because the issuer redirects admins to it.", "public_url")
        return self
