"""Sign-in and sign-out on the page. A token, or a login at the issuer, is exchanged for a session cookie."""

from collections.abc import Mapping

import structlog
from aiohttp import hdrs, web

from admin.connections import Lane
from admin.identity.admin_tokens import AdminTokens
from admin.identity.admins import Admin
from admin.identity.allow_list import Claims
from admin.identity.authentication import Caller
from admin.identity.client_address import address_of, single_header
from admin.identity.cookies import Cookie, cookie_for, cookie_value, cookies_for
from admin.identity.oidc_login import LOGIN_SECONDS, MAX_OPEN_LOGINS, PURPOSE, OidcLogin, cookie_purpose
from admin.identity.provider import IdentityProvider, SignInFailed
from admin.identity.sessions import ABSOLUTE_SECONDS, csrf_token, end_session, start_session
from admin.problems import CrossSite, NotFound, NotSignedIn, TooManyAttempts
from admin.secure_urls import origin_of
from proxy.grants.token_bucket import TokenBuckets

FAILURES_PER_MINUTE = 10
LOGINS_PER_MINUTE = 300
"""Each login occupies a database row until it ends. People who share an address also share this limit."""

log = structlog.get_logger("sitelatch.admin")


class SignInFlow:
    """Exchanges a token, or a login at the issuer, for a session cookie.

    Per client address, wrong tokens and new logins are limited. A valid token, and the end of a login, never are.
    """

    def __init__(self, tokens: AdminTokens, oidc: IdentityProvider | None, sessions: Lane) -> None:
        self._tokens = tokens
        self._oidc = oidc
        self._sessions = sessions
        # The limits are per process, so replicas multiply the attempts. Tokens of 256 bits cannot be guessed anyway.
        self._failures = TokenBuckets(FAILURES_PER_MINUTE)
        self._logins = TokenBuckets(LOGINS_PER_MINUTE)

    @property
    def tokens_exist(self) -> bool:
        """Whether personal tokens are configured."""
        return bool(self._tokens)

    @property
    def issuer_name(self) -> str | None:
        """The display name of the issuer, if one is configured."""
        return None if self._oidc is None else self._oidc.name

    async def with_token(self, request: web.BaseRequest, token: str) -> tuple[Caller, str]:
        """Start a session for a personal token. Return the caller and the `Set-Cookie` header value.

        The browser's previous session ends. Raises CrossSite, TooManyAttempts and NotSignedIn.
        """
        cookie = cookie_for(single_header(request, hdrs.ORIGIN), request.host)
        address = address_of(request)
        admin = self._tokens.find(token)
        if admin is None:
            # Only failed attempts are limited, so that they cannot lock out people who share the address.
            if not self._failures.allow(address):
                raise TooManyAttempts("Too many failed sign-ins from this address. Wait a minute.")
            self._failures.charge(address)
            log.info("sign_in_refused", client=address)
            raise NotSignedIn("This is not a valid admin token.")
        session = await self._start_session(request, admin, self._tokens.name_of(token))
        return Caller(admin, csrf_token(session), has_session=True), cookie.header(session, ABSOLUTE_SECONDS)

    async def start_oidc(self, request: web.BaseRequest) -> tuple[str, list[str]]:
        """Start a login at the issuer. Return the URL for the browser, and the `Set-Cookie` values that bind it.

        A browser can have several open logins, in several tabs. A login that would exceed MAX_OPEN_LOGINS replaces the
        oldest one.

        Raises NotFound, CrossSite, TooManyAttempts and IssuerDown.
        """
        if self._oidc is None:
            raise NotFound("No OpenID Connect issuer is configured.")
        origin = single_header(request, hdrs.ORIGIN)
        cookie = cookie_for(origin, request.host)
        if origin != origin_of(self._oidc.public_url):
            raise CrossSite(f"The issuer redirects to {self._oidc.public_url}. Open the page there to sign in.")
        address = address_of(request)
        if not self._logins.allow(address):
            raise TooManyAttempts("Too many sign-in attempts from this address. Wait a minute.")
        self._logins.charge(address)
        login = OidcLogin.new()
        location = await self._oidc.authorization_url(login)
        async with self._sessions.borrow() as connection:
            await login.start(connection)
        open_logins = cookies_for(request.headers.getall(hdrs.COOKIE, []), cookie, PURPOSE)
        replaced = open_logins[: max(len(open_logins) + 1 - MAX_OPEN_LOGINS, 0)]
        # SameSite=Lax, because the browser returns from another site.
        started = cookie.for_purpose(login.purpose).header(login.secret, LOGIN_SECONDS, "Lax")
        return location, [*(each.header("", 0, "Lax") for each in replaced), started]

    async def finish_oidc(self, request: web.BaseRequest, response: Mapping[str, str]) -> list[str]:
        """Finish a login at the issuer with a new session. Return the `Set-Cookie` values. Raises SignInFailed.

        `response` holds the query parameters that the browser brought back from the issuer.
        """
        if self._oidc is None:
            raise SignInFailed("expired")
        try:
            login, cookie = await self._end_login(request, response)
            admin, claims = await self._oidc.finish(login, response)
        except SignInFailed as failed:
            log.info("sign_in_refused", client=address_of(request), code=failed.code)
            raise
        session = await self._start_session(request, admin, self._oidc.signed_in_with, claims)
        return [cookie.header(session, ABSOLUTE_SECONDS), cookie.for_purpose(login.purpose).header("", 0, "Lax")]

    async def sign_out(self, request: web.BaseRequest) -> str | None:
        """End the request's session. Return the `Set-Cookie` value that deletes its cookie."""
        found = _cookie(request)
        if found is None:
            return None
        token, cookie = found
        async with self._sessions.borrow() as connection:
            await end_session(connection, token)
        return cookie.header("", 0)

    async def _end_login(self, request: web.BaseRequest, response: Mapping[str, str]) -> tuple[OidcLogin, Cookie]:
        """End the login that the response is about. Return it with the cookie for its session. Raises SignInFailed."""
        state = response.get("state", "")
        found = _cookie(request, cookie_purpose(state))
        if found is None:
            raise SignInFailed("expired")
        login, cookie = OidcLogin(found[0]), found[1]
        # A forged response must not end the login; otherwise a foreign page could prevent people from signing in.
        if not login.is_state(state):
            raise SignInFailed("expired")
        async with self._sessions.borrow() as connection:
            if not await login.end(connection):
                raise SignInFailed("expired")
        return login, cookie

    async def _start_session(
        self, request: web.BaseRequest, admin: Admin, signed_in_with: str, claims: Claims | None = None
    ) -> str:
        """Start a session with a new token, which prevents session fixation, and end the browser's previous one."""
        async with self._sessions.borrow() as connection, connection.transaction():
            if previous := _cookie(request):
                await end_session(connection, previous[0])
            return await start_session(connection, admin, signed_in_with, claims)


def _cookie(request: web.BaseRequest, purpose: str | None = None) -> tuple[str, Cookie] | None:
    return cookie_value(request.headers.getall(hdrs.COOKIE, []), request.host, purpose)
