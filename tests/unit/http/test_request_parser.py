"""Request heads from bytes: what llhttp refuses, what Sitelatch refuses beyond that, and split input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.headers import Head
from proxy.http.request_parser import METHODS, RequestReader
from proxy.refusals import Refused
from proxy.settings import LimitSettings

LIMITS = LimitSettings(head_bytes=600, head_count=5, target_bytes=100)


LISTED = METHODS | {b"LIST", b"PROPFIND", b"FLUSH", b"SOURCE", b"M-SEARCH", b"PRIORITIZE", b"A", b"V" * 64}
"""Methods that llhttp knows, one that it accepts only in RTSP, some that begin like a known one, and the longest."""


def read(data: bytes, step: int = 10_000, methods: frozenset[bytes] = METHODS) -> tuple[Head | None, bytes] | str:
    """Return the first head in `data` and the rest, or the refusal's code. `step` bytes arrive at a time."""
    reader = RequestReader(LIMITS, methods)
    try:
        for at in range(0, len(data), step):
            raw, rest = reader.read(data[at : at + step])
            if raw is not None:
                return raw, rest + data[at + step :]
    except Refused as refused:
        return refused.refusal.code
    return None, b""


GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nA:  b c \r\n\r\n"
HEAD = Head(b"GET", b"/a?b=c", [(b"Host", b"h"), (b"X-Empty", b""), (b"A", b"b c")])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 10_000])
def test_a_head_is_read_the_same_however_it_is_split(step: int) -> None:
    assert read(GET + b"BODY", step) == (HEAD, b"BODY")


def test_pipelined_heads_are_read_one_by_one() -> None:
    reader = RequestReader(LIMITS)
    data = GET * 3
    for left in (2, 1, 0):
        raw, data = reader.read(data)
        assert raw == HEAD
        assert data == GET * left


@pytest.mark.parametrize("first_bytes", [1, 5, 20, len(GET) - 1])
def test_a_head_that_arrives_in_pieces_does_not_mix_with_the_next_head(
    first_bytes: int,
) -> None:
    """As many bytes follow the head as its first part has."""
    reader = RequestReader(LIMITS)
    assert reader.read(GET[:first_bytes]) == (None, b"")
    follows = GET[:first_bytes]
    assert reader.read(GET[first_bytes:] + follows) == (HEAD, follows)
    assert reader.partial == b""
    assert reader.read(GET) == (HEAD, b"")


def test_a_head_just_within_the_limits_passes() -> None:
    line = b"GET /" + b"a" * (LIMITS.target_bytes - 1) + b" HTTP/1.1\r\n"
    fields = b"A: b\r\n" * (LIMITS.head_count - 1)
    rest = b"A: " + b"b" * (LIMITS.head_bytes - len(line) - len(fields) - 7) + b"\r\n\r\n"
    head = line + fields + rest
    assert len(head) == LIMITS.head_bytes
    for step in (1, 10_000):
        read_head = read(head, step)
        assert isinstance(read_head, tuple)
        assert read_head[0] is not None
        assert (len(read_head[0].target), len(read_head[0].fields)) == (LIMITS.target_bytes, LIMITS.head_count)


def test_a_head_is_limited_even_if_the_target_limit_is_higher() -> None:
    reader = RequestReader(LimitSettings(head_bytes=100, target_bytes=1000))
    with pytest.raises(Refused) as refused:
        reader.read(b"GET /a HTTP/1.1\r\nA: " + b"b" * 100)
    assert refused.value.refusal.code == "head_too_large"


def test_a_head_after_a_body_is_read_once_the_parser_is_renewed() -> None:
    reader = RequestReader(LIMITS)
    raw, rest = reader.read(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + GET)
    assert raw is not None
    assert rest == b"abc" + GET
    reader.renew()
    assert reader.read(rest[3:]) == (HEAD, b"")


def test_a_head_with_an_upgrade_is_read_like_any_other() -> None:
    reader = RequestReader(LIMITS)
    raw, rest = reader.read(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GET)
    assert raw is not None
    assert reader.read(rest) == (HEAD, b"")


