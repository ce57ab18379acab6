"""Verification of JSON Web Tokens, with keys and tokens made here by the library that issuers use."""

import json
import warnings
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from admin.identity.json_web_tokens import (
    LEEWAY_SECONDS,
    InvalidToken,
    UnknownSigningKey,
    check_bearer,
    check_id_token,
    public_keys,
    signed_claims,
)
from admin.identity.provider import TOKEN_LENGTH, looks_like_jwt
from tests.provider import foreign_key, signed, unsigned

ISSUER, API, CLIENT, NONCE = "https://id.example", "https://keys.example", "sitelatch", "n-0S6"
NOW = 1_800_000_000
KEY = foreign_key("one")
KEYS = public_keys({"keys": [KEY.as_dict(private=False)]})
HEAD = {"alg": "RS256", "kid": "one"}
CLAIMS = {"iss": ISSUER, "aud": API, "exp": NOW + 300, "iat": NOW, "sub": "1"}
ID_CLAIMS = {**CLAIMS, "aud": CLIENT, "nonce": NONCE}


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def bearer(head: dict[str, Any], claims: dict[str, Any], key: RSAKey = KEY) -> dict[str, Any]:
    return check_bearer(signed(head, claims, key), KEYS, issuer=ISSUER, audience=API, now=NOW)


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ({}, {}),
        ({"typ": "JWT"}, {}),
        ({"typ": "at+jwt"}, {"client_id": "x"}),  # RFC 9068
        ({"typ": "application/AT+JWT"}, {}),
        ({"alg": "PS512"}, {}),
        ({"x5t": "a", "unheard-of": "b"}, {}),  # RFC 7515 §4: ignored
        ({"x5c": ["MII" + "A" * 1500]}, {}),
        ({}, {"aud": [API]}),
        ({}, {"aud": ["https://other.example", API]}),
        ({}, {"exp": NOW - LEEWAY_SECONDS + 1}),  # clocks differ
        ({}, {"nbf": NOW + LEEWAY_SECONDS, "iat": NOW + LEEWAY_SECONDS}),
        ({}, {"exp": NOW + 0.5}),
    ],
)
def test_tokens_from_the_issuer_for_this_api_are_accepted(head: dict[str, Any], claims: dict[str, Any]) -> None:
    assert bearer({**HEAD, **head}, {**CLAIMS, **claims})["sub"] == "1"


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ({}, {"iss": "https://evil.example"}),
        ({}, {"iss": f"{ISSUER}/"}),
        ({}, {"iss": [ISSUER]}),
        ({}, {"iss": None}),
        ({}, {"aud": "https://other.example"}),
        ({}, {"aud": f"{API}/"}),
        ({}, {"aud": []}),
        ({}, {"aud": None}),
        ({}, {"aud": {API: 1}}),
        ({}, {"aud": API + " other"}),
        ({}, {"exp": NOW - LEEWAY_SECONDS}),
        ({}, {"exp": str(NOW + 300)}),
        ({}, {"exp": True}),
        ({}, {"exp": None}),
        ({}, {"nbf": NOW + LEEWAY_SECONDS + 1}),
        ({}, {"nbf": "soon"}),
        ({}, {"iat": NOW + LEEWAY_SECONDS + 1}),
        ({"typ": "logout+jwt"}, {}),
        ({"typ": "secevent+jwt"}, {}),
        ({"typ": "dpop+jwt"}, {}),
        ({"typ": "oauth-authz-req+jwt"}, {}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({}, {"cnf": {"jkt": "x"}}),
    ],
)
def test_foreign_expired_and_unsuitable_tokens_are_rejected(head: dict[str, Any], claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        bearer({**HEAD, **head}, {**CLAIMS, **claims})


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (CLAIMS | {"aud": "https://other.example"}, "its `aud` is not what it must be"),
        (CLAIMS | {"iss": "https://evil.example"}, "its `iss` is not what it must be"),
        (CLAIMS | {"exp": NOW - 300}, "its `exp` has passed, by the clock of this machine"),
        (CLAIMS | {"iat": NOW + 300}, "its `iat` is not what it must be"),
        (without(CLAIMS, "aud"), "its `aud` is missing"),
    ],
)
def test_the_reason_names_the_claim_that_is_wrong(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken, match=f"^{reason}$"):
        bearer(HEAD, claims)


