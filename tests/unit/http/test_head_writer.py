"""The bytes of every message head."""

import json

from proxy.http.head_writer import (
    CLOSE,
    KEEP_ALIVE,
    interim_head,
    preflight_response,
    refusal_response,
    request_head,
    response_head,
    switching_head,
    with_connection_close,
)
from proxy.refusals import INVALID_KEY, NO_ROUTE, TOO_MANY_EXCHANGES

HOST = (b"Host", b"api.example.com")
LENGTH = (b"content-length", b"2")


def test_a_request_head_contains_the_received_fields_followed_by_the_added_lines() -> None:
    head = request_head(b"GET", b"/a?b=c", [HOST, (b"x-ODD", b"")], b"X: y\r\n")
    assert head == b"GET /a?b=c HTTP/1.1\r\nHost: api.example.com\r\nx-ODD: \r\nX: y\r\n\r\n"


def test_a_request_head_ends_with_its_framing_and_its_upgrade() -> None:
    assert request_head(b"POST", b"/", [], b"X: y\r\n", chunked=True) == (
        b"POST / HTTP/1.1\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert request_head(b"GET", b"/", [], b"", websocket=True) == (
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


def test_connection_close_can_be_added_to_a_rendered_head() -> None:
    head = with_connection_close(request_head(b"GET", b"/", [HOST], b""))
    assert head == b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"


def test_a_response_head_contains_framing_and_connection_before_the_added_lines() -> None:
    assert response_head(200, b"OK", [LENGTH], b"Vary: Origin\r\n", connection=KEEP_ALIVE) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: keep-alive\r\nVary: Origin\r\n\r\n"
    )
    assert response_head(200, b"", [], chunked=True, connection=CLOSE) == (
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )


def test_an_interim_response_has_no_length() -> None:
    assert interim_head(100, b"Continue", []) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert interim_head(103, b"Early Hints", [LENGTH, (b"Link", b"<a>")]) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    )


def test_a_101_response_has_one_connection_field_and_one_upgrade_field() -> None:
    fields = [(b"connection", b"keep-alive, upgrade"), (b"UPGRADE", b"WebSocket"), (b"Sec-WebSocket-Accept", b"x")]
    assert switching_head(b"Switching Protocols", fields) == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n"
    )


def test_a_preflight_response_has_no_body() -> None:
    assert preflight_response(b"id", b"Vary: Origin\r\n", close=False) == (
        b"HTTP/1.1 204 No Content\r\nX-Request-Id: id\r\nVary: Origin\r\n\r\n"
    )
    assert preflight_response(b"id", b"Vary: Origin\r\n", close=True).endswith(b"\r\nConnection: close\r\n\r\n")


def test_a_refusal_is_a_problem_details_response_with_its_request_id() -> None:
    response = refusal_response(INVALID_KEY, b"id-1", b"Vary: Origin\r\n", close=True)
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 401 Unauthorized",
        b"Content-Type: application/problem+json",
        b"Cache-Control: no-store",
        b"Content-Length: %d" % len(body),
        b"X-Request-Id: id-1",
        b"Connection: close",
        b"Vary: Origin",
    ]
    assert json.loads(body)["code"] == "invalid_key"
    assert json.loads(body)["request_id"] == "id-1"


def test_a_refusal_says_when_to_retry() -> None:
    assert b"\r\nRetry-After: 1\r\n" in refusal_response(TOO_MANY_EXCHANGES, b"id", close=False)


def test_a_refusal_of_a_head_request_has_a_length_and_no_body() -> None:
    whole = refusal_response(NO_ROUTE, b"id", close=False)
    head = refusal_response(NO_ROUTE, b"id", close=False, head_only=True)
    assert head == whole[: len(head)]
    assert head.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: " in head