def test_an_empty_line_before_a_request_is_ignored() -> None:
    assert read(b"\r\n" + GET) == (HEAD, b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),  # doubled spaces
        (b"GET /a  HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),
        (b"GET /a\tHTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),
        (b" GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1\nHost: h\n\n", "bad_request"),  # bare LF
        (b"GET /a HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", "bad_request"),  # bare CR
        (b"GET /a HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "bad_request"),  # obs-fold
        (b"GET /a HTTP/1.1\r\nHost : h\r\n\r\n", "bad_request"),  # space before colon
        (b"GET /a HTTP/1.1\r\nHost\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1\r\n: h\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1\r\nA: \x00\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1\r\nA\x80: b\r\n\r\n", "bad_request"),
        (b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),
        (b"GET /a\r\n\r\n", "bad_request"),  # HTTP/0.9
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "bad_request"),
        (b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_request"),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "bad_request"),
        (b"POST /a HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "bad_request"),  # TLS on a plain port
        (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", "unsupported_version"),
        (b"GET /a HTTP/1.2\r\nHost: h\r\n\r\n", "unsupported_version"),
        (b"GET /a HTTP/0.9\r\nHost: h\r\n\r\n", "unsupported_version"),
        (b"BREW /a HTTP/1.1\r\nHost: h\r\n\r\n", "unknown_method"),
        (b"get /a HTTP/1.1\r\nHost: h\r\n\r\n", "unknown_method"),
        (b"get a:443 HTTP/1.1\r\nHost: h\r\n\r\n", "unknown_method"),
        (b"BREW\t/a HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request"),
        (b"BREW\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/1.1x\r\nHost: h\r\n\r\n", "bad_request"),
        (b"GET /a HTTP/12.0\r\nHost: h\r\n\r\n", "bad_request"),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "unknown_method"),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n", "target_too_long"),
        (b"GET /" + b"a" * 700, "target_too_long"),
        (b"GET /a HTTP/1.1\r\nA: " + b"b" * 700, "head_too_large"),
        (b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 6 + b"\r\n", "head_too_large"),
        (b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 7, "head_too_large"),  # before the end, which may never come
        (b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 7 + b" folded\r\n\r\n", "head_too_large"),
    ],
)
def test_malformed_bytes_get_the_same_refusal_however_they_are_split(data: bytes, code: str) -> None:
    for methods in (METHODS, LISTED):
        assert {read(data, step, methods) for step in (1, 2, 3, 5, 7, 10_000)} == {code}


def test_malformed_bytes_are_refused_before_the_head_ends() -> None:
    reader = RequestReader(LIMITS)
    with pytest.raises(Refused):
        reader.read(b"GET /a HTTP/1.1\nHost")


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_an_unknown_method_is_refused_as_soon_as_it_is_complete(cut: int) -> None:
    reader = RequestReader(LIMITS)
    assert reader.read(b"BREW"[:cut])[0] is None
    with pytest.raises(Refused) as refused:
        reader.read(b"BREW "[cut:])
    assert refused.value.refusal.code == "unknown_method"


def test_an_empty_line_before_a_request_is_ignored_however_it_is_split() -> None:
    reader = RequestReader(LimitSettings())
    assert reader.read(b"\r")[0] is None
    raw, rest = reader.read(b"\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw is not None
    assert (raw.target, rest) == (b"/x", b"")


def test_a_proxy_connection_header_does_not_close_the_connection() -> None:
    reader = RequestReader(LimitSettings())
    for _ in range(2):
        raw, _ = reader.read(b"GET /x HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n")
        assert raw is not None


# Stand-ins: methods that llhttp does not know, and raw bytes over 0x7F in a query.

STEPS = [1, 2, 3, 7, 10_000]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", sorted(LISTED))
def test_a_listed_method_is_read_like_any_other(method: bytes, step: int) -> None:
    head = Head(method, HEAD.target, HEAD.fields)
    assert read(method + GET[3:] + b"BODY", step, LISTED) == (head, b"BODY")


@pytest.mark.parametrize("method", [b"PROPFIND", b"TRACE", b"M-SEARCH", b"COPY"])
def test_a_method_that_llhttp_knows_is_left_to_the_route(method: bytes) -> None:
    assert read(method + GET[3:] + b"BODY") == (Head(method, HEAD.target, HEAD.fields), b"BODY")


@pytest.mark.parametrize("method", [b"CONNECT", b"LIST", b"V" * 64, b"get", b"GeT", b"GETX"])
def test_a_method_that_no_route_lists_is_unknown(method: bytes) -> None:
    """Method names are case-sensitive (RFC 9110 §9.1)."""
    assert read(method + GET[3:]) == "unknown_method"


@pytest.mark.parametrize("method", [b"list", b"List", b"LISTS", b"LIS", b"V" * 63])
def test_a_method_that_resembles_a_listed_one_is_unknown(method: bytes) -> None:
    for step in STEPS:
        assert read(method + GET[3:], step, LISTED) == "unknown_method"


@pytest.mark.parametrize("method", [b"LI\0T", b"LI\xc3T", b"LI(T", b"", b"V" * 65])
def test_a_method_that_is_not_a_token_is_malformed(method: bytes) -> None:
    for step in STEPS:
        assert read(method + GET[3:], step, LISTED) == "bad_request"


def test_connect_is_refused_even_if_a_route_lists_unusual_methods() -> None:
    for target in (b"h:80", b"/a", b"h:80?\xc3\xa9", b"/a?\xc3\xa9"):
        assert read(b"CONNECT " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n", methods=LISTED) in (
            "unknown_method",
            "bad_request",
        )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", [b"GET", b"LIST", b"FLUSH"])
@pytest.mark.parametrize("query", ["q=café", "é", "a?é=é&b=c", "日本語"])
def test_raw_bytes_in_a_query_are_kept(query: str, method: bytes, step: int) -> None:
    target = b"/a?" + query.encode()
    data = b"%b %b HTTP/1.1\r\nHost: h\r\nX-Name: caf\xe9\r\n\r\n" % (method, target)
    head = Head(method, target, [(b"Host", b"h"), (b"X-Name", b"caf\xe9")])
    assert read(data + b"\xc3", step, LISTED) == (head, b"\xc3")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /\xc3\xa9?q=\xc3\xa9 HTTP/1.1",
        b"GET /a\xa0?q HTTP/1.1",
        b"\xc3GET /a?q HTTP/1.1",
        b"GET\xa0/a?q HTTP/1.1",
        b"GET /a?q\xa0HTTP/1.1",
        b"GET /a?q HTTP/1.1\xc3",
        b"GET /a?q HTT\xd0/1.1",
        b"GET  /a?q=\xc3 HTTP/1.1",
        b"GET /a?q=\xc3  HTTP/1.1",
        b"GET /a?q=\xc3 b HTTP/1.1",
        b"GET /a?q=\xc3\t HTTP/1.1",
        b"GET /a?q=\xc3\x01 HTTP/1.1",
        b"GET /a?q=\xc3\x7f HTTP/1.1",
        b"GET /a?q=\xc3\r HTTP/1.1",
        b"GET /a?q=\xc3",
        b"LIST  /a HTTP/1.1",
        b"LIST /a  HTTP/1.1",
        b"LIST\t/a HTTP/1.1",
        b" LIST /a HTTP/1.1",
        b"LIST /a",
        b"LIST /a RTSP/1.0",
        b"LIST /a HTTP/1.1 ",
        b"FLUSH /a RTSP/1.0",
        b"SOURCE /a ICE/1.0",
    ],
)
def test_stand_ins_do_not_admit_malformed_request_lines(line: bytes) -> None:
    for step in STEPS:
        assert read(line + b"\r\nHost: h\r\n\r\n", step, LISTED) == "bad_request"
        assert read(line + b"\nHost: h\r\n\r\n", step, LISTED) == "bad_request"


@pytest.mark.parametrize("line", [b"LIST /a HTTP/2.0", b"GET /a?\xc3 HTTP/1.2", b"LIST /a HTTP/0.9"])
def test_an_unsupported_version_is_reported_even_with_stand_ins(line: bytes) -> None:
    assert read(line + b"\r\nHost: h\r\n\r\n", methods=LISTED) == "unsupported_version"


def test_pipelined_heads_with_and_without_stand_ins_are_read() -> None:
    listed = b"LIST /a?\xc3\xa9 HTTP/1.1\r\nHost: h\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n"
    reader = RequestReader(LIMITS, LISTED)
    data = GET + listed + listed + GET + listed
    found = []
    while data:
        raw, data = reader.read(data)
        assert raw is not None
        found.append((raw.method, raw.target, len(raw.fields)))
    plain, odd = (b"GET", b"/a?b=c", 3), (b"LIST", b"/a?\xc3\xa9", 3)
    assert found == [plain, odd, odd, plain, odd]


def test_limits_apply_to_heads_with_stand_ins() -> None:
    assert read(b"LIST /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n", methods=LISTED) == "target_too_long"
    assert read(b"GET /?" + b"\xc3" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n", methods=LISTED) == "target_too_long"
    assert read(b"LIST /a HTTP/1.1\r\nA: " + b"b" * 700, 5, LISTED) == "head_too_large"
    assert read(b"LIST /a HTTP/1.1\r\n" + b"A: b\r\n" * 6 + b"\r\n", methods=LISTED) == "head_too_large"


PARTS = st.sampled_from(
    [
        b"/a", b"?", b"q=", b"#", b" ", b"  ", b"\t", b"HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r", b"\n", b"\0", b"\x7f",
        b"Host: h", b"A:b", b"A : b", b" folded", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"\r\n\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c", b"Connection: close", b"Proxy-Connection: close", b"abc", b":",
    ]
)  # fmt: skip


@given(parts=st.lists(PARTS, max_size=12), step=st.integers(1, 40), well_formed=st.booleans())
def test_a_stand_in_for_the_method_changes_nothing_else(parts: list[bytes], step: int, well_formed: bool) -> None:
    """llhttp knows PUT but not LIST. Whatever follows the method is read and refused in the same way."""
    rest = (b" /a HTTP/1.1\r\n" if well_formed else b" ") + b"".join(parts)
    known, listed = (read(method + rest, step, LISTED) for method in (b"PUT", b"LIST"))
    if isinstance(known, tuple) and known[0] is not None:
        known[0].method = b"LIST"
    assert listed == known


@given(parts=st.lists(PARTS, max_size=12), step=st.integers(1, 40), high=st.sampled_from([b"\x80", b"\xe9", b"\xff"]))
def test_stand_ins_for_raw_bytes_change_nothing_else(parts: list[bytes], step: int, high: bytes) -> None:
    plain, raw = (read(b"PUT /a?q=" + byte + b"".join(parts), step, LISTED) for byte in (b"x", high))
    if isinstance(plain, tuple) and plain[0] is not None:
        plain[0].target = plain[0].target.replace(b"x", high, 1)
    assert raw == plain