@pytest.mark.parametrize("name", ["iss", "aud", "exp"])
def test_a_token_without_a_required_claim_is_rejected(name: str) -> None:
    with pytest.raises(InvalidToken):
        bearer(HEAD, without(CLAIMS, name))


def test_the_jwt_header_cannot_choose_the_key_or_algorithm() -> None:
    """The issuer's key set determines both, not the token (RFC 8725 §3.1)."""
    evil = foreign_key("evil")
    good = signed(HEAD, CLAIMS, KEY)
    body, signature = good.split(".")[1:]
    public = KEYS[0].as_pem(private=False)
    assert check_bearer(good, KEYS, issuer=ISSUER, audience=API, now=NOW)
    for token in (
        f"{unsigned({'alg': 'none'})}.{body}.",
        f"{unsigned({'alg': 'none', 'kid': 'one'})}.{body}.{signature}",
        f"{unsigned({'alg': ['RS256']})}.{body}.{signature}",
        f"{unsigned({'kid': 'one'})}.{body}.{signature}",
        f"{unsigned({**HEAD, 'crit': ['exp'], 'exp': 1})}.{body}.{signature}",
        f"{unsigned({**HEAD, 'b64': False})}.{body}.{signature}",
        f"{unsigned({**HEAD, 'kid': ['one']})}.{body}.{signature}",
        f"{unsigned({**HEAD, 'typ': ['JWT']})}.{body}.{signature}",
        f"[].{body}.{signature}",
        f"!.{body}.{signature}",
        f"é.{body}.{signature}",
        signed({**HEAD, "alg": "HS256"}, CLAIMS, public),
        signed({**HEAD, "alg": "HS256"}, CLAIMS, json.dumps(KEYS[0].as_dict(private=False)).encode()),
        signed({**HEAD, "alg": "HS512"}, CLAIMS, b""),
        signed(HEAD, CLAIMS, evil),
        signed({**HEAD, "jwk": evil.as_dict(private=False)}, CLAIMS, evil),
        signed({**HEAD, "jku": "https://evil.example/jwks"}, CLAIMS, evil),
        good[:-4],
        good + "x",
        f"{good}.x",
        "",
    ):
        with pytest.raises(InvalidToken):
            check_bearer(token, KEYS, issuer=ISSUER, audience=API, now=NOW)


