"""Signing in and out on the page: what a session is traded for. Attempts are slowed per address."""

from collections.abc import Mapping

import asyncpg
import structlog
from aiohttp import hdrs, web

from admin.connections import borrow
from admin.identity.admin_tokens import AdminTokens
from admin.identity.admins import Admin
from admin.identity.allow_list import Claims
from admin.identity.authentication import Caller
from admin.identity.client_address import address_of, single
from admin.identity.cookies import Cookie, cookie_for, cookie_value
from admin.identity.oidc import Oidc, SignInFailed
from admin.identity.oidc_login import ROUND_TRIP_SECONDS, OidcLogin
from admin.identity.sessions import ABSOLUTE_SECONDS, csrf_token, end_session, start_session
from admin.problems import CrossSite, NotFound, NotSignedIn, TooManyAttempts
from admin.secure_urls import origin_of
from proxy.grants.token_bucket import TokenBuckets

FAILURES_PER_MINUTE = 10
ROUND_TRIPS_PER_MINUTE = 30
"""Each takes a row of the database until it ends."""
_ROUND_TRIP = "round-trip"

log = structlog.get_logger("sitelatch.admin")


class SignInFlow:
    """Where a token, or a sign-in at the issuer, is traded for a session, which is a cookie."""

    def __init__(self, tokens: AdminTokens, oidc: Oidc | None, pool: asyncpg.Pool) -> None:
        self._tokens = tokens
        self._oidc = oidc
        self._pool = pool
        # In this process: with several replicas an address has as many times the attempts, of 2^256 that it would need.
        self._failures = TokenBuckets(FAILURES_PER_MINUTE)
        self._round_trips = TokenBuckets(ROUND_TRIPS_PER_MINUTE)

    @property
    def tokens_exist(self) -> bool:
        """Whether there are personal tokens to sign in with."""
        return bool(self._tokens)

    @property
    def issuer_name(self) -> str | None:
        """What people call the issuer to sign in at, if there is one."""
        return None if self._oidc is None else self._oidc.name

    async def with_token(self, request: web.BaseRequest, token: str) -> tuple[Caller, str]:
        """Trade an admin's token for a new session; return who it is, and the Set-Cookie line.

        The session that the browser had before ends. Raises CrossSite, TooManyAttempts and NotSignedIn.
        """
        cookie = cookie_for(single(request, hdrs.ORIGIN), request.host)
        address = address_of(request)
        if not self._failures.allow(address):
            raise TooManyAttempts("Too many wrong tokens came from this address. Wait a minute.")
        admin = self._tokens.find(token)
        if admin is None:
            self._failures.charge(address)
            log.info("a sign-in was refused", client=address)
            raise NotSignedIn("This is not the token of an admin.")
        session = await self._begin(request, admin, self._tokens.name_of(token))
        return Caller(admin, csrf_token(session), has_session=True), cookie.kept(session, ABSOLUTE_SECONDS)

    async def start_oidc(self, request: web.BaseRequest) -> tuple[str, str]:
        """Return where to send the browser, and the Set-Cookie line that binds the round trip to it.

        Raises NotFound, CrossSite, TooManyAttempts and IssuerDown.
        """
        if self._oidc is None:
            raise NotFound("There is no OpenID Connect issuer here to sign in at.")
        origin = single(request, hdrs.ORIGIN)
        cookie = cookie_for(origin, request.host)
        if origin != origin_of(self._oidc.public_url):
            raise CrossSite(f"The issuer sends admins to {self._oidc.public_url}: open the page there to sign in.")
        address = address_of(request)
        if not (self._round_trips.allow(address) and self._failures.allow(address)):
            raise TooManyAttempts("Too many sign-ins were begun from this address. Wait a minute.")
        self._round_trips.charge(address)
        trip = OidcLogin.new()
        location = await self._oidc.location(trip)
        async with borrow(self._pool) as connection:
            await trip.start(connection)
        # Lax: the browser comes back from another site.
        return location, cookie.beside(_ROUND_TRIP).kept(trip.secret, ROUND_TRIP_SECONDS, "Lax")

    async def finish_oidc(self, request: web.BaseRequest, answer: Mapping[str, str]) -> list[str]:
        """End a round trip with a new session; return the Set-Cookie lines. Raises SignInFailed.

        `answer` is what the issuer sent back with the browser.
        """
        if self._oidc is None:
            raise SignInFailed("expired")
        address = address_of(request)
        if not self._failures.allow(address):
            raise SignInFailed("too_many_attempts")
        asked = False
        try:
            trip, cookie = await self._come_back(request, answer)
            asked = True
            admin, claims = await self._oidc.finish(trip, answer)
        except SignInFailed as failed:
            # Any page can send a browser here: that alone must not keep people from signing in.
            if asked and failed.code != "issuer_unavailable":
                self._failures.charge(address)
            log.info("a sign-in was refused", client=address, code=failed.code)
            raise
        session = await self._begin(request, admin, self._oidc.signed_in_with, claims)
        return [cookie.kept(session, ABSOLUTE_SECONDS), cookie.beside(_ROUND_TRIP).kept("", 0, "Lax")]

    async def sign_out(self, request: web.BaseRequest) -> str | None:
        """End the session with which this is asked; return the Set-Cookie line that takes its cookie back."""
        found = _cookie(request)
        if found is None:
            return None
        token, cookie = found
        async with borrow(self._pool) as connection:
            await end_session(connection, token)
        return cookie.kept("", 0)

    async def _come_back(self, request: web.BaseRequest, answer: Mapping[str, str]) -> tuple[OidcLogin, Cookie]:
        """Return the round trip that ends with this request, and the cookie for its session. Raises SignInFailed."""
        found = _cookie(request, _ROUND_TRIP)
        if found is None:
            raise SignInFailed("expired")
        trip, cookie = OidcLogin(found[0]), found[1]
        # A foreign answer must not end the round trip: whoever slips one in could keep people from signing in.
        if not trip.is_state(answer.get("state", "")):
            raise SignInFailed("expired")
        async with borrow(self._pool) as connection:
            if not await trip.end(connection):
                raise SignInFailed("expired")
        return trip, cookie

    async def _begin(
        self, request: web.BaseRequest, admin: Admin, signed_in_with: str, claims: Claims | None = None
    ) -> str:
        """Begin a session under a name that nobody knew before, and end the one that the browser had."""
        async with borrow(self._pool) as connection, connection.transaction():
            if before := _cookie(request):
                await end_session(connection, before[0])
            return await start_session(connection, admin, signed_in_with, claims)


def _cookie(request: web.BaseRequest, purpose: str | None = None) -> tuple[str, Cookie] | None:
    return cookie_value(request.headers.getall(hdrs.COOKIE, []), request.host, purpose)
