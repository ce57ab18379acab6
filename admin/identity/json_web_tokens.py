"""JSON Web Tokens of an issuer: whether one is genuine, in time, and for us. No I/O.

Which algorithm and key count is said by us and the issuer's key set, never by the token: `none`, and HMACs made with a
public key, are no signatures here (RFC 8725 §3.1, §3.2).
"""

import json
import warnings
from collections.abc import Sequence
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519"),  # two names of one (RFC 9864 §2.2)
)
LEEWAY_SECONDS: Final = 30
TOKEN_LENGTH: Final = 16_384
_MAX_KEYS = 64

PublicKey = RSAKey | ECKey | OKPKey


class _Registry(JWSRegistry):
    max_header_length = TOKEN_LENGTH  # some issuers send their certificates along

    def get_alg(self, name: str) -> JWSAlgModel:
        """Return one of our algorithms, without the warning that EdDSA has a newer name: issuers use the older one."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


# Whoever signs may add parameters that we need not know; those that we must know are refused in `_head`.
_REGISTRY = _Registry(strict_check_header=False)


class InvalidToken(Exception):  # noqa: N818 - it says what it is
    """A token that counts for nothing. The text is for the log and holds nothing of the token."""


class UnknownSigningKey(InvalidToken):
    """A token that is signed with a key that is not in the set: perhaps with a new one."""


def public_keys(document: object) -> tuple[PublicKey, ...]:
    """Return the keys of a key set (RFC 7517 §5) that signatures can be checked with, without all others."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: list[PublicKey] = []
    for data in listed[:_MAX_KEYS] if isinstance(listed, list) else ():
        # Symmetric ones must not be there, and would let anybody sign who can read the set.
        if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", SecurityWarning)  # keys that are too short
                key = JWKRegistry.import_key(data)
                key.check_use("sig")
                key.check_key_op("verify")
        except (JoseError, SecurityWarning, ValueError, TypeError, KeyError):
            continue
        # Of the octet key pairs some are not for signatures (X25519), some nobody signs with (Ed448).
        if isinstance(key, RSAKey | ECKey) or (isinstance(key, OKPKey) and key.curve_name == "Ed25519"):
            found.append(key)
    return tuple(found)


def looks_like_jwt(token: str) -> bool:
    """Say whether a bearer token may be a signed JWT: three parts."""
    return token.count(".") == 2 and len(token) <= TOKEN_LENGTH


def signed_claims(token: str, keys: Sequence[PublicKey]) -> tuple[dict[str, Any], str]:
    """Return the claims of a token that one of the keys has signed, and its type in lower case (RFC 7515 §4.1.9).

    Raises InvalidToken, and UnknownSigningKey where no key of the set is meant.
    """
    head = _head(token)
    algorithm, kid = head.get("alg"), head.get("kid")
    if algorithm not in ALGORITHMS:
        raise InvalidToken("its algorithm is not one of ours")
    fitting = [key for key in keys if (kid is None or key.kid == kid) and _fits(key, algorithm)]
    if not fitting:
        raise UnknownSigningKey("no key of the issuer's set fits it")
    for key in fitting:
        try:
            claims = jwt.decode(token, key, registry=_REGISTRY).claims
        except (JoseError, ValueError, RecursionError):
            continue
        kind = head.get("typ", "")
        return claims, kind.lower().removeprefix("application/") if isinstance(kind, str) else "?"
    raise InvalidToken("its signature is wrong")


def check_bearer(token: str, keys: Sequence[PublicKey], *, issuer: str, audience: str, now: int) -> dict[str, Any]:
    """Return the claims of a token for the API. Raises InvalidToken and UnknownSigningKey.

    Both access tokens (RFC 9068) and ID tokens count, if they are meant for `audience`: many issuers name neither.
    """
    claims, kind = signed_claims(token, keys)
    _check(claims, issuer, audience, now)
    # Logout tokens and security events are signed with the same keys (OpenID Connect Back-Channel Logout 1.0 §2.4).
    if kind not in ("", "jwt", "at+jwt") or "events" in claims:
        raise InvalidToken("it is a token of another kind")
    # It is bound to a key that whoever sends it must prove to have (RFC 7800), which nobody can here.
    if "cnf" in claims:
        raise InvalidToken("it is bound to a key, and comes without a proof")
    return claims


def check_id_token(
    token: str, keys: Sequence[PublicKey], *, issuer: str, client_id: str, nonce: str, now: int
) -> dict[str, Any]:
    """Return the claims of the ID token that ends a sign-in (OpenID Connect Core §3.1.3.7). Raises likewise."""
    claims, kind = signed_claims(token, keys)
    _check(claims, issuer, client_id, now)
    if kind not in ("", "jwt") or "events" in claims:
        raise InvalidToken("it is a token of another kind")
    parties = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", client_id if len(parties) == 1 else None) != client_id:
        raise InvalidToken("it was made for another party")
    if claims.get("nonce") != nonce:
        raise InvalidToken("its nonce is not this sign-in's")
    if not isinstance(claims.get("sub"), str):
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
    except JoseError as error:
        raise InvalidToken(f"a claim is wrong: {error.error}") from None


def _head(token: str) -> dict[str, Any]:
    if not looks_like_jwt(token):
        raise InvalidToken("it is not three parts")
    try:
        head = json.loads(urlsafe_b64decode(token.partition(".")[0].encode("ascii")))
    except (ValueError, RecursionError):
        raise InvalidToken("its head is not JSON") from None
    if not isinstance(head, dict):
        raise InvalidToken("its head is not an object")
    # RFC 7515 §4.1.11: what must be understood and is not is an error; `b64` changes what is signed (RFC 7797).
    if "crit" in head or "b64" in head:
        raise InvalidToken("its head asks for an extension")
    return head


def _fits(key: PublicKey, algorithm: str) -> bool:
    try:
        _REGISTRY.get_alg(algorithm).check_key(key)
        key.check_alg(algorithm)
    except JoseError:
        return False
    return True
