"""Who is asking: the one place that knows the ways in. Whatever is served to an admin passes `admin`."""

from dataclasses import dataclass

import asyncpg
import structlog
from aiohttp import hdrs, web

from admin.connections import borrow
from admin.cookies import Cookie, cookie_for, session_token
from admin.people import Admin, AdminTokens
from admin.problems import CrossSite, NotSignedIn, TooManyAttempts
from admin.sessions import ABSOLUTE_SECONDS, csrf_token, end_session, find_session, is_csrf_token, start_session
from proxy.budget import LookupBudget

CSRF_HEADER = "X-CSRF-Token"
WRONG_TOKENS_PER_MINUTE = 10
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger("sitelatch.admin")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asking. With a session: the token that a page must send with every change."""

    admin: Admin
    csrf_token: str | None = None


class Identity:
    """Knows admins by their tokens, and by the sessions for which those are traded."""

    def __init__(self, tokens: AdminTokens, pool: asyncpg.Pool) -> None:
        self._tokens = tokens
        self._pool = pool
        # In this process: with several replicas an address has as many times the attempts, of 2^256 that it would need.
        self._attempts = LookupBudget(WRONG_TOKENS_PER_MINUTE)

    async def asker(self, request: web.BaseRequest) -> Asker:
        """Return who is asking. Raises NotSignedIn, and CrossSite where it is their browser but not our page.

        A request with an Authorization header is judged by that alone.
        """
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        if fields:
            return Asker(self._bearer(fields))
        return await self._session(request)

    def _bearer(self, fields: list[str]) -> Admin:
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        admin = self._tokens.find(token.strip(" ")) if scheme.lower() == "bearer" else None
        if admin is None:
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        return admin

    async def _session(self, request: web.BaseRequest) -> Asker:
        found = _sent(request)
        if found is None:
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        token, cookie = found
        async with borrow(self._pool) as connection:
            session = await find_session(connection, token)
        # The config has the last word: a token that was taken out of it ends its sessions, one that was limited limits.
        admin = None if session is None else self._tokens.known(session.signed_in_with)
        if admin is None:
            raise NotSignedIn("The session has ended. Sign in again.")
        if request.method not in SAFE_METHODS:
            if cookie_for(_single(request, hdrs.ORIGIN), request.host) != cookie:
                raise CrossSite("The session was begun over another scheme than this page has.")
            if not is_csrf_token(_single(request, CSRF_HEADER) or "", token):
                raise CrossSite(f"The header {CSRF_HEADER} is missing or wrong: load the page again.")
        return Asker(admin, csrf_token(token))

    async def sign_in(self, request: web.BaseRequest, token: str, address: str) -> tuple[Asker, str]:
        """Trade an admin's token for a new session; return who it is, and the Set-Cookie line.

        The session that the browser had before ends. Raises CrossSite, TooManyAttempts and NotSignedIn.
        """
        cookie = cookie_for(_single(request, hdrs.ORIGIN), request.host)
        if not self._attempts.allow(address):
            raise TooManyAttempts("Too many wrong tokens came from this address. Wait a minute.")
        admin = self._tokens.find(token)
        if admin is None:
            self._attempts.charge(address)
            log.info("a sign-in was refused", client=address)
            raise NotSignedIn("This is not the token of an admin.")
        async with borrow(self._pool) as connection, connection.transaction():
            if before := _sent(request):
                await end_session(connection, before[0])
            session = await start_session(connection, admin, self._tokens.name_of(token))
        return Asker(admin, csrf_token(session)), cookie.kept(session, ABSOLUTE_SECONDS)

    async def sign_out(self, request: web.BaseRequest) -> str | None:
        """End the session with which this is asked; return the Set-Cookie line that takes its cookie back."""
        found = _sent(request)
        if found is None:
            return None
        token, cookie = found
        async with borrow(self._pool) as connection:
            await end_session(connection, token)
        return cookie.kept("", 0)


def _sent(request: web.BaseRequest) -> tuple[str, Cookie] | None:
    return session_token(request.headers.getall(hdrs.COOKIE, []), request.host)


def _single(request: web.BaseRequest, name: str) -> str | None:
    """Return a header's value if it is there once; two could be read differently."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None
