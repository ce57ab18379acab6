"""The interface of an identity provider at which admins sign in."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final, Protocol

from admin.identity.admins import Admin
from admin.identity.allow_list import Claims, Reason
from admin.identity.oidc_login import OidcLogin
from admin.settings import OidcSettings
from proxy.relay.tls_files import WatchedFiles

CALLBACK: Final = "/sign-in/oidc/callback"
TOKEN_LENGTH: Final = 16_384
"""The maximum length of a bearer token."""


class SignInFailed(Exception):  # noqa: N818 - an outcome, not a program error
    """A sign-in at the issuer that did not lead to a session. The page has a sentence for each `code` and `reason`."""

    def __init__(self, code: str, reason: Reason | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class IdentityProvider(Protocol):
    """Authenticates bearer tokens, and completes sign-ins. `admin.identity.oidc.Oidc` documents each method."""

    client_secret: str | None
    public_url: str
    name: str
    signed_in_with: str

    @property
    def watched(self) -> WatchedFiles: ...
    async def close(self) -> None: ...
    async def admin_for_token(self, token: str) -> Admin: ...
    def admin_for_session(self, signed_in_with: str, claims: Claims) -> Admin | None: ...
    async def authorization_url(self, login: OidcLogin) -> str: ...
    async def finish(self, login: OidcLogin, response: Mapping[str, str]) -> tuple[Admin, Claims]: ...


def identity_provider(settings: OidcSettings | None, public_url: str | None) -> IdentityProvider | None:
    """Return the provider for `[admin.oidc]`, or None if it is not configured.

    The modules that verify tokens take 9 MB of memory, so they are imported only if they are needed.
    """
    if settings is None or public_url is None:
        return None
    provider: IdentityProvider = import_module("admin.identity.oidc").Oidc(settings, public_url)
    return provider


def looks_like_jwt(token: str) -> bool:
    """Return whether a bearer token has the three parts of a signed JWT."""
    return token.count(".") == 2 and len(token) <= TOKEN_LENGTH
