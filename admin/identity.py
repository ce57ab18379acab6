"""Who is asking: the one place that knows the ways in. Whatever is served to an admin passes `asker`."""

from dataclasses import dataclass

import asyncpg
from aiohttp import hdrs, web

from admin.connections import borrow
from admin.cookies import check_host, cookie_for, cookie_value
from admin.jwts import looks_like_jwt
from admin.oidc import Oidc
from admin.people import Admin, AdminTokens
from admin.problems import CrossSite, NotSignedIn
from admin.requests import single
from admin.sessions import Session, csrf_token, find_session, is_csrf_token

CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asking. With a session: the token that a page must send with every change."""

    admin: Admin
    csrf_token: str | None = None


class Identity:
    """Knows admins by their tokens, by tokens of the issuer, and by the sessions for which those are traded."""

    def __init__(self, tokens: AdminTokens, oidc: Oidc | None, pool: asyncpg.Pool) -> None:
        self._tokens = tokens
        self._oidc = oidc
        self._pool = pool

    async def asker(self, request: web.BaseRequest) -> Asker:
        """Return who is asking. Raises NotSignedIn, and Forbidden where that is no admin, or not from our page.

        A request with an Authorization header is judged by that alone.
        """
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        if not fields:
            return await self._session(request)
        # A proxy may add the header to whatever a browser sends, a foreign page's requests included.
        if request.method not in SAFE_METHODS:
            check_host(single(request, hdrs.ORIGIN), request.host)
        return Asker(await self._bearer(fields))

    async def _bearer(self, fields: list[str]) -> Admin:
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        token = token.strip(" ") if scheme.lower() == "bearer" else ""
        admin = self._tokens.find(token)
        if admin is None and self._oidc is not None and looks_like_jwt(token):
            admin = await self._oidc.bearer(token)
        if admin is None:
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        return admin

    async def _session(self, request: web.BaseRequest) -> Asker:
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
        return Asker(admin, csrf_token(token))

    def _remembered(self, session: Session) -> Admin | None:
        """Return whose session this is. The config has the last word: whom it lets in no more has none."""
        if session.claims is None:
            return self._tokens.known(session.signed_in_with)
        return None if self._oidc is None else self._oidc.remembered(session.signed_in_with, session.claims)
