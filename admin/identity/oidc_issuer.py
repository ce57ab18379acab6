"""Requests to the OpenID Connect issuer: discovery document, keys, tokens. Bounded in time, size and number."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, hdrs
from yarl import URL

from admin.completion import complete
from admin.identity.json_web_tokens import PublicKey, public_keys
from admin.problems import IssuerDown
from admin.secure_urls import is_safe
from proxy.relay.tls_files import WatchedFiles, client_files

FETCH_SECONDS: Final = 5
FETCH_BYTES: Final = 256 * 1024
FRESH_SECONDS: Final = 600
"""The keys are fetched again after this time, so that a key that the issuer withdrew is no longer accepted."""
STALE_SECONDS: Final = 3600
"""Cached keys are accepted for this time while the issuer cannot be reached."""
RETRY_SECONDS: Final = 10
"""After a failed refresh, requests fail at once for this time instead of waiting for another attempt."""
KEY_REFRESH_SECONDS: Final = 1
"""The minimum time between two refreshes, so that tokens that name made-up keys do not flood the issuer with requests.

A token that needs a refresh waits for its turn. It is never refused because others used up a limit."""

log = structlog.get_logger("sitelatch.admin")


class IssuerResponseError(Exception):
    """An unusable response from the issuer. `error` is the issuer's own error code (RFC 6749 §5.2), if it sent one."""

    def __init__(self, text: str, error: str | None = None) -> None:
        super().__init__(text)
        self.error = error


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """The issuer's metadata (OpenID Connect Discovery 1.0 §3) and keys."""

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    jwks_uri: str
    secret_in_body: bool
    """Whether the client secret goes into the body rather than into Basic authentication."""
    sends_iss: bool
    """Whether the issuer adds `iss` to authorization responses (RFC 9207)."""
    keys: tuple[PublicKey, ...]


class Issuer:
    """The issuer with a cache of its metadata.

    Metadata is fetched on first use, so that an outage of the issuer does not prevent Sitelatch from starting.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic, fetch_seconds: float = FETCH_SECONDS
    ) -> None:
        self._url = url
        self._fetch_seconds = fetch_seconds
        self._clock = clock
        self._metadata: IssuerMetadata | None = None
        self._fetched_at = self._started_at = self._retry_at = -float("inf")
        self._failed = False
        self._lock = asyncio.Lock()
        self._session: ClientSession | None = None
        self._tls: ssl.SSLContext | bool = True  # aiohttp's own context, until the authorities are read again

    @property
    def watched(self) -> WatchedFiles:
        """The authorities of the system, which sign the issuer's certificate."""
        return WatchedFiles("the authorities for [admin.oidc] issuer", client_files(None), self._load_authorities)

    def _load_authorities(self) -> Callable[[], None]:
        context = ssl.create_default_context()

        def use() -> None:
            self._tls = context

        return use

    async def metadata(self, *, newer_than: IssuerMetadata | None = None) -> IssuerMetadata:
        """Return the metadata, refreshed if it is old or identical to `newer_than`. Raises IssuerDown."""
        called_at = self._clock()
        # During a refresh, other callers use the cache.
        if not self._is_old(newer_than) or (self._lock.locked() and newer_than is None and not self._is_stale()):
            return self._usable(newer_than)
        async with self._lock:
            # If another caller's refresh started while this one waited for the lock, its result is new enough.
            if self._is_old(newer_than) and self._started_at <= called_at and self._clock() >= self._retry_at:
                await asyncio.sleep(self._started_at + KEY_REFRESH_SECONDS - self._clock())
                # Other callers wait for this refresh, so it does not end when the client of this one leaves.
                await complete(self._refresh())
            return self._usable(newer_than)

    def _is_old(self, newer_than: IssuerMetadata | None) -> bool:
        return (
            self._metadata is None or self._metadata is newer_than or self._clock() - self._fetched_at >= FRESH_SECONDS
        )

    def _is_stale(self) -> bool:
        return self._clock() - self._fetched_at >= STALE_SECONDS

    def _usable(self, newer_than: IssuerMetadata | None) -> IssuerMetadata:
        if self._metadata is None or self._is_stale() or (self._failed and self._metadata is newer_than):
            raise IssuerDown("The OpenID Connect issuer is unavailable. Try again soon.")
        return self._metadata

    async def _refresh(self) -> None:
        self._started_at = self._clock()
        try:
            if self._metadata is None or self._is_old(None):
                self._metadata = await self._fetch_metadata()
                self._fetched_at = self._clock()
            else:
                self._metadata = replace(self._metadata, keys=await self._fetch_keys(self._metadata.jwks_uri))
        except (IssuerResponseError, aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) if isinstance(error, IssuerResponseError) else type(error).__name__
            log.warning("issuer_metadata_unavailable", issuer=self._url, reason=reason)
            self._failed = True
            self._retry_at = self._clock() + RETRY_SECONDS
        else:
            self._failed = False

    async def _fetch_metadata(self) -> IssuerMetadata:
        document = await self.fetch_json("GET", self._url.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._url:
            raise IssuerResponseError(
                "its discovery document names another issuer; `issuer` must match it character for character"
            )
        jwks_uri = _endpoint(document, "jwks_uri")
        methods = document.get("token_endpoint_auth_methods_supported")
        return IssuerMetadata(
            _endpoint(document, "authorization_endpoint"),
            _endpoint(document, "token_endpoint"),
            None if document.get("userinfo_endpoint") is None else _endpoint(document, "userinfo_endpoint"),
            jwks_uri,
            isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods,
            document.get("authorization_response_iss_parameter_supported") is True,
            await self._fetch_keys(jwks_uri),
        )

    async def _fetch_keys(self, jwks_uri: str) -> tuple[PublicKey, ...]:
        keys = public_keys(await self.fetch_json("GET", jwks_uri))
        if not keys:
            raise IssuerResponseError("its key set has no usable key")
        return keys

    async def fetch_json(
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
            method, URL(url, encoded=True), data=form, headers=headers, allow_redirects=False, ssl=self._tls
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > FETCH_BYTES:
                    raise IssuerResponseError(f"its response has more than {FETCH_BYTES} bytes")
            try:
                document = json.loads(body)
            except (ValueError, RecursionError):
                document = None
            if response.status != 200:
                code = document.get("error") if isinstance(document, dict) else None
                raise IssuerResponseError(
                    f"it responded with status {response.status}",
                    code if isinstance(code, str) and code.isidentifier() else None,
                )
            if not isinstance(document, dict):
                if response.content_type == "application/jwt":
                    raise IssuerResponseError("its response is a JWT. Configure the client at the issuer to get JSON")
                raise IssuerResponseError("its response is not a JSON object")
            return document

    def _client(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(self._fetch_seconds), cookie_jar=DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Close the connections to the issuer."""
        if self._session is not None:
            await self._session.close()


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or not is_safe(url.partition("?")[0]):
        raise IssuerResponseError(f"`{name}` in its discovery document is not an https URL")
    return url
