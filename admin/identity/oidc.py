"""OpenID Connect: who a token of the issuer is of, for the API, and what a sign-in at the issuer ends with."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import aiohttp
import structlog

from admin.identity.admins import Admin
from admin.identity.allow_list import AllowList, Claims, rule
from admin.identity.json_web_tokens import InvalidToken, UnknownSigningKey, check_bearer, check_id_token
from admin.identity.oidc_issuer import Issuer, IssuerMetadata, IssuerResponseError
from admin.identity.oidc_login import OidcLogin
from admin.problems import IssuerDown, NotAnAdmin, NotSignedIn
from admin.settings import OidcSettings

CALLBACK: Final = "/sign-in/oidc/callback"
_UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)

log = structlog.get_logger("sitelatch.admin")


class SignInFailed(Exception):  # noqa: N818 - it says what it is
    """A sign-in at the issuer that leads to no session. `code` is what the page has a sentence for."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Oidc:
    """The issuer that admins sign in with, and whom of those that it knows the config lets in."""

    def __init__(self, settings: OidcSettings, public_url: str, issuer: Issuer | None = None) -> None:
        self._settings = settings
        self._issuer = issuer or Issuer(settings.issuer)
        self._allowed = AllowList(map(rule, settings.allow))
        self._audience = settings.audience or settings.client_id
        self.public_url = public_url
        self.redirect_uri = public_url.rstrip("/") + CALLBACK
        self.name = settings.name or str(urlsplit(settings.issuer).hostname)
        self.signed_in_with = f"oidc:{settings.issuer}"

    async def close(self) -> None:
        """Close the connections to the issuer."""
        await self._issuer.close()

    async def bearer(self, token: str) -> Admin:
        """Return whose JWT this is. Raises NotSignedIn, NotAnAdmin and IssuerDown."""
        try:
            claims = await self._checked(
                lambda known: check_bearer(
                    token,
                    known.keys,
                    issuer=self._settings.issuer,
                    audience=self._audience,
                    now=int(time.time()),
                )
            )
        except InvalidToken as error:
            log.info("a token was refused", why=str(error))
            raise NotSignedIn("The token is not one of the issuer's for this API, or not valid any more.") from None
        admin = self._allowed.admit(claims)
        if admin is None:
            raise NotAnAdmin("The issuer knows you, but you are not among the admins of this installation.")
        return admin

    def remembered(self, signed_in_with: str, claims: Claims) -> Admin | None:
        """Return whose session this is, if the config would still let them in."""
        return self._allowed.admit(claims) if signed_in_with == self.signed_in_with else None

    async def location(self, trip: OidcLogin) -> str:
        """Return where to send the browser. Raises IssuerDown."""
        known = await self._issuer.known()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": " ".join(self._settings.scopes),
                "state": trip.state,
                "nonce": trip.nonce,
                "code_challenge": trip.challenge,
                "code_challenge_method": "S256",
            },
            quote_via=quote,
        )
        endpoint = known.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, trip: OidcLogin, answer: Mapping[str, str]) -> tuple[Admin, Claims]:
        """Return who has signed in, and what of them a session should remember. Raises SignInFailed.

        `answer` is what came back with the browser; its state is judged already.
        """
        try:
            claims = await self._claims(trip, answer)
        except IssuerDown:
            raise SignInFailed("issuer_unavailable") from None
        except _UNREACHABLE as error:
            log.warning("the issuer cannot be reached", error=type(error).__name__)
            raise SignInFailed("issuer_unavailable") from None
        except IssuerResponseError as error:
            log.warning("the issuer refused a sign-in", why=str(error), error=error.error)
            wrong_client = error.error in ("invalid_client", "unauthorized_client")
            raise SignInFailed("client_refused" if wrong_client else "sign_in_refused") from None
        except InvalidToken as error:
            log.warning("the issuer's ID token was refused", why=str(error))
            raise SignInFailed("sign_in_refused") from None
        admin = self._allowed.admit(claims)
        if admin is None:
            raise SignInFailed("not_an_admin")
        return admin, self._allowed.judged(claims)

    async def _claims(self, trip: OidcLogin, answer: Mapping[str, str]) -> Claims:
        known = await self._issuer.known()
        # Another issuer's answer in the place of this one's is how codes are stolen (RFC 9207 §2.4).
        if answer.get("iss", None if known.names_itself else self._settings.issuer) != self._settings.issuer:
            raise IssuerResponseError("the answer is another issuer's")
        if error := answer.get("error"):
            if error == "access_denied":
                raise SignInFailed("denied")
            raise IssuerResponseError("it sent the browser back with an error", error if error.isidentifier() else None)
        tokens = await self._issuer.ask(
            "POST", known.token_endpoint, **self._trade(known, answer.get("code", ""), trip)
        )
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise IssuerResponseError("it answers without an ID token")
        claims: Claims = await self._checked(
            lambda known: check_id_token(
                id_token,
                known.keys,
                issuer=self._settings.issuer,
                client_id=self._settings.client_id,
                nonce=trip.nonce,
                now=int(time.time()),
            )
        )
        access_token = tokens.get("access_token")
        if known.userinfo_endpoint and isinstance(access_token, str) and self._allowed.needs(claims):
            more = await self._issuer.ask("GET", known.userinfo_endpoint, authorization=f"Bearer {access_token}")
            # Without this check somebody else's claims could be put in (OpenID Connect Core §5.3.2).
            if more.get("sub") != claims["sub"]:
                raise IssuerResponseError("its userinfo is about somebody else")
            claims = _merged(claims, more)
        return claims

    def _trade(self, known: IssuerMetadata, code: str, trip: OidcLogin) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": trip.verifier,
        }
        client_id, secret = self._settings.client_id, self._settings.client_secret
        if secret is None:
            return {"form": {**form, "client_id": client_id}}
        if known.secret_in_body:
            return {"form": {**form, "client_id": client_id, "client_secret": secret}}
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"  # RFC 6749 §2.3.1
        return {"form": form, "authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"}

    async def _checked(self, check: Callable[[IssuerMetadata], dict[str, Any]]) -> dict[str, Any]:
        """Run `check` with the cached keys, and again with newer ones if a key is missing."""
        known = await self._issuer.known()
        try:
            return check(known)
        except UnknownSigningKey:
            return check(await self._issuer.known(newer_than=known))


def _merged(claims: Claims, more: Claims) -> Claims:
    """Return the ID token's claims and what the userinfo adds. An email and its flag are of one source."""
    if "email" in claims:
        more = {name: value for name, value in more.items() if name not in ("email", "email_verified")}
    elif "email" in more:
        claims = {name: value for name, value in claims.items() if name != "email_verified"}
    return {**more, **claims}
