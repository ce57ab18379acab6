"""The shortcut for plain responses returns exactly what the parser and `clean_response` return, or nothing."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http.bodies import FramingError, response_body
from proxy.http.cors import Cors
from proxy.http.head_writer import CLOSE, plain_response_head, response_head
from proxy.http.hop_by_hop import ResponseHop, clean_response
from proxy.http.plain_responses import PlainResponse, PlainResponses
from proxy.http.response_parser import ResponseReader
from proxy.settings import CorsSettings

APP = b"https://app.example"
CORS = [
    Cors(CorsSettings(origins=origins, credentials=credentials), ["GET"], ["X-API-Key"])
    for origins, credentials in ((("https://app.example",), True), (("*",), False))
]


RESPONSES = PlainResponses()


def in_full(data: bytes) -> tuple[int, bytes, ResponseHop, bytes] | None:
    """Return a response and the bytes after its head, or None if it is refused or incomplete."""
    try:
        head, rest = ResponseReader().read(data)
    except FramingError:
        return None
    return None if head is None else (head.status, head.reason, clean_response(head.minor, head.fields), rest)


def described(hop: ResponseHop) -> object:
    """Return everything that the rest of the proxy reads from a response."""
    return hop.fields, hop.lengths, hop.codings, hop.keep_alive, hop.idle_seconds, hop.servers


def body_of(method: bytes, status: int, hop: ResponseHop) -> object:
    try:
        body = response_body(method, status, hop.lengths, hop.codings, 1, trailer_bytes=100)
    except FramingError:
        return None
    return type(body), body.done


def check_whole(data: bytes) -> bool:
    """Compare both ways of relaying a whole response. Return whether it is plain."""
    RESPONSES.read_whole(data, b"")
    whole = RESPONSES.read_whole(data, b"")  # this time, its lines are remembered
    assert PlainResponses().read_whole(data, b"") == whole
    for cors in CORS:
        for origin in (b"", APP):
            check_whole_with_cors(data, cors, origin, plain=whole is not None)
    if whole is None:
        return False
    full = in_full(data)
    assert full is not None, data
    status, reason, hop, body = full
    assert whole == (status, response_head(status, reason, hop.fields) + body, len(body)), data
    assert (list(map(int, hop.lengths)), hop.codings, hop.keep_alive, hop.idle_seconds) == ([len(body)], [], True, None)
    assert response_body(b"GET", status, hop.lengths, [], 1, trailer_bytes=100).done is (not body)
    return True


def check_whole_with_cors(data: bytes, cors: Cors, origin: bytes, *, plain: bool) -> None:
    """Compare both ways of adding the lines for CORS to a whole response."""
    whole = RESPONSES.read_whole(data, cors.plain_response(origin))
    assert PlainResponses().read_whole(data, cors.plain_response(origin)) == whole
    if whole is None:
        return
    assert plain
    full = in_full(data)
    assert full is not None, data
    status, reason, hop, body = full
    fields, lines = cors.response(origin, hop.fields)
    assert whole == (status, response_head(status, reason, fields, lines) + body, len(body)), data


def check(data: bytes) -> PlainResponse | None:
    """Compare both ways, and return what the shortcut returns."""
    check_whole(data)
    RESPONSES.read(data)
    read = RESPONSES.read(data)  # this time, its lines are remembered
    first = PlainResponses().read(data)
    assert (read is None) is (first is None)
    if read is None:
        return None
    plain, rest = read
    full = in_full(data)
    assert full is not None, data
    status, reason, hop, full_rest = full
    assert (plain.status, plain.reason, described(plain), rest) == (status, reason, described(hop), full_rest), data
    for method in (b"GET", b"HEAD"):
        assert body_of(method, status, plain) == body_of(method, status, hop)
    for chunked, connection in ((True, b""), (False, CLOSE)):
        written = plain_response_head(plain.written, b"A: b\r\n", chunked=chunked, connection=connection)
        assert written == response_head(
            status, reason, hop.fields, b"A: b\r\n", chunked=chunked, connection=connection
        ), data
    if not plain.affects_cors:
        for cors in CORS:
            for origin in (b"", APP):
                assert cors.response(origin, hop.fields) == (hop.fields, cors.plain_response(origin)), data
    return plain


NAMES = st.one_of(
    st.sampled_from(
        [
            *(b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"te"),
            *(b"proxy-connection", b"server", b"date", b"etag", b"x_y", b"a b", b"", b"a:", b"vary", b"set-cookie"),
            *(b"access-control-allow-origin", b"access-control-allow-credentials", b"proxy-authenticate"),
        ]
    ).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper()])),
    st.binary(min_size=1, max_size=3),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(b"", b"0", b"5", b"05", b"+5", b"5, 5", b"1" * 19, b"close", b"Keep-Alive", b"close, x", b"chunked"),
            *(b"timeout=5", b"timeout=5, max=10", b"max=3", b"Accept, ORIGIN", b"*", b"Accept-Encoding", b"gzip"),
            *(b" a", b"a ", b"a  b", b"a\tb", b"\ta", b"caf\xe9", b"a:  b", b"SimpleHTTP/0.6"),
        ]
    ),
    st.binary(max_size=4),
)
LINES = st.tuples(NAMES, st.sampled_from([b": ", b": ", b": ", b":", b" : ", b":\t"]), VALUES).map(b"".join)
STARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [b"HTTP/1.1 404 Not Found", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK"]
    + [b"HTTP/1.1 200 Fine", b"HTTP/1.1 200", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 100 Continue", b""]
)
USUAL = st.sampled_from(
    [[], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"], [b"Date: x", b"Content-Length: 5", b"ETag: y"]]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return heads of which many are plain, and the others are nearly so."""
    lines = draw(USUAL).copy()
    for line in draw(st.lists(LINES, max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    head = draw(STARTS)
    for line in lines:
        head += draw(st.sampled_from([b"\n", b"\r"])) if draw(st.integers(0, 9)) == 0 else b"\r\n"
        head += line
    return head + b"\r\n\r\n" + draw(st.sampled_from([b"", b"body", b"\r\n\r\n"]))


@settings(max_examples=400)
@given(heads(), st.integers(0, 100), st.binary(max_size=2))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 0, b"")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 0, b"")
@example(b"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", 0, b"")
@example(b"HTTP/1.1 200 OK\r\nNoColon\r\n\r\n", 0, b"")
def test_a_plain_response_is_read_as_the_parser_reads_it(data: bytes, at: int, changed: bytes) -> None:
    check(data)
    check(data[:at] + changed + data[at + len(changed) :])


