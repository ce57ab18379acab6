"""Authentication of admin requests. Every endpoint that needs credentials calls `authenticate` first."""

import secrets
from dataclasses import dataclass

from aiohttp import hdrs, web

from admin.connections import Lane
from admin.identity.admin_tokens import AdminTokens
from admin.identity.admins import Admin
from admin.identity.client_address import single_header
from admin.identity.cookies import check_host, cookie_at, cookie_for, cookie_value
from admin.identity.identity_proxy import IdentityProxy
from admin.identity.provider import IdentityProvider, looks_like_jwt
from admin.identity.sessions import ABSOLUTE_SECONDS, Session, csrf_token, end_session, find_session, is_csrf_token
from admin.problems import CrossSite, NotSignedIn

CSRF_HEADER = "X-CSRF-Token"
_PAGE = "page"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_CREDENTIALS = "Send an admin token: `Authorization: Bearer …`."
_BAD_CSRF_TOKEN = f"The {CSRF_HEADER} header is missing or wrong. Reload the page."


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated admin, and what the page needs to act as that admin."""

    admin: Admin
    csrf_token: str | None = None
    """The token that the page must send with every change. None for callers that send an Authorization header."""
    has_session: bool = False
    """Whether the caller can sign out."""
    set_cookie: str | None = None
    """A `Set-Cookie` header line that binds `csrf_token` to the browser."""


class Authenticator:
    """Authenticates admins by personal token, by the issuer's JWT, by identity proxy or by session."""

    def __init__(
        self, tokens: AdminTokens, oidc: IdentityProvider | None, proxy: IdentityProxy | None, sessions: Lane
    ) -> None:
        self._tokens = tokens
        self._oidc = oidc
        self._proxy = proxy
        self._sessions = sessions

    async def authenticate(self, request: web.BaseRequest) -> Caller:
        """Return the caller.

        Raises NotSignedIn without valid credentials, NotAnAdmin for people outside the allow list, and
        CrossSite for a change that does not come from our own page.

        An Authorization header takes precedence over everything else. The identity proxy takes precedence over a
        session, which may be older. If the proxy names someone who is not an admin, a session still counts.
        """
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        if fields:
            # A proxy may add the header to every request of a browser, even to those that a foreign page caused.
            if request.method not in SAFE_METHODS:
                check_host(single_header(request, hdrs.ORIGIN), request.host)
            return Caller(await self._bearer(fields))
        claims = None if self._proxy is None else self._proxy.claims(request)
        if claims is None or self._proxy is None:
            return await self._session(request)
        if admin := self._proxy.admit(claims):
            return _behind_proxy(request, admin)
        try:
            return await self._session(request)
        except NotSignedIn:
            raise self._proxy.not_an_admin(claims) from None

    async def _bearer(self, fields: list[str]) -> Admin:
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        token = token.strip(" ") if scheme.lower() == "bearer" else ""
        admin = self._tokens.find(token)
        if admin is None and self._oidc is not None and looks_like_jwt(token):
            admin = await self._oidc.admin_for_token(token)
        if admin is None:
            raise NotSignedIn(_NO_CREDENTIALS)
        return admin

    async def _session(self, request: web.BaseRequest) -> Caller:
        found = cookie_value(request.headers.getall(hdrs.COOKIE, []), request.host)
        if found is None:
            raise NotSignedIn(_NO_CREDENTIALS)
        token, cookie = found
        async with self._sessions.borrow() as connection:
            session = await find_session(connection, token)
            admin = None if session is None else self._session_admin(session)
            if session is not None and admin is None:
                # Otherwise the session would be valid again as soon as the configuration admits the person again.
                await end_session(connection, token)
        if admin is None:
            raise NotSignedIn("The session has ended. Sign in again.")
        if request.method not in SAFE_METHODS:
            if cookie_for(single_header(request, hdrs.ORIGIN), request.host) != cookie:
                raise CrossSite("The session was started over a different scheme (http or https) than this page uses.")
            if not is_csrf_token(single_header(request, CSRF_HEADER) or "", token):
                raise CrossSite(_BAD_CSRF_TOKEN)
        return Caller(admin, csrf_token(token), has_session=True)

    def _session_admin(self, session: Session) -> Admin | None:
        """Return the admin of a session, or None if the configuration no longer admits that person."""
        if session.claims is None:
            return self._tokens.find_by_name(session.signed_in_with)
        return None if self._oidc is None else self._oidc.admin_for_session(session.signed_in_with, session.claims)


def _behind_proxy(request: web.BaseRequest, admin: Admin) -> Caller:
    """Return the caller for an admin named by the identity proxy. Raises CrossSite for changes by a foreign page.

    The proxy authenticates the browser no matter which page sends the request, so changes need a CSRF token. There is
    no session to derive the token from, so it is derived from a random cookie. The cookie only identifies the browser.
    """
    lines = request.headers.getall(hdrs.COOKIE, [])
    if request.method in SAFE_METHODS:
        found = cookie_value(lines, request.host, _PAGE)
        value, cookie = found or (
            secrets.token_urlsafe(32),
            cookie_at(request.host, single_header(request, "X-Forwarded-Proto")),
        )
        set_cookie = cookie.for_purpose(_PAGE).header(value, ABSOLUTE_SECONDS)
        return Caller(admin, csrf_token(_csrf_secret(value, admin)), set_cookie=set_cookie)
    cookie = cookie_for(single_header(request, hdrs.ORIGIN), request.host)
    found = cookie_value(lines, request.host, _PAGE)
    sent = single_header(request, CSRF_HEADER) or ""
    if found is None or found[1] != cookie or not is_csrf_token(sent, _csrf_secret(found[0], admin)):
        raise CrossSite(_BAD_CSRF_TOKEN)
    return Caller(admin)


def _csrf_secret(cookie: str, admin: Admin) -> str:
    """Return a secret for this browser and this person, so that a page left open cannot act for the next person."""
    return f"{cookie} {admin.person.email}"