def test_an_unknown_key_is_distinguished_from_a_wrong_signature() -> None:
    with pytest.raises(UnknownSigningKey):
        bearer({**HEAD, "kid": "two"}, CLAIMS)
    with pytest.raises(UnknownSigningKey):  # no key in the set has this algorithm
        check_bearer(
            signed({"alg": "ES256"}, CLAIMS, ECKey.generate_key("P-256")), KEYS, issuer=ISSUER, audience=API, now=NOW
        )
    with pytest.raises(InvalidToken) as caught:
        bearer(HEAD, CLAIMS, foreign_key("one"))
    assert not isinstance(caught.value, UnknownSigningKey)


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_edwards_curve_signatures_are_accepted_under_both_names(
    algorithm: str, recwarn: pytest.WarningsRecorder
) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    keys = public_keys({"keys": [*(each.as_dict(private=False) for each in KEYS), key.as_dict(private=False)]})
    head = {"alg": algorithm, "kid": "ed"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good, evil = signed(head, CLAIMS, key), signed(head, CLAIMS, OKPKey.generate_key("Ed25519"))
    assert check_bearer(good, keys, issuer=ISSUER, audience=API, now=NOW)["sub"] == "1"
    body, signature = good.split(".")[1:]
    for token in (
        evil,
        f"{unsigned({**head, 'kid': 'one'})}.{body}.{signature}",
        f"{unsigned({**head, 'alg': 'Ed448'})}.{body}.{signature}",
        f"{unsigned({**head, 'alg': 'RS256'})}.{body}.{signature}",
        signed({**head, "alg": "HS256"}, CLAIMS, key.as_pem(private=False)),
        good[:-4],
    ):
        with pytest.raises(InvalidToken):
            check_bearer(token, keys, issuer=ISSUER, audience=API, now=NOW)
    assert not recwarn.list


def test_every_matching_key_is_tried_for_a_token_without_kid() -> None:
    keys = public_keys({"keys": [foreign_key("a").as_dict(private=False), KEY.as_dict(private=False)]})
    token = signed({"alg": "RS256"}, CLAIMS, KEY)
    assert check_bearer(token, keys, issuer=ISSUER, audience=API, now=NOW)


def test_only_signature_keys_are_taken_from_a_key_set() -> None:
    public = KEY.as_dict(private=False)
    elliptic = ECKey.generate_key("P-256", {"kid": "e"}).as_dict(private=False)
    useless: list[Any] = [
        OctKey.generate_key(256).as_dict(),
        {**public, "use": "enc"},
        {**public, "key_ops": ["encrypt"]},
        {**public, "n": "!"},
        {**public, "n": 3},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-0", "x": "a", "y": "b"},
        {"kty": "RSA", "n": "0" * 100 + "1", "e": "AQAB"},  # too short
        {"kty": "AKP"},
        "key",
        None,
    ]
    edwards = OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(private=False)
    useless += [
        OKPKey.generate_key("X25519").as_dict(private=False),
        OKPKey.generate_key("Ed448").as_dict(private=False),
        {**edwards, "x": edwards["x"][:-2]},
        {**edwards, "crv": "P-256"},
        {**edwards, "kty": "EC"},
    ]
    assert [key.kid for key in public_keys({"keys": [*useless, public, elliptic, edwards]})] == ["one", "e", "ed"]
    empties: tuple[Any, ...] = (None, [], {}, {"keys": None}, {"keys": {}}, "keys")
    assert [public_keys(empty) for empty in empties] == [()] * len(empties)
    only_rs512 = public_keys({"keys": [{**public, "alg": "RS512"}]})
    with pytest.raises(InvalidToken):
        check_bearer(signed(HEAD, CLAIMS, KEY), only_rs512, issuer=ISSUER, audience=API, now=NOW)


def id_token(claims: dict[str, Any], head: dict[str, Any] = HEAD) -> dict[str, Any]:
    token = signed(head, claims, KEY)
    return check_id_token(token, KEYS, issuer=ISSUER, client_id=CLIENT, nonce=NONCE, now=NOW)


@pytest.mark.parametrize("claims", [{}, {"azp": CLIENT}, {"aud": [CLIENT]}, {"aud": ["x", CLIENT], "azp": CLIENT}])
def test_the_id_token_of_this_sign_in_is_accepted(claims: dict[str, Any]) -> None:
    assert id_token({**ID_CLAIMS, **claims})["sub"] == "1"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ""},
        {"aud": API},
        {"aud": ["x", CLIENT]},
        {"aud": ["x", CLIENT], "azp": "x"},
        {"azp": "x"},
        {"sub": None},
        {"sub": 1},
        {"sub": ""},
        {"iss": "https://evil.example"},
        {"exp": NOW - 60},
        {"events": {}},
    ],
)
def test_an_id_token_of_another_sign_in_is_rejected(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        id_token({**ID_CLAIMS, **claims})


def test_an_access_token_is_not_accepted_as_an_id_token() -> None:
    with pytest.raises(InvalidToken):
        id_token(ID_CLAIMS, {**HEAD, "typ": "at+jwt"})


def test_a_token_that_is_too_long_is_rejected_as_such() -> None:
    with pytest.raises(InvalidToken, match="more than 16384 characters"):
        signed_claims(f"a.{'b' * TOKEN_LENGTH}.c", ())


def test_text_without_three_parts_does_not_look_like_a_jwt() -> None:
    assert looks_like_jwt("a.b.c")
    for text in ("", "sla_abc", "a.b", "a.b.c.d", "a.b.c.d.e", "a.b." + "c" * TOKEN_LENGTH):
        assert not looks_like_jwt(text)
