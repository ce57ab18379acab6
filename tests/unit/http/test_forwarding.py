"""The origin of a request: trusted proxies, the client's address, and the lines that the upstream gets."""

import pytest

from proxy.http.forwarding import UNKNOWN, client_address, forwarding_lines
from proxy.http.headers import Fields

HOST = (b"Host", b"api.example.com")


def forward(fields: Fields, *, trusted: bool) -> tuple[Fields, bytes, bytes]:
    return forwarding_lines(fields, peer=b"10.0.0.9", scheme=b"http", host=b"h", request_id=b"abc-1", trusted=trusted)


def test_the_upstream_gets_the_origin_of_a_request() -> None:
    assert forward([HOST], trusted=False) == (
        [HOST],
        b"X-Request-Id: abc-1\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n",
        b"abc-1",
    )


def test_forwarding_headers_from_a_trusted_proxy_are_extended() -> None:
    fields = [
        (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2"),
        (b"x-forwarded-proto", b"https"),
        (b"X-Request-Id", b"from-the-edge.1"),
    ]
    assert forward(fields, trusted=True) == (
        [fields[1]],
        b"X-Request-Id: from-the-edge.1\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.9\r\nX-Forwarded-Host: h\r\n",
        b"from-the-edge.1",
    )


def test_a_malformed_request_id_is_replaced() -> None:
    assert forward([(b"X-Request-Id", b'a"b')], trusted=True)[2] == b"abc-1"


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (b"", "10.0.0.9"),
        (b"6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        (b"10.0.0.1", "10.0.0.1"),
        (b"1.1.1.1:5000, 10.0.0.1:80", "1.1.1.1"),
        (b"[::1]:80", "::1"),
        (b"1.1.1.1, unix, 10.0.0.1", UNKNOWN),  # entries to the left of one that is not an address are not used
        (b'1.1.1.1, "<script>', UNKNOWN),
        (b"203.0.113.9, unknown", UNKNOWN),
        (b"_hidden", UNKNOWN),
        (b"fe80::1%eth0", UNKNOWN),
        (b"010.0.0.5", UNKNOWN),
        (b" ", UNKNOWN),
    ],
)
def test_the_client_address_is_the_nearest_untrusted_one(chain: bytes, expected: str) -> None:
    fields = [(b"X-Forwarded-For", chain)] if chain else []
    assert client_address(fields, "10.0.0.9", lambda address: address.startswith("10.")) == expected


def test_only_the_nearest_16_hops_are_read() -> None:
    chain = b"1.1.1.1," + b",".join([b"10.0.0.1"] * 15)
    assert client_address([(b"X-Forwarded-For", chain)], "10.0.0.9", lambda _: _.startswith("10.")) == "1.1.1.1"
    chain = b"x," * 10_000 + b",".join([b"10.0.0.1"] * 16)
    assert client_address([(b"X-Forwarded-For", chain)], "10.0.0.9", lambda _: _.startswith("10.")) == UNKNOWN
