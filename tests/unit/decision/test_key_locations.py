"""Keys are found in every key location, and removed from it without changing another byte."""

import base64

import pytest

from proxy.decision.key_reader import KeyReader
from proxy.http.headers import Fields, Head
from proxy.refusals import Refused

ALL = KeyReader(["header:X-API-Key", "bearer", "basic", "cookie:api_key", "query:api_key"])


def remove_key(
    places: KeyReader = ALL, target: bytes = b"/x", fields: Fields | None = None
) -> tuple[bytes | None, bytes, Fields]:
    found = places.read(Head(b"GET", target, [(b"Host", b"h"), *(fields or [])]))
    return found[:3]


@pytest.mark.parametrize(
    "field",
    [
        (b"X-API-Key", b"k"),
        (b"x-api-key", b"k"),
        (b"X_API_KEY", b"k"),
        (b"X-Api_Key", b"k"),
        (b"Authorization", b"Bearer k"),
        (b"authorization", b"bearer   k"),
        (b"Authorization", b"Basic " + base64.b64encode(b"k:")),
        (b"Authorization", b"Basic " + base64.b64encode(b"k:secret")),
        (b"Cookie", b"api_key=k"),
        (b"Cookie", b'api_key="k"'),
        (b"Cookie", b"API_KEY=k"),
        (b"Cookie", b"api%5Fkey=%6b"),
    ],
)
def test_a_key_is_found_in_every_location_and_removed(field: tuple[bytes, bytes]) -> None:
    assert remove_key(fields=[field]) == (b"k", b"/x", [(b"Host", b"h")])


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (b"/x?api_key=k", b"/x"),
        (b"/x?api_key=k&a=%2F", b"/x?a=%2F"),
        (b"/x?a=%2f&api_key=k", b"/x?a=%2f"),
        (b"/x?a=1&api_key=k&&b=+", b"/x?a=1&&b=+"),
        (b"/x?api%5Fkey=k", b"/x"),
        (b"/x?api%255Fkey=k", b"/x"),
        (b"/x?API_KEY=k&a", b"/x?a"),
        (b"/x?api.key=k", b"/x"),
        (b"/x?api_key[]=k", b"/x"),
        (b"/x?+api_key=%6b", b"/x"),
        (b"/x?api_key=k&api_key=k", b"/x"),
    ],
)
def test_a_key_in_the_query_is_removed_without_changing_other_bytes(target: bytes, left: bytes) -> None:
    assert remove_key(target=target) == (b"k", left, [(b"Host", b"h")])


def test_other_cookies_are_kept() -> None:
    key, _, fields = remove_key(fields=[(b"Cookie", b"a=1; api_key=k; b=2")])
    assert key == b"k"
    assert fields[1:] == [(b"Cookie", b"a=1; b=2")]
    assert remove_key(fields=[(b"Cookie", b"a=1;  b=2")])[2][1:] == [(b"Cookie", b"a=1;  b=2")]


@pytest.mark.parametrize(
    "field", [(b"Authorization", b"Digest username=x"), (b"Authorization", b"AWS4 a"), (b"A", b"")]
)
def test_fields_that_are_not_key_locations_are_kept(field: tuple[bytes, bytes]) -> None:
    assert remove_key(fields=[field]) == (None, b"/x", [(b"Host", b"h"), field])


def test_a_key_without_an_authorization_scheme_is_removed() -> None:
    assert remove_key(fields=[(b"Authorization", b"slk_abc")]) == (b"slk_abc", b"/x", [(b"Host", b"h")])


def test_the_same_key_in_two_locations_is_one_key() -> None:
    fields = [(b"X-API-Key", b"k"), (b"Authorization", b"Bearer k")]
    assert remove_key(target=b"/x?api_key=k", fields=fields) == (b"k", b"/x", [(b"Host", b"h")])


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/x", [(b"X-API-Key", b"k"), (b"X-API-Key", b"l")]),
        (b"/x", [(b"X-API-Key", b"k"), (b"X_Api_Key", b"l")]),
        (b"/x", [(b"X-API-Key", b"k"), (b"Authorization", b"Bearer l")]),
        (b"/x", [(b"Cookie", b"api_key=k; api_key=l")]),
        (b"/x?api_key=k&api%5fkey=l", []),
        (b"/x?api_key=k", [(b"X-API-Key", b"l")]),
    ],
)
def test_two_keys_are_ambiguous(target: bytes, fields: Fields) -> None:
    with pytest.raises(Refused) as refused:
        remove_key(target=target, fields=fields)
    assert refused.value.refusal.code == "ambiguous_key"


def test_a_key_in_the_query_is_refused_if_servers_disagree_on_where_it_ends() -> None:
    for target in (b"/x?api_key=k;b=1", b"/x?a=1;api_key=k"):
        with pytest.raises(Refused) as refused:
            remove_key(target=target)
        assert refused.value.refusal.code == "ambiguous_request"


def test_only_configured_locations_are_read() -> None:
    places = KeyReader(["header:X-API-Key"])
    fields = [(b"Authorization", b"Bearer of another"), (b"Cookie", b"api_key=k")]
    assert remove_key(places, b"/x?api_key=k", fields) == (None, b"/x?api_key=k", [(b"Host", b"h"), *fields])


@pytest.mark.parametrize("place", ["", "headers:X", "header:", "header:X Y", "Bearer", "query", "cookie:a=b", "body:x"])
def test_an_invalid_key_location_is_an_error_that_lists_the_valid_ones(place: str) -> None:
    with pytest.raises(ValueError, match="header:NAME"):
        KeyReader([place])


@pytest.mark.parametrize(
    ("locations", "choices"),
    [
        (["bearer", "header:authorization"], '"header:authorization" is the whole header: choose it, or "bearer"'),
        (["header:Authorization", "basic", "bearer"], 'choose it, or "basic" and "bearer"'),
    ],
)
def test_a_whole_header_and_a_part_of_it_cannot_both_be_key_locations(locations: list[str], choices: str) -> None:
    with pytest.raises(ValueError, match=f"{choices}$"):
        KeyReader(locations)


def test_the_same_header_can_be_listed_in_two_spellings() -> None:
    places = KeyReader(["header:X-API-Key", "header:x_api_key"])
    assert remove_key(places, fields=[(b"X-API-KEY", b"k")]) == (b"k", b"/x", [(b"Host", b"h")])


@pytest.mark.parametrize(
    ("target", "fields"),
    [(b"/x?api_key=%s", []), (b"/x", [(b"Cookie", b"a=1; api_key=%s")])],
)
def test_a_long_key_in_a_query_or_cookie_must_not_be_encoded(target: bytes, fields: Fields) -> None:
    def found(value: bytes) -> bytes | None:
        return remove_key(
            target=target.replace(b"%s", value), fields=[(name, each.replace(b"%s", value)) for name, each in fields]
        )[0]

    assert found(b"k" * 1100) == b"k" * 1100
    assert found(b"k%6b") == b"kk"
    with pytest.raises(Refused) as refused:
        found(b"k" * 1100 + b"%6b")
    assert "contains `%`" in refused.value.refusal.detail
