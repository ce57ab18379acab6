"""Requests' heads out of bytes: what llhttp refuses, what it lets through and we refuse, and how bytes are cut."""

import pytest

from proxy.reader import RawHead, RequestReader
from proxy.refusals import Refused
from proxy.settings import LimitSettings

LIMITS = LimitSettings(head_bytes=600, head_count=5, target_bytes=100)


def read(data: bytes, step: int = 10_000) -> tuple[RawHead | None, bytes] | str:
    """Return the first head in `data` and the rest, or the refusal's code. `step` is how many bytes come at a time."""
    reader = RequestReader(LIMITS)
    try:
        for at in range(0, len(data), step):
            raw, rest = reader.read(data[at : at + step])
            if raw is not None:
                return raw, rest + data[at + step :]
    except Refused as refused:
        return refused.refusal.code
    return None, b""


GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nA:  b c \r\n\r\n"
HEAD = RawHead(b"GET", b"/a?b=c", 1, [(b"Host", b"h"), (b"X-Empty", b""), (b"A", b"b c")])


@pytest.mark.parametrize("step", [1, 2, 3, 5, 10_000])
def test_a_head_reads_alike_however_it_is_cut(step: int) -> None:
    assert read(GET + b"BODY", step) == (HEAD, b"BODY")


def test_heads_come_one_after_another() -> None:
    reader = RequestReader(LIMITS)
    data = GET * 3
    for left in (2, 1, 0):
        raw, data = reader.read(data)
        assert raw == HEAD
        assert data == GET * left


@pytest.mark.parametrize("came_first", [1, 5, 20, len(GET) - 1])
def test_a_head_that_came_in_pieces_leaves_nothing_to_the_next_and_takes_nothing_of_what_follows(
    came_first: int,
) -> None:
    """Also where as much follows it as had come of it before."""
    reader = RequestReader(LIMITS)
    assert reader.read(GET[:came_first]) == (None, b"")
    follows = GET[:came_first]
    assert reader.read(GET[came_first:] + follows) == (HEAD, follows)
    assert reader.partial == b""
    assert reader.read(GET) == (HEAD, b"")


def test_what_is_just_within_the_limits_passes() -> None:
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


def test_a_head_is_bounded_also_where_a_target_might_be_longer() -> None:
    reader = RequestReader(LimitSettings(head_bytes=100, target_bytes=1000))
    with pytest.raises(Refused) as refused:
        reader.read(b"GET /a HTTP/1.1\r\nA: " + b"b" * 100)
    assert refused.value.refusal.code == "head_too_large"


def test_a_head_after_a_body_needs_a_renewed_parser() -> None:
    reader = RequestReader(LIMITS)
    raw, rest = reader.read(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + GET)
    assert raw is not None
    assert rest == b"abc" + GET
    reader.renew()
    assert reader.read(rest[3:]) == (HEAD, b"")


def test_an_upgrade_is_read_like_any_head() -> None:
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
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "unknown_method"),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n", "target_too_long"),
        (b"GET /" + b"a" * 700, "target_too_long"),
        (b"GET /a HTTP/1.1\r\nA: " + b"b" * 700, "head_too_large"),
        (b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 6 + b"\r\n", "head_too_large"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, code: str) -> None:
    assert read(data) == code
    assert read(data, step=1) in (code, "bad_request", "head_too_large")


def test_what_can_become_no_request_is_refused_before_it_ends() -> None:
    reader = RequestReader(LIMITS)
    with pytest.raises(Refused):
        reader.read(b"GET /a HTTP/1.1\nHost")


def test_an_empty_line_before_a_request_is_ignored_however_it_is_cut() -> None:
    reader = RequestReader(LimitSettings())
    assert reader.read(b"\r")[0] is None
    raw, rest = reader.read(b"\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw is not None
    assert (raw.target, rest) == (b"/x", b"")


def test_proxy_connection_says_nothing_of_this_connection() -> None:
    reader = RequestReader(LimitSettings())
    for _ in range(2):
        raw, _ = reader.read(b"GET /x HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n")
        assert raw is not None
