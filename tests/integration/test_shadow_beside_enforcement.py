"""A route in shadow mode with the upstream of an enforced route: no request reaches the other's paths through it."""

from typing import Any

import pytest

from tests.integration.test_shadow_mode import Setup, get, setup

__all__ = ["setup"]

STEERING = [
    ("GET", "/shadow/x?rest_route=/api/sites/blog/x"),
    ("GET", "/shadow/x?:method=/api/sites/blog/x"),
    ("GET", "/shadow/x%26q=api/sites/blog/x"),
    ("GET", "/shadow/x%3fq=api/sites/blog/x"),
    ("GET", "/shadow/x%2526q=api/sites/blog/x"),
    ("GET", "/shadow/x;rest_route=/api"),
    ("GET", "/shadow/x?a%26rest_route=/api/sites/blog"),
    ("GET", "/shadow/x?a=b#rest_route=/api/sites/blog"),
    ("GET", "/shadow/x?a=b#&rest_route=/api/sites/blog"),
    ("GET", "/shadow/x?a;r%65st_route=/api/sites/blog"),
    ("GET", "/shadow/x?\xe9&rest_route=/api"),
    ("GET", "/shadow/x?\xe9=&x:action=/api"),
    ("GET", "/shadow/x?_charset_=utf-7&+AHI-est_route=/api"),
    ("GET", "/shadow/x?\xe9&re\u00ad\u00a0st_route=/api&rest\xa0route"),
    ("GET", "/shadow/x?" + "&".join(f"p{n}=" for n in range(1200)) + "&rest_route=/api"),
    ("PURGE", "/shadow/x?rest_route=/api/sites/blog/x"),
    ("PURGE", "/shadow/x%26q=api/sites/blog/x"),
    ("POST", "/shadow/x?_method=PURGE&rest_route=/api/sites/blog/x"),
]
SECOND_RESOURCES = [
    ("PUT", "X-Amz-Copy-Source: /blog/x"),
    ("PURGE", "X-Amz-Copy-Source: /blog/x"),
    ("MOVE", "Destination: blog"),
    ("move", "Destination: blog"),
    ("POST", "X-HTTP-Method-Override: COPY", "Destination: blog"),
    ("POST", "Content-Type: text/plain; charset=utf-7"),
]


def request(method: str, target: str, *lines: str, key: str | None = None) -> bytes:
    head = get(target, "Content-Length: 0", *lines, key=key).decode()
    return head.replace("GET", method, 1).encode("latin-1")


def routes(setup: Setup, **settings: Any) -> list[Any]:
    """Return an enforced route and one in shadow mode, with the same upstream."""
    return [
        setup.route("api", mode="enforce", path="/api", sites=["path:/api/sites/{site}/**"]),
        setup.route("shadow", **{"path": "/shadow", "sites": ["path:/shadow/{site}/**"], **settings}),
    ]


async def test_no_parameter_leads_to_the_paths_of_an_enforced_route(setup: Setup) -> None:
    async with setup.door(*routes(setup)) as door:
        for method, target in STEERING:
            assert await door.send(request(method, target)) in {
                "ambiguous_request",
                "bad_request",
                "method_not_allowed",
            }, (method, target)
            two_keys = request(method, target, "X-API-Key: another", key="one")
            assert await door.send(two_keys) != "passed", (method, target)
        assert not door.verdicts
    assert setup.upstream.requests == []


async def test_no_header_names_a_second_resource_of_an_enforced_route(setup: Setup) -> None:
    async with setup.door(*routes(setup)) as door:
        for method, *lines in SECOND_RESOURCES:
            assert await door.send(request(method, "/shadow/x?a=b", *lines)) != "passed", (method, lines)
    assert setup.upstream.requests == []


async def test_form_bodies_are_refused_only_if_the_route_refuses_all_of_them(setup: Setup) -> None:
    form = request("POST", "/shadow/x", "Content-Type: application/x-www-form-urlencoded").replace(
        b"Content-Length: 0\r\n", b"Content-Length: 3\r\n"
    )
    async with setup.door(*routes(setup, form_body="refuse")) as door:
        assert await door.send(form + b"a=b") == "form_body_not_read"
    async with setup.door(*routes(setup)) as door:
        assert await door.send(form + b"a=b") == "passed"


async def test_other_requests_are_forwarded_beside_an_enforced_route(setup: Setup) -> None:
    async with setup.door(*routes(setup)) as door:
        for method, target, *lines in (
            ("GET", "/shadow/x"),
            ("PURGE", "/shadow/x?a=b"),
            ("GET", "/shadow/x?\xe9=1&b=\xff"),
            ("GET", "/shadow/x?a=b#c"),
            ("GET", "/shadow/x%2Fy?site=a&site=b"),
            ("POST", "/shadow/x?_method=DELETE"),
            ("GET", "/shadow/x", "Destination: BER"),
        ):
            assert await door.send(request(method, target, *lines)) == "passed", (method, target)


async def test_steering_parameters_are_forwarded_if_no_enforced_route_has_the_upstream(setup: Setup) -> None:
    enforced, shadowed = routes(setup)
    elsewhere = enforced.model_copy(update={"upstream": "http://127.0.0.1:1"})
    async with setup.door(elsewhere, shadowed) as door:
        for method, target in STEERING:
            if "\xe9" not in target:
                assert await door.send(request(method, target)) == "passed", (method, target)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "trace", "PRI"])
async def test_a_method_whose_response_repeats_the_key_is_never_forwarded(setup: Setup, method: str) -> None:
    async with setup.door(setup.route()) as door:
        assert await door.send(request(method, "/sites/shop/x", key="one")) != "passed"
        assert await door.send(request(method, "/sites/shop/x", "X-API-Key: another", key="one")) != "passed"
    assert setup.upstream.requests == []
