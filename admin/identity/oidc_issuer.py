"""What is asked of the OpenID Connect issuer: who it is, its keys, tokens. Bounded in time, size and number."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, hdrs
from yarl import URL

from admin.identity.json_web_tokens import PublicKey, public_keys
from admin.problems import IssuerDown
from admin.secure_urls import is_safe
from proxy.grants.token_bucket import TokenBuckets

FETCH_SECONDS: Final = 5
FETCH_BYTES: Final = 256 * 1024
FRESH_SECONDS: Final = 600
"""After this long the keys are fetched again, so that one that the issuer withdrew counts no more."""
STALE_SECONDS: Final = 3600
"""For this long they count while the issuer cannot be reached."""
FAILED_SECONDS: Final = 10
"""After a look that failed nobody waits for another one for this long."""
LOOKS_PER_MINUTE: Final = 6
"""Looks for new keys: tokens that name made-up ones must not become a flood of requests to the issuer."""

log = structlog.get_logger("sitelatch.admin")


class IssuerResponseError(Exception):
    """The issuer's answer is not what it should be. `error` is its own code for that (RFC 6749 §5.2), if it has one."""

    def __init__(self, text: str, error: str | None = None) -> None:
        super().__init__(text)
        self.error = error


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """What the issuer says of itself (OpenID Connect Discovery 1.0 §3), and its keys."""

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    secret_in_body: bool
    """It takes the client's secret in the body, and not by Basic authentication."""
    names_itself: bool
    """It says in each answer that the answer is its own (RFC 9207)."""
    keys: tuple[PublicKey, ...]


class Issuer:
    """The issuer, asked when needed: nothing is fetched at the start, so that its outage is not ours."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._known: IssuerMetadata | None = None
        self._known_at = self._looked_at = -float("inf")
        self._failed = False
        self._lock = asyncio.Lock()
        self._looks = TokenBuckets(LOOKS_PER_MINUTE, clock=clock)
        self._session: ClientSession | None = None

    async def known(self, *, newer_than: IssuerMetadata | None = None) -> IssuerMetadata:
        """Return what is known of the issuer, fetched anew where it is old, or `newer_than` is what was known.

        It is what was known before while too many looks were taken. Raises IssuerDown.
        """
        asked_at = self._clock()
        # While somebody looks, the others go on with what is known.
        if not self._is_old(newer_than) or (self._lock.locked() and newer_than is None and not self._is_stale()):
            return self._usable(newer_than)
        async with self._lock:
            # Whoever waited for somebody else's look has had theirs.
            if self._is_old(newer_than) and self._looked_at <= asked_at and self._may_look():
                self._looks.charge("issuer")
                await self._look()
            return self._usable(newer_than)

    def _is_old(self, newer_than: IssuerMetadata | None) -> bool:
        return self._known is None or self._known is newer_than or self._clock() - self._known_at >= FRESH_SECONDS

    def _is_stale(self) -> bool:
        return self._clock() - self._known_at >= STALE_SECONDS

    def _may_look(self) -> bool:
        just_failed = self._failed and self._clock() - self._looked_at < FAILED_SECONDS
        return not just_failed and self._looks.allow("issuer")

    def _usable(self, newer_than: IssuerMetadata | None) -> IssuerMetadata:
        if self._known is None or self._is_stale() or (self._failed and self._known is newer_than):
            raise IssuerDown("The issuer that admins sign in with cannot be used right now. Try again soon.")
        return self._known

    async def _look(self) -> None:
        try:
            self._known = await self._fetch_all()
        except (IssuerResponseError, aiohttp.ClientError, OSError, TimeoutError) as error:
            told = str(error) if isinstance(error, IssuerResponseError) else type(error).__name__
            log.warning("the issuer cannot be used", issuer=self._url, error=told)
            self._failed = True
        else:
            self._known_at = self._clock()
            self._failed = False
        self._looked_at = self._clock()

    async def _fetch_all(self) -> IssuerMetadata:
        said = await self.ask("GET", self._url.rstrip("/") + "/.well-known/openid-configuration")
        if said.get("issuer") != self._url:
            raise IssuerResponseError("its discovery document is of another issuer: compare `issuer` letter by letter")
        keys = public_keys(await self.ask("GET", _endpoint(said, "jwks_uri")))
        if not keys:
            raise IssuerResponseError("its key set holds no key that can be used")
        ways = said.get("token_endpoint_auth_methods_supported")
        return IssuerMetadata(
            _endpoint(said, "authorization_endpoint"),
            _endpoint(said, "token_endpoint"),
            _endpoint(said, "userinfo_endpoint") if "userinfo_endpoint" in said else None,
            isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
            said.get("authorization_response_iss_parameter_supported") is True,
            keys,
        )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        authorization: str | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the JSON object in the response.

        Raises IssuerResponseError, ClientError, OSError and TimeoutError.
        """
        headers = {hdrs.ACCEPT: "application/json", hdrs.ACCEPT_ENCODING: "identity"}
        if authorization is not None:
            headers[hdrs.AUTHORIZATION] = authorization
        async with self._client().request(
            method, URL(url, encoded=True), data=form, headers=headers, allow_redirects=False
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > FETCH_BYTES:
                    raise IssuerResponseError("it answers with more than is believable")
            try:
                said = json.loads(body)
            except (ValueError, RecursionError):
                said = None
            if answer.status != 200:
                code = said.get("error") if isinstance(said, dict) else None
                raise IssuerResponseError(
                    f"it answers {answer.status}", code if isinstance(code, str) and code.isidentifier() else None
                )
            if not isinstance(said, dict):
                raise IssuerResponseError("it answers with something that is no JSON object")
            return said

    def _client(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(FETCH_SECONDS), cookie_jar=DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Close the connections to the issuer."""
        if self._session is not None:
            await self._session.close()


def _endpoint(said: Mapping[str, Any], name: str) -> str:
    url = said.get(name)
    if not isinstance(url, str) or not is_safe(url.partition("?")[0]):
        raise IssuerResponseError(f"the {name} of its discovery document is no https address")
    return url
