"""Who is asking: the one place that knows the ways in. Whatever is served to an admin passes `caller`."""

import secrets
from dataclasses import dataclass

import asyncpg
from aiohttp import hdrs, web

from admin.connections import borrow
from admin.identity.admin_tokens import AdminTokens
from admin.identity.admins import Admin
from admin.identity.client_address import single
from admin.identity.cookies import check_host, cookie_at, cookie_for, cookie_value
from admin.identity.identity_proxy import IdentityProxy
from admin.identity.json_web_tokens import looks_like_jwt
from admin.identity.oidc import Oidc
from admin.identity.sessions import ABSOLUTE_SECONDS, Session, csrf_token, find_session, is_csrf_token
from admin.problems import CrossSite, NotAnAdmin, NotSignedIn

CSRF_HEADER = "X-CSRF-Token"
_PAGE = "page"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. Where browsers say so by themselves: the token that a page must send with every change."""

    admin: Admin
    csrf_token: str | None = None
    has_session: bool = False
    """There is something to sign out of."""
    set_cookie: str | None = None
    """The Set-Cookie line by which the browser can keep to `csrf_token`."""


class Authenticator:
    """Knows admins by tokens, their own or the issuer's, by what an identity proxy says, and by their sessions."""

    def __init__(self, tokens: AdminTokens, oidc: Oidc | None, proxy: IdentityProxy | None, pool: asyncpg.Pool) -> None:
        self._tokens = tokens
        self._oidc = oidc
        self._proxy = proxy
        self._pool = pool

    async def authenticate(self, request: web.BaseRequest) -> Caller:
        """Return who is asking. Raises NotSignedIn, and Forbidden where that is no admin, or not from our page.

        A request with an Authorization header is judged by that alone. What an identity proxy says now goes before a
        session, which was begun earlier, but whom it names without being an admin may have one.
        """
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        if fields:
            # A proxy may add the header to whatever a browser sends, a foreign page's requests included.
            if request.method not in SAFE_METHODS:
                check_host(single(request, hdrs.ORIGIN), request.host)
            return Caller(await self._bearer(fields))
        named = None if self._proxy is None else self._proxy.claims(request)
        if named is None or self._proxy is None:
            return await self._session(request)
        if admin := self._proxy.admit(named):
            return _of_proxy(request, admin)
        try:
            return await self._session(request)
        except NotSignedIn:
            raise NotAnAdmin(
                f"You are signed in as {named['email'] or named['sub']}, who is not among the admins here."
            ) from None

    async def _bearer(self, fields: list[str]) -> Admin:
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        token = token.strip(" ") if scheme.lower() == "bearer" else ""
        admin = self._tokens.find(token)
        if admin is None and self._oidc is not None and looks_like_jwt(token):
            admin = await self._oidc.bearer(token)
        if admin is None:
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        return admin

    async def _session(self, request: web.BaseRequest) -> Caller:
        found = cookie_value(request.headers.getall(hdrs.COOKIE, []), request.host)
        if found is None:
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        token, cookie = found
        async with borrow(self._pool) as connection:
            session = await find_session(connection, token)
        admin = None if session is None else self._remembered(session)
        if admin is None:
            raise NotSignedIn("The session has ended. Sign in again.")
        if request.method not in SAFE_METHODS:
            if cookie_for(single(request, hdrs.ORIGIN), request.host) != cookie:
                raise CrossSite("The session was begun over another scheme than this page has.")
            if not is_csrf_token(single(request, CSRF_HEADER) or "", token):
                raise CrossSite(f"The header {CSRF_HEADER} is missing or wrong: load the page again.")
        return Caller(admin, csrf_token(token), has_session=True)

    def _remembered(self, session: Session) -> Admin | None:
        """Return whose session this is. The config has the last word: whom it lets in no more has none."""
        if session.claims is None:
            return self._tokens.find_by_name(session.signed_in_with)
        return None if self._oidc is None else self._oidc.remembered(session.signed_in_with, session.claims)


def _of_proxy(request: web.BaseRequest, admin: Admin) -> Caller:
    """Return whom the proxy names. Raises CrossSite: the browser is let through whichever page has it ask.

    In the place of a session's token stands a random cookie, which says nothing but that it is the same browser.
    """
    lines = request.headers.getall(hdrs.COOKIE, [])
    if request.method in SAFE_METHODS:
        found = cookie_value(lines, request.host, _PAGE)
        value, cookie = found or (
            secrets.token_urlsafe(32),
            cookie_at(request.host, single(request, "X-Forwarded-Proto")),
        )
        kept = cookie.beside(_PAGE).kept(value, ABSOLUTE_SECONDS)
        return Caller(admin, csrf_token(_bound(value, admin)), set_cookie=kept)
    cookie = cookie_for(single(request, hdrs.ORIGIN), request.host)
    found = cookie_value(lines, request.host, _PAGE)
    sent = single(request, CSRF_HEADER) or ""
    if found is None or found[1] != cookie or not is_csrf_token(sent, _bound(found[0], admin)):
        raise CrossSite(f"The header {CSRF_HEADER} is missing or wrong: load the page again.")
    return Caller(admin)


def _bound(value: str, admin: Admin) -> str:
    """Return a secret of this browser and this person: a page that one has open must not act for the next."""
    return f"{value} {admin.person.email}"
