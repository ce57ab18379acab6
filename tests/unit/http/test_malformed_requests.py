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
from tests.unit.http.malformed_requests import REQUESTS

METHODS = frozenset({b"GET", b"POST", b"PROPFIND"})
SPELLINGS = RequestSpellings("drop", ())


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
