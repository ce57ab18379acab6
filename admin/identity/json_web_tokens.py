"""Verification of an issuer's JSON Web Tokens: signature, lifetime, issuer and audience. No I/O.

The accepted algorithms are fixed here, and the keys come from the issuer's key set; the token chooses neither. `none`
and HMACs made with a public key are never accepted (RFC 8725 §3.1, §3.2).
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ClaimError, JoseError, SecurityWarning, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from admin.identity.provider import TOKEN_LENGTH, looks_like_jwt

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519"),  # both name the same algorithm (RFC 9864 §2.2)
)
LEEWAY_SECONDS: Final = 30
_MAX_KEYS = 64
_CLAIM_FAULTS: Final = {
    "missing_claim": "is missing",
    "expired_token": "has passed, by the clock of this machine",
    "invalid_claim": "is not what it must be",
}
"""What joserfc's codes say about a claim."""

PublicKey = RSAKey | ECKey | OKPKey


class _Registry(JWSRegistry):
    max_header_length = TOKEN_LENGTH  # some issuers include their certificates

    def get_alg(self, name: str) -> JWSAlgModel:
        """Return an accepted algorithm. Unlike the base class, do not warn about EdDSA: issuers still use that name."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


# Issuers may add header parameters that we need not understand. `_head` rejects those that we must understand.
_REGISTRY = _Registry(strict_check_header=False)


class InvalidToken(Exception):  # noqa: N818 - a rejected token is not a program error
    """A rejected token. The text is for the log and contains nothing from the token."""


class UnknownSigningKey(InvalidToken):
    """A token signed with a key that is not in the cached key set. The issuer may have added a key since."""


def public_keys(document: object) -> tuple[PublicKey, ...]:
    """Return the keys of a key set (RFC 7517 §5) that can verify signatures."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: list[PublicKey] = []
    for data in listed[:_MAX_KEYS] if isinstance(listed, list) else ():
        # A symmetric key would let everyone who can read the set sign tokens.
        if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", SecurityWarning)  # raised for keys that are too short
                key = JWKRegistry.import_key(data)
                key.check_use("sig")
                key.check_key_op("verify")
        except (JoseError, SecurityWarning, ValueError, TypeError, KeyError):
            continue
        # Of the octet key pairs, X25519 cannot sign, and Ed448 is not among the accepted algorithms.
        if isinstance(key, RSAKey | ECKey) or (isinstance(key, OKPKey) and key.curve_name == "Ed25519"):
            found.append(key)
    return tuple(found)


def signed_claims(token: str, keys: Sequence[PublicKey]) -> tuple[dict[str, Any], str]:
    """Return the claims of a token that one of the keys has signed, and its `typ` in lowercase (RFC 7515 §4.1.9).

    Raises UnknownSigningKey if no key in the set matches, and InvalidToken for any other fault.
    """
    head = _head(token)
    algorithm, kid = head.get("alg"), head.get("kid")
    if algorithm not in ALGORITHMS:
        raise InvalidToken("its algorithm is not accepted")
    fitting = [key for key in keys if (kid is None or key.kid == kid) and _fits(key, algorithm)]
    if not fitting:
        raise UnknownSigningKey("the issuer's key set has no matching key")
    for key in fitting:
        try:
            claims = jwt.decode(token, key, registry=_REGISTRY).claims
        except (JoseError, ValueError, RecursionError):
            continue
        kind = head.get("typ", "")
        return claims, kind.lower().removeprefix("application/") if isinstance(kind, str) else "?"
    raise InvalidToken("its signature is wrong")


def check_bearer(token: str, keys: Sequence[PublicKey], *, issuer: str, audience: str, now: int) -> dict[str, Any]:
    """Return the claims of a bearer token. Raises InvalidToken and UnknownSigningKey.

    Access tokens (RFC 9068) and ID tokens for `audience` are accepted, because many issuers do not mark which is which.
    """
    claims, kind = signed_claims(token, keys)
    _check(claims, issuer, audience, now)
    # Logout tokens and security events are signed with the same keys (OpenID Connect Back-Channel Logout 1.0 §2.4).
    if kind not in ("", "jwt", "at+jwt") or "events" in claims:
        raise InvalidToken("it is neither an access token nor an ID token")
    # The sender would have to prove possession of a key (RFC 7800), which this API does not support.
    if "cnf" in claims:
        raise InvalidToken("it is bound to a key, and proof of possession is not supported")
    return claims


def check_id_token(
    token: str, keys: Sequence[PublicKey], *, issuer: str, client_id: str, nonce: str, now: int
) -> dict[str, Any]:
    """Return the claims of a sign-in's ID token (OpenID Connect Core §3.1.3.7). Raises as `check_bearer` does."""
    claims, kind = signed_claims(token, keys)
    _check(claims, issuer, client_id, now)
    if kind not in ("", "jwt") or "events" in claims:
        raise InvalidToken("it is neither an access token nor an ID token")
    parties = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", client_id if len(parties) == 1 else None) != client_id:
        raise InvalidToken("it was issued to another client")
    if claims.get("nonce") != nonce:
        raise InvalidToken("its nonce belongs to another sign-in")
    subject = claims.get("sub")
    if not (subject and isinstance(subject, str)):
        raise InvalidToken("it has no subject")
    return claims


def _check(claims: dict[str, Any], issuer: str, audience: str, now: int) -> None:
    registry = JWTClaimsRegistry(
        now,
        LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    try:
        registry.validate(claims)
    except ClaimError as error:
        raise InvalidToken(f"its `{error.claim}` {_CLAIM_FAULTS.get(error.error, 'is wrong')}") from None
    except JoseError as error:
        raise InvalidToken(f"a claim is wrong: {error.error}") from None


def _head(token: str) -> dict[str, Any]:
    if len(token) > TOKEN_LENGTH:
        raise InvalidToken(f"it has more than {TOKEN_LENGTH} characters")
    if not looks_like_jwt(token):
        raise InvalidToken("it does not have three parts")
    try:
        head = json.loads(urlsafe_b64decode(token.partition(".")[0].encode("ascii")))
    except (ValueError, RecursionError):
        raise InvalidToken("its header is not JSON") from None
    if not isinstance(head, dict):
        raise InvalidToken("its header is not a JSON object")
    # RFC 7515 §4.1.11: reject critical extensions that we do not support. `b64` changes what is signed (RFC 7797).
    if "crit" in head or "b64" in head:
        raise InvalidToken("its header requires an extension")
    return head


def _fits(key: PublicKey, algorithm: str) -> bool:
    try:
        _REGISTRY.get_alg(algorithm).check_key(key)
        key.check_alg(algorithm)
    except JoseError:
        return False
    return True
