"""The details of `bad_request` refusals of heads: each names the fault, and says what to send instead."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.http.headers import Head
from proxy.http.hop_by_hop import clean_request
from proxy.http.malformed_requests import why_malformed
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.refusals import BAD_REQUEST, Refusal, Refused
from proxy.settings import LimitSettings

METHODS = frozenset({b"GET", b"POST", b"PROPFIND"})
SPELLINGS = RequestSpellings("drop", ())
HOST = b"Host: h\r\n"


def refusal_of(data: bytes, piece: int = 0) -> Refusal | None:
    """Return the refusal of a request whose bytes arrive in pieces of this size, or all at once."""
    reader = RequestReader(LimitSettings(), METHODS)
    size = piece or len(data) or 1
    raw: Head | None = None
    try:
        for start in range(0, len(data), size):
            raw, _ = reader.read(data[start : start + size])
            if raw is not None:
                break
        if raw is not None:
            clean_request(raw, spellings=SPELLINGS, trusted=False, judged=frozenset(), trailer_bytes=1000)
    except Refused as refused:
        return refused.refusal
    return None


def get(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


REQUESTS = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "The connection begins with a TLS handshake"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "The connection begins with the PROXY protocol"),
    (b"PROXY UNKNOWN\r\n", "The connection begins with the PROXY protocol"),
    (b"\x00", "The request line does not begin with a method."),
    (b" GET / HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"G(T / HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"{}\r\n\r\n", "The request line does not begin with a method."),
    (b"GET\t/ HTTP/1.1\r\n", "The request line does not begin with a method."),
    (b"GET /\r\n\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET /a b HTTP/1.1\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET / HTTP/1.1 \r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET data HTTP/1.1\r\n", "The request target does not begin with `/`"),
    (b"GET ?a HTTP/1.1\r\n", "The request target does not begin with `/`"),
    (b"GET http://< HTTP/1.1\r\n", "The request target is a URL whose host is not valid."),
    (b"GET /\x01 HTTP/1.1\r\n", "The request target contains a control character"),
    (b"GET /b\xc3\xbcro HTTP/1.1\r\n", "The request target contains a control character"),
    (b"GET / HTTP\r\n", "The request line does not end with `HTTP/1.1`"),
    (b"GET / http/1.1\r\n", "The request line does not consist of a method, a target and `HTTP/1.1`"),
    (b"GET / HTTP/1.1\n", "A line of the request head ends with a line feed alone."),
    (b"GET / HTTP/1.1\rX", "A line of the request head contains a carriage return"),
    (get(b"A: b\nC: d"), "A line of the request head ends with a line feed alone."),
    (get(b"A: b\rC: d"), "A line of the request head contains a carriage return"),
    (get(b"A: b", b" folded"), "A header line begins with white space"),
    (get(b"A: b", b"\tfolded"), "A header line begins with white space"),
    (get(b"A"), "A header line has no colon."),
    (get(b": a"), "A header line begins with a colon."),
    (get(b"A : b"), "A header has white space in its name"),
    (get(b"A b: c"), "A header has white space in its name"),
    (get(b"A\x00: b"), "The name of a header contains an invalid character."),
    (get(b"\xc3\xa9: b"), "The name of a header contains an invalid character."),
    (get(b"A: b\x00"), "The value of a header contains a control character."),
    (get(b"A: b\x7f"), "The value of a header contains a control character."),
    (get(b"Content-Length: 1", b"Content-Length: 1"), "The request has more than one Content-Length."),
    (get(b"Content-Length: +1"), "Content-Length is not a plain number"),
    (get(b"Content-Length: 1, 1"), "Content-Length is not a plain number"),
    (get(b"Content-Length:"), "Content-Length is not a plain number"),
    (get(b"Content-Length: " + b"9" * 19), "Content-Length is not a plain number"),
    (get(b"Content-Length: " + b"9" * 30), "Content-Length is not a plain number"),
    (get(b"Content-Length: 1", b"Transfer-Encoding: chunked"), "The request has both Content-Length and"),
    (get(b"Transfer-Encoding: chunked", b"Content-Length: 1"), "The request has both Content-Length and"),
    (get(b"Transfer-Encoding: gzip, chunked"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding: identity"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding:"), "Transfer-Encoding has a value other than `chunked`"),
    (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "Transfer-Encoding has a value other than"),
    (
        b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        "The request has Transfer-Encoding, but its",
    ),
    (get(b"Content_Length: 1"), "The request has a header that some servers read as Content-Length"),
    (get(b"Connection: " + b"a," * 600), "The Connection header is longer than 1024 bytes."),
    (b"GET / HTTP/1.1\r\n\r\n", "The request has no Host header."),
    (get(b"Host: other"), "The request has more than one Host header."),
    *(
        (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, "The Host header does not contain a host name or an IP address.")
        for host in (b"", b"http://h", b"u@h", b"h/x", b"h..", b"b\xc3\xbcro", b"h:port", b"::1", b"a b", b"h" * 300)
    ),
]


@pytest.mark.parametrize(("data", "detail"), REQUESTS)
def test_the_detail_names_the_fault_and_what_to_send(data: bytes, detail: str) -> None:
    refusal = refusal_of(data)
    assert refusal is not None
    assert refusal.code == "bad_request"
    assert refusal.detail.startswith(detail)
    assert refusal.detail.count(".") > 1, "a second sentence says what to send"


@pytest.mark.parametrize(("data", "detail"), REQUESTS)
def test_the_detail_does_not_depend_on_how_the_bytes_arrive(data: bytes, detail: str) -> None:
    in_pieces = [refusal_of(data, piece) for piece in (1, 7)]
    assert [refusal and refusal.detail.startswith(detail) for refusal in in_pieces] == [True, True]


def test_version_2_of_the_proxy_protocol_is_named() -> None:
    refusal = refusal_of(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")
    assert refusal is not None
    assert refusal.detail.startswith("The connection begins with the PROXY protocol")


WHOLE = st.sampled_from(
    [
        b"GET /a/b?x=1 HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 3\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"GET http://a/b HTTP/1.0\r\nHost: a\r\n\r\n",
        b"PROPFIND /a?\xff HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    ]
)
FAULTS = st.one_of(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"HTTP/1.1", b"\r\n ", b"\x16\x03\x01"]),
    st.sampled_from([b"\r\nContent-Length: +3", b"\r\nContent-Length: 3", b"\r\nTransfer-Encoding: gzip"]),
    st.binary(min_size=1, max_size=1),
)
UNKNOWN_FAULT = "The request head breaks a rule of HTTP/1.1."


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    head = draw(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(head)))
        head = head[:at] + draw(FAULTS) + head[at + draw(st.integers(0, 3)) :]
    return head


@given(damaged())
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n")
def test_every_malformed_head_has_a_known_fault(head: bytes) -> None:
    for piece in (0, 1):
        refusal = refusal_of(head, piece)
        if refusal is not None and refusal.code == "bad_request":
            assert refusal.detail != BAD_REQUEST.detail
            assert not refusal.detail.startswith(UNKNOWN_FAULT)


@given(st.binary(max_size=80))
def test_any_bytes_have_a_fault(data: bytes) -> None:
    assert why_malformed(data).code == "bad_request"
