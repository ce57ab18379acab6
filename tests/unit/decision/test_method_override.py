"""Headers and parameters by which frameworks take another method."""

import pytest

from proxy.decision.method_override import (
    OVERRIDE_HEADERS,
    OVERRIDE_PARAMETERS,
    TOO_MANY_METHODS,
    overrides_method,
    overriding_methods,
)
from proxy.http.headers import Fields

HOST = (b"Host", b"api.example.com")


@pytest.mark.parametrize("name", [row.name.encode() for row in OVERRIDE_HEADERS])
def test_each_override_header_is_recognized_in_every_spelling(name: bytes) -> None:
    for spelling in (name, name.upper(), name.title(), name.replace(b"-", b"_")):
        assert overriding_methods([HOST, (spelling, b"delete")]) == {b"DELETE"}
        assert overrides_method(spelling)


@pytest.mark.parametrize(
    ("fields", "methods"),
    [
        ([], set()),
        ([(b"Accept", b"DELETE"), (b"Access-Control-Request-Method", b"DELETE"), (b"X-Method", b"PUT")], set()),
        ([(b"X-HTTP-Method-Override", b"DELETE, GET")], {b"DELETE", b"GET"}),
        ([(b"X-HTTP-Method-Override", b" ,delete,, \tPut ,")], {b"DELETE", b"PUT"}),
        ([(b"X-HTTP-Method-Override", b"")], set()),
        ([(b"X-HTTP-Method", b"MERGE"), (b"x-method-override", b"patch")], {b"MERGE", b"PATCH"}),
        ([(b"X-HTTP-Method-Override", b"GET"), (b"X-HTTP-Method-Override", b"DELETE")], {b"GET", b"DELETE"}),
    ],
)
def test_every_method_in_every_override_header_is_found(fields: Fields, methods: set[bytes]) -> None:
    assert overriding_methods([HOST, *fields]) == methods


def test_no_route_allows_an_overlong_list_of_methods() -> None:
    for fields in ([(b"X-HTTP-Method-Override", b"GET," * 100)], [(b"X-HTTP-Method-Override", b"GET,GET")] * 50):
        assert overriding_methods(fields) == {TOO_MANY_METHODS}


def test_a_parameter_named_method_is_not_an_override() -> None:
    names = {row.name for row in OVERRIDE_PARAMETERS}
    assert "_method" in names
    assert "x-http-method-override" in names
    assert "method" not in names
