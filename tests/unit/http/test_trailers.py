"""Response trailers: those that frame, route or set state are dropped (RFC 9110 §6.5.1), others pass."""

import pytest

from proxy.http.hop_by_hop import clean_response
from proxy.http.trailers import forwarded_trailers


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Keep-Alive", "Upgrade"),
        *("Host", "Location", "Refresh", "Alt-Svc", "Forwarded", "X-Forwarded-For"),
        *("Expect", "Max-Forwards", "Range", "TE", "If-Match", "If-None-Match", "Pragma"),
        *("Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Proxy-Authentication-Info"),
        *("Set-Cookie", "Set-Cookie2", "Cookie", "Clear-Site-Data"),
        *("Age", "Cache-Control", "Date", "Expires", "Retry-After", "Vary", "Warning"),
        *("Content-Encoding", "Content-Type", "Content-Range", "Content-Disposition", "Content-Location"),
        *("Access-Control-Allow-Origin", "Content-Security-Policy", "Content-Security-Policy-Report-Only"),
        *("CDN-Cache-Control", "Netlify-CDN-Cache-Control", "Surrogate-Control", "Status", "Proxy"),
        *("X-Api-User-Id", "X-Api-Workspace", "X-Api-Sites", "X-Api-Else"),
        *("Strict-Transport-Security", "Cross-Origin-Opener-Policy", "X-Frame-Options", "X-Accel-Redirect"),
    ],
)
def test_a_trailer_for_framing_routing_or_setting_state_is_dropped(name: str) -> None:
    odd = (name.replace("-", "_"), name.replace("-", ".").lower())
    for spelling in (name, name.lower(), name.upper(), *odd):
        assert forwarded_trailers([(b"X-Sum", b"1"), (spelling.encode(), b"1"), (b"a", b"b")]) == [
            (b"X-Sum", b"1"),
            (b"a", b"b"),
        ]


@pytest.mark.parametrize(
    "name",
    [
        *("Server-Timing", "grpc-status", "Grpc-Message", "grpc-status-details-bin", "X-Checksum", "Digest"),
        *("Content-Digest", "Repr-Digest", "Content-MD5", "ETag", "Last-Modified", "Authentication-Info"),
        *("X-Amz-Checksum-Crc32", "Expires-In", "Age-Days", "Signature", "X-Stream-Error"),
    ],
)
def test_other_trailers_pass_unchanged(name: str) -> None:
    trailers = [(name.encode(), b"a"), (name.lower().encode(), b"b")]
    assert forwarded_trailers(trailers) == trailers


@pytest.mark.parametrize(
    ("announced", "forwarded"),
    [
        ([b"X-Sum"], [b"X-Sum"]),
        ([b"X-Sum,  grpc-status"], [b"X-Sum,  grpc-status"]),
        ([b"X-Sum, Set-Cookie,ETag , set_cookie"], [b"X-Sum, ETag"]),
        ([b"Set-Cookie"], []),
        ([b" , "], []),
        ([b""], []),
        ([b"Content-Length", b"X-Sum"], [b"X-Sum"]),
    ],
)
def test_the_trailer_header_announces_only_forwarded_fields(announced: list[bytes], forwarded: list[bytes]) -> None:
    before, after = (b"Date", b"x"), (b"ETag", b"y")
    answer = clean_response(1, [before, *((b"trailer", value) for value in announced), after])
    assert answer.fields == [before, *((b"trailer", value) for value in forwarded), after]
