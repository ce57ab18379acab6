"""OpenID Connect: authenticates bearer tokens of the issuer, and completes sign-ins at the issuer."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import aiohttp
import structlog

from admin.identity.admins import Admin
from admin.identity.allow_list import AllowList, Claims, folded, rule
from admin.identity.json_web_tokens import InvalidToken, UnknownSigningKey, check_bearer, check_id_token
from admin.identity.oidc_issuer import Issuer, IssuerMetadata, IssuerResponseError
from admin.identity.oidc_login import OidcLogin
from admin.identity.provider import CALLBACK, SignInFailed
from admin.identity.rejections import log_rejection, not_an_admin
from admin.problems import IssuerDown, NotSignedIn
from admin.settings import OidcSettings
from proxy.relay.tls_files import WatchedFiles

_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)

log = structlog.get_logger("sitelatch.admin")


class Oidc:
    """The OpenID Connect issuer, with the allow list that decides which of its people are admins."""

    def __init__(
        self,
        settings: OidcSettings,
        public_url: str,
        issuer: Issuer | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self.client_secret = settings.client_secret
        """The client secret for requests to the issuer. It may be replaced at any time."""
        self._issuer = issuer or Issuer(settings.issuer)
        self._wall_clock = wall_clock
        self._allow_list = AllowList(map(rule, settings.allow))
        self._audience = settings.audience or settings.client_id
        self.public_url = public_url
        self.redirect_uri = public_url.rstrip("/") + CALLBACK
        self.name = settings.name or str(urlsplit(settings.issuer).hostname)
        self.signed_in_with = f"oidc:{settings.issuer}"

    @property
    def watched(self) -> WatchedFiles:
        """The operating system's certificate authorities, one of which has signed the issuer's certificate."""
        return self._issuer.watched

    async def close(self) -> None:
        """Close the connections to the issuer."""
        await self._issuer.close()

    async def admin_for_token(self, token: str) -> Admin:
        """Return the admin of a JWT. Raises NotSignedIn, NotAnAdmin and IssuerDown."""
        try:
            claims = await self._checked(
                lambda metadata: check_bearer(
                    token,
                    metadata.keys,
                    issuer=self._settings.issuer,
                    audience=self._audience,
                    now=int(self._wall_clock()),
                )
            )
        except InvalidToken as error:
            log.info("token_refused", reason=str(error))
            raise NotSignedIn("The token was not issued for this API, or it is no longer valid.") from None
        admin = self._allow_list.admit(claims)
        if admin is None:
            raise not_an_admin(self._allow_list.rejection(claims), self.name)
        return admin

    def admin_for_session(self, signed_in_with: str, claims: Claims) -> Admin | None:
        """Return the admin of a session, or None if the configuration no longer admits that person."""
        if signed_in_with != self.signed_in_with:
            return None
        admin = self._allow_list.admit(claims)
        if admin is None:
            log_rejection(self._allow_list.rejection(claims))
        return admin

    async def authorization_url(self, login: OidcLogin) -> str:
        """Return the URL to send the browser to. Raises IssuerDown."""
        metadata = await self._issuer.metadata()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": " ".join(self._settings.scopes),
                "state": login.state,
                "nonce": login.nonce,
                "code_challenge": login.challenge,
                "code_challenge_method": "S256",
            },
            quote_via=quote,
        )
        endpoint = metadata.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, login: OidcLogin, response: Mapping[str, str]) -> tuple[Admin, Claims]:
        """Complete a sign-in: return the admin, and the claims that the session should keep. Raises SignInFailed.

        `response` holds the query parameters that the browser brought back. The caller has checked `state`.
        """
        try:
            claims = await self._claims(login, response)
        except IssuerDown:
            raise SignInFailed("issuer_unavailable") from None
        except IssuerResponseError as error:
            raise _refused(error) from None
        except InvalidToken as error:
            log.warning("id_token_refused", reason=str(error))
            raise SignInFailed("sign_in_refused") from None
        kept = self._allow_list.relevant_claims(claims)
        admin = self._allow_list.admit(kept)  # as at every later request of the session
        if admin is None:
            rejection = self._allow_list.rejection(claims)
            log_rejection(rejection)
            raise SignInFailed("not_an_admin", rejection.reason)
        return admin, kept

    async def _claims(self, login: OidcLogin, response: Mapping[str, str]) -> Claims:
        metadata = await self._issuer.metadata()
        error = response.get("error")
        # Without these checks, a response from another issuer could be used to steal codes (RFC 9207 §2.4). An error
        # contains no code, and some issuers announce `iss` but leave it out of errors.
        if response.get("iss", self._settings.issuer) != self._settings.issuer:
            raise IssuerResponseError("the response came from another issuer")
        if error is None and metadata.sends_iss and "iss" not in response:
            raise IssuerResponseError("the response lacks `iss`, which the issuer's discovery document announces")
        if error is not None:
            if error == "access_denied":
                raise SignInFailed("denied")
            raise IssuerResponseError("it returned an error", error if error.isidentifier() else None)
        tokens = await self._fetch(
            "token", "POST", metadata.token_endpoint, **self._token_request(metadata, response.get("code", ""), login)
        )
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise IssuerResponseError("its response has no ID token")
        checked = await self._checked(
            lambda metadata: check_id_token(
                id_token,
                metadata.keys,
                issuer=self._settings.issuer,
                client_id=self._settings.client_id,
                nonce=login.nonce,
                now=int(self._wall_clock()),
            )
        )
        claims = _with_values(checked)
        access_token = tokens.get("access_token")
        if metadata.userinfo_endpoint and isinstance(access_token, str) and self._allow_list.needs_more(claims):
            userinfo = await self._fetch(
                "userinfo", "GET", metadata.userinfo_endpoint, authorization=f"Bearer {access_token}"
            )
            # Without this check, another person's claims could be substituted (OpenID Connect Core §5.3.2).
            if userinfo.get("sub") != claims["sub"]:
                raise IssuerResponseError("its userinfo response is about another person")
            claims = _merged(claims, _with_values(userinfo))
        return claims

    async def _fetch(self, endpoint: str, method: str, url: str, **request: Any) -> dict[str, Any]:
        """Return the JSON of one of the issuer's endpoints. Logs which one has failed, and raises SignInFailed."""
        try:
            return await self._issuer.fetch_json(method, url, **request)
        except _UNREACHABLE as error:
            log.warning("issuer_unreachable", endpoint=endpoint, error=type(error).__name__)
            raise SignInFailed("issuer_unavailable") from None
        except IssuerResponseError as error:
            raise _refused(error, endpoint=endpoint) from None

    def _token_request(self, metadata: IssuerMetadata, code: str, login: OidcLogin) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": login.verifier,
        }
        client_id, secret = self._settings.client_id, self.client_secret
        if secret is None:
            return {"form": {**form, "client_id": client_id}}
        if metadata.secret_in_body:
            return {"form": {**form, "client_id": client_id, "client_secret": secret}}
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"  # RFC 6749 §2.3.1
        return {"form": form, "authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"}

    async def _checked(self, check: Callable[[IssuerMetadata], dict[str, Any]]) -> dict[str, Any]:
        """Run `check` with the cached keys, and again with newer ones if the token names an unknown key."""
        metadata = await self._issuer.metadata()
        try:
            return check(metadata)
        except UnknownSigningKey:
            return check(await self._issuer.metadata(newer_than=metadata))


def _refused(error: IssuerResponseError, **details: str) -> SignInFailed:
    """Log why the issuer did not complete a sign-in, and return the failure for the page."""
    log.warning("issuer_refused_sign_in", reason=str(error), error=error.error, **details)
    wrong_client = error.error in ("invalid_client", "unauthorized_client")
    return SignInFailed("client_refused" if wrong_client else "sign_in_refused")


def _with_values(claims: Claims) -> Claims:
    """Return the claims that have a value. Some issuers send null or an empty text for claims that they do not know."""
    return {name: value for name, value in claims.items() if value not in (None, "")}


def _merged(claims: Claims, userinfo: Claims) -> Claims:
    """Add userinfo to the ID token's claims. An `email_verified` flag counts only for the email that it is about."""
    if "email" in claims:
        # Without an email, the response is about the email of its subject.
        if folded(str(userinfo.get("email", claims["email"]))) != folded(str(claims["email"])):
            userinfo = {name: value for name, value in userinfo.items() if name != "email_verified"}
    elif "email" in userinfo:
        claims = {name: value for name, value in claims.items() if name != "email_verified"}
    return {**userinfo, **claims}