PLAIN = [
    b"Date: Mon, 30 Nov 2026\r\nServer: uvicorn\r\nContent-Type: application/json\r\nContent-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\nVary: Accept-Encoding\r\n",
    b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n",
    b"Vary: Origin\r\nAccess-Control-Allow-Origin: *\r\n",
]


@pytest.mark.parametrize("fields", PLAIN)
def test_ordinary_responses_are_plain(fields: bytes) -> None:
    assert check(b"HTTP/1.1 200 OK\r\n%b\r\nbody" % fields) is not None


def test_an_incomplete_head_is_not_plain() -> None:
    assert PlainResponses().read(b"HTTP/1.1 200 OK\r\nDate: x\r\n") is None


def test_a_line_that_affects_cors_does_so_after_many_other_lines() -> None:
    responses = PlainResponses()
    for number in range(5000):
        read = responses.read(b"HTTP/1.1 200 OK\r\nVary: Origin\r\nX-Number: %d\r\n\r\n" % number)
        assert read is not None
        assert read[0].affects_cors


WHOLE = [b"", b"Date: now\r\nServer: nginx\r\n", b"Connection: keep-alive\r\n"]


@pytest.mark.parametrize("fields", WHOLE)
@pytest.mark.parametrize("body", [b"", b"body", b"a\r\n\r\nContent-Length: 4\r\nConnection: keep-alive\r\n"])
def test_whole_ordinary_responses_are_plain(fields: bytes, body: bytes) -> None:
    length = b"Content-Length: %d\r\n" % len(body)
    for lines in (fields + length, length + fields):
        data = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (lines, body)
        assert check_whole(data)
        assert not check_whole(data + b"x")
        assert not check_whole(data[:-1])
