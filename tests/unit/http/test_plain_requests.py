"""The shortcut for plain heads returns exactly what the parser and `clean_request` return, or nothing."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http.bodies import Body, LengthBody
from proxy.http.head_writer import plain_request_head, request_head
from proxy.http.headers import REQUEST_KINDS, Head
from proxy.http.hop_by_hop import Hop, RequestHop, clean_request
from proxy.http.plain_requests import PlainHead, PlainRequests, plain_get, plain_get_start
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.refusals import Refused
from proxy.settings import LimitSettings

NOTICED = frozenset({b"x-api-key", b"authorization", b"cookie", b"content-type", b"origin", b"x-site"})
KEY_FIELDS = [b"X-API-Key: ", b"Authorization: Bearer ", b"x-api-key: ", b"authorization: Bearer "]
LIMITS = LimitSettings(head_bytes=600, target_bytes=300, head_count=12)


@dataclass
class Readers:
    """Both ways of reading a head, with everything that they remember."""

    limits: LimitSettings = field(default_factory=LimitSettings)

    def __post_init__(self) -> None:
        self.spellings = RequestSpellings(drop_headers=["X-Dropped"])
        self.plain = PlainRequests(self.limits, self.spellings, NOTICED, KEY_FIELDS)

    def in_full(self, data: bytes, *, trusted: bool = False) -> tuple[RequestHop, bytes] | None:
        """Return a request and the bytes after its head, or None if it is refused or incomplete."""
        try:
            raw, rest = RequestReader(self.limits).read(data)
            if raw is None:
                return None
            hop = clean_request(
                raw, spellings=self.spellings, trusted=trusted, judged=NOTICED, trailer_bytes=self.limits.head_bytes
            )
        except Refused:
            return None
        return hop, rest

    def check(self, data: bytes, *, trusted: bool = False) -> PlainHead | None:
        """Compare both ways, and return what the shortcut returns."""
        read = self.plain.read(data, trusted=trusted)
        self.check_shape(data, read)
        if read is None:
            return None
        head, hop, rest = read
        full = self.in_full(data, trusted=trusted)
        assert full is not None, data
        assert described(head, hop) == described(full[0].head, full[0]), data
        assert rest == full[1]
        self.check_writer(head)
        return head

    def check_shape(self, data: bytes, read: tuple[PlainHead, Hop, bytes] | None) -> None:
        """Compare `read` with the comparison of a head with its shape, as in relay/plain_exchanges.py."""
        start = plain_get_start(data)
        if start is None:
            return
        target_end = start.end()
        shape = self.plain.known_shape(data, target_end)
        if shape is None:
            return
        assert data.startswith(shape.head_start, target_end)
        assert data.endswith(shape.head_end)
        key = data[target_end + len(shape.head_start) : len(data) - len(shape.head_end)]
        if key.replace(b"_", b"").isalnum() and len(data) <= self.plain.longest and read is not None:
            head, hop, rest = read
            assert (head.shape, head.key, head.target, hop.body.done, rest) == (
                shape,
                key,
                start[1],
                True,
                b"",
            )
            assert described(plain_get(data, shape), hop) == described(head, hop)
            assert plain_get(data, shape).key == key
            written = plain_request_head(head, b"X-User: 1\r\n", b"r1", b"X-Forwarded-For: p\r\n")
            assert written.startswith(data[:target_end] + shape.forwarded_start + b"X-User")

    @staticmethod
    def check_writer(head: PlainHead) -> None:
        """Compare both ways of writing the head for the upstream."""
        fields = [each for each in head.fields if each[0] != head.shape.key_field]
        assert head.fields_without_key == fields
        assert len(fields) == len(head.fields) - 1
        added = b"X-User: 1\r\nX-Request-Id: r1\r\nX-Forwarded-For: p\r\n"
        written = plain_request_head(head, b"X-User: 1\r\n", b"r1", b"X-Forwarded-For: p\r\n")
        assert written == request_head(head.method, head.target, fields, added)


def described(head: Head, hop: Hop) -> object:
    """Return everything that the rest of the proxy reads from a request."""
    return (
        (head.method, head.target, head.fields, head.has_body, head.dropped, head.minor, head.origin),
        (hop.host, hop.chunked, hop.keep_alive, hop.websocket_key, hop.whole_server),
        described_body(hop.body),
    )


def described_body(body: Body) -> object:
    return type(body), body.done, body.feed(b"x" * 100) if isinstance(body, LengthBody) else None


READERS = Readers()
SMALL = Readers(LIMITS)

NAMES = st.one_of(
    st.sampled_from(
        [*REQUEST_KINDS, *NOTICED, b"accept", b"user-agent", b"x-original-url", b"x-dropped", b"x_api_key", b"a b", b""]
    ).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper(), name.replace(b"-", b"_")])),
    st.sampled_from([start.partition(b":")[0] for start in KEY_FIELDS]),
    st.binary(min_size=1, max_size=3),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"",
            b"h",
            b"h.",
            b"h:80",
            b"0",
            b"2",
            b"02",
            b"+2",
            b"2, 2",
            b"keep-alive",
            b"Close",
            b"close, x",
            b"chunked",
            b"100-continue",
            b"websocket",
            b"Bearer slk_ab",
            b"bearer  k",
            b"a  b",
            b"a\tb",
            b" a",
            b"a ",
            b"caf\xe9",
        ]
    ),
    st.binary(max_size=4),
)
TARGETS = st.one_of(
    st.sampled_from([b"/", b"/a/b?x=1&y=%2F", b"*", b"http://h/a", b"", b"/a?b#c", b"/a?b?c", b"/caf\xe9", b"//h"]),
    st.binary(max_size=3).map(lambda more: b"/" + more),
    st.binary(max_size=3).map(lambda more: b"/a?" + more),
)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"LIST", b"get", b"GE", b"CONNECT"])
USUAL = st.sampled_from(
    [
        [b"Host: h", b"X-API-Key: slk_ab"],
        [b"Host: h", b"Content-Length: 5", b"X-API-Key: slk_ab"],
        [b"X-API-Key: slk_ab", b"Content-Length: 5", b"Host: h"],
        [b"Host: h", b"Authorization: Bearer slk_ab", b"Connection: keep-alive"],
        [b"Host: h", b"x-api-key: k", b"Content-Type: application/json", b"Content-Length: 0"],
        [b"Host: h"],
    ]
)
LINES = st.tuples(NAMES, st.sampled_from([b": ", b": ", b": ", b":", b" : ", b":\t"]), VALUES).map(b"".join)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return heads of which many are plain, and the others are nearly so."""
    lines = draw(USUAL).copy()
    for line in draw(st.lists(LINES, max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"]))
    head = b"%b %b %b" % (draw(METHODS), draw(TARGETS), version)
    for line in lines:
        head += draw(ENDS) if draw(st.integers(0, 9)) == 0 else b"\r\n"
        head += line
    return head + b"\r\n\r\n" + draw(st.sampled_from([b"", b"body", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"]))


HEAD = b"GET /a HTTP/1.1\r\nHost: h\r\nX-API-Key: slk_ab\r\n%b\r\n"


@settings(max_examples=300)
@given(heads(), st.booleans())
@example(HEAD % b"X-API-Key: slk_ab\r\n", False)
@example(HEAD % b"X-Forwarded-For: 192.0.2.1\r\n", True)
@example(HEAD % b"Connection: close\r\nConnection: keep-alive\r\n", False)
@example(b"POST /a HTTP/1.1\r\nContent-Length: 4\r\nHost: h\r\nX-API-Key: slk_ab\r\nContent-Length: 4\r\n\r\n", False)
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nX-API-Key: slk_ab\r\n\r\nContent-Length: 4\r\n\r\n", False)
def test_a_plain_head_is_read_as_the_parser_reads_it(data: bytes, trusted: bool) -> None:
    for readers in (READERS, SMALL):
        readers.check(data, trusted=trusted)
        readers.check(data, trusted=trusted)  # the second time, its shape may be remembered


@settings(max_examples=150)
@given(heads(), st.integers(0, 200), st.binary(max_size=2))
def test_a_head_with_changed_bytes_is_read_as_the_parser_reads_it(data: bytes, at: int, changed: bytes) -> None:
    READERS.check(data)
    READERS.check(data[:at] + changed + data[at + len(changed) :])


PLAIN = [
    HEAD % b"",
    HEAD % b"User-Agent: curl/8.5.0\r\nAccept: */*\r\nConnection: keep-alive\r\n",
    HEAD % b"Origin: https://app.example\r\nContent-Type: application/json\r\nCookie: a=b; c=d\r\n",
    HEAD % b"X-Forwarded-For: 192.0.2.1\r\nTE: trailers\r\nX-Api-Sites: blog\r\nConnection: close\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k\r\nContent-Length: 4\r\nAccept: */*\r\n\r\nbody",
    b"PUT /a?b=c HTTP/1.1\r\nContent-Length: 4\r\nHost: h\r\nauthorization: Bearer k\r\n\r\nbo",
]


@pytest.mark.parametrize("data", PLAIN)
def test_ordinary_heads_are_plain(data: bytes) -> None:
    readers = Readers()
    for _ in range(2):
        assert readers.check(data) is not None


NOT_PLAIN = [
    b"Host: other",
    b"X-API-Key: slk_ab",
    b"Authorization: Basic a2V5",
    b"Transfer-Encoding: chunked",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"X_Api_Key: slk_cd",
    b"Content_Length: 5",
    b"Connection: X-API-Key",
]


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_a_head_with_a_line_that_has_its_own_rules_is_not_plain(line: bytes) -> None:
    readers = Readers()
    read = readers.check(HEAD % (line + b"\r\n"))
    if line.startswith(b"Authorization"):  # it may be for the upstream, so only the decision can tell
        assert read is not None
    else:
        assert read is None


def test_the_number_and_length_of_remembered_shapes_are_bounded() -> None:
    readers = Readers()
    for number in range(1100):
        assert readers.check(HEAD % (b"X-Number: %d\r\n" % number)) is not None
    assert readers.check(HEAD % (b"X-Long: %b\r\n" % (b"x" * 4000))) is not None


def test_no_key_is_remembered_with_a_shape() -> None:
    readers = Readers()
    readers.check(HEAD % b"Accept: */*\r\n")
    readers.check(HEAD.replace(b"slk_ab", b"slk_cd") % b"Accept: */*\r\n")
    first, second = (readers.plain.read(HEAD.replace(b"slk_ab", key) % b"", trusted=False) for key in (b"k1", b"k2"))
    assert first is not None
    assert second is not None
    assert first[0].shape is second[0].shape
    assert (first[0].key, second[0].key) == (b"k1", b"k2")


def test_content_length_stays_where_it_is_whatever_was_sent_before() -> None:
    readers = Readers()
    start, end = b"POST /a HTTP/1.1\r\nHost: h\r\n", b"\r\nContent-Type: text/plain\r\n\r\nx"
    key, length = b"X-API-Key: k", b"Content-Length: 1\r\n"
    # The first key is as much longer as the line that moves.
    for lines in (b"X-A: 1\r\n" + length + key + b"x" * 8, length + b"X-A: 1\r\n" + key):
        assert readers.check(start + lines + end) is not None
    for lines in (key + b"x" * 8 + b"\r\n" + length + b"X-A: 1", key + b"\r\nX-A: 1\r\n" + length[:-2]):
        assert readers.check(start + lines + end) is not None


def test_requests_with_keys_of_other_lengths_have_the_same_shape() -> None:
    readers = Readers()
    shapes = set()
    for key in (b"k", b"kk" * 9):
        for lines in (b"Content-Length: 1\r\nX-API-Key: " + key, b"X-API-Key: " + key + b"\r\nContent-Length: 1"):
            head = readers.check(b"POST /a HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\nx")
            assert head is not None
            shapes.add(head.shape)
    assert len(shapes) == 2
