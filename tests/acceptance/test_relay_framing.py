"""Requests that two parsers could read differently are refused, and the connection ends (RFC 9112 §11.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, User, serving
from tests.acceptance.wire import Answering, TruncatedError, Wire, connect, open_exchange, until


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    lanes = Lanes(400, methods=["GET", "OPTIONS", "POST", "LIST", "FLUSH"])
    limits = {"head_seconds": 1, "keepalive_seconds": 2}
    with serving(tmp_path_factory.mktemp("framing"), database_url, lanes, limits=limits) as bench:
        yield bench


@dataclass(frozen=True)
class Case:
    """A malformed request with a `{path}` of the key's site and the `{key}` header line, and the allowed statuses."""

    name: str
    raw: str
    statuses: tuple[int, ...] = (400,)

    def bytes(self, lane: Lane, user: User) -> bytes:
        text = self.raw.replace("{path}", lane.target("/sites/shop/x")).replace("{key}", f"X-API-Key: {user.key}")
        return text.encode("latin-1")


START = "GET {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n"
POST = "POST {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
NEXT = "GET {path}?smuggled HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"
"""A request that a desynchronized server would find in the body of the previous one."""

HEADS = [
    Case("two hosts", START + "Host: b\r\n\r\n"),
    Case("the same host twice", START + "Host: a\r\n\r\n"),
    Case("no host", "GET {path} HTTP/1.1\r\n{key}\r\n\r\n"),
    Case("obs-fold", START + "X-A: 1\r\n 2\r\n\r\n"),
    Case("obs-fold with a tab", START + "X-A: 1\r\n\t2\r\n\r\n"),
    Case("obs-fold of the first field", "GET {path} HTTP/1.1\r\n Host: a\r\n{key}\r\n\r\n"),
    Case("obs-fold that hides a coding", POST + "X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
    Case("bare LF after the request line", "GET {path} HTTP/1.1\nHost: a\r\n{key}\r\n\r\n"),
    Case("bare LF after a field", "GET {path} HTTP/1.1\r\nHost: a\n{key}\r\n\r\n"),
    Case("bare LF at the head's end", START + "\n"),
    Case("bare LF everywhere", "GET {path} HTTP/1.1\nHost: a\n{key}\n\n"),
    Case("bare CR in a value", START + "X-A: 1\r2\r\n\r\n"),
    Case("bare CR between fields", START + "X-A: 1\rX-B: 2\r\n\r\n"),
    Case("bare CR in the request line", "GET {path}\r HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("NUL in a value", START + "X-A: 1\x002\r\n\r\n"),
    Case("NUL in a name", START + "X-A\x00: 1\r\n\r\n"),
    Case("control byte in a name", START + "X\x01A: 1\r\n\r\n"),
    Case("high byte in a name", START + "X-\xe9: 1\r\n\r\n"),
    Case("space before the colon", START + "X-A : 1\r\n\r\n"),
    Case("tab before the colon", START + "X-A\t: 1\r\n\r\n"),
    Case("space inside a name", START + "X A: 1\r\n\r\n"),
    Case("no colon", START + "X-A\r\n\r\n"),
    Case("empty name", START + ": 1\r\n\r\n"),
    Case("two spaces after the method", "GET  {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("two spaces before the version", "GET {path}  HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("tab after the method", "GET\t{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 501)),
    Case("space before the method", " GET {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 501)),
    Case("space after the version", "GET {path} HTTP/1.1 \r\nHost: a\r\n{key}\r\n\r\n", (400, 505)),
    Case("space inside the target", "GET {path} y HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 505)),
    Case("a fragment", "GET {path}#f HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("raw control byte in the target", "GET {path}\x01 HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("DEL in the target", "GET {path}\x7f HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("high byte in the path", "GET {path}\xe9 HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("high byte in the query", "GET {path}?q=\xe9 HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form of another host", "GET http://b{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form of another port", "GET http://a:81{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form with userinfo", "GET http://a@a{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form with userinfo in Host", "GET http://u@a{path} HTTP/1.1\r\nHost: u@a\r\n{key}\r\n\r\n"),
    Case("absolute form with an encoded host", "GET http://%61{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form without a host", "GET http://{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form with one slash", "GET http:/a{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form of another scheme", "GET ftp://a{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form with two hosts", "GET http://a{path} HTTP/1.1\r\nHost: a\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form without Host", "GET http://a{path} HTTP/1.1\r\n{key}\r\n\r\n"),
    Case("absolute form without Host on HTTP/1.0", "GET http://a{path} HTTP/1.0\r\n{key}\r\n\r\n"),
    Case("absolute form with a fragment", "GET http://a{path}#f HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("absolute form with a fragment in the host", "GET http://a#{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("authority form", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{key}\r\n\r\n", (400, 501)),
    Case("CONNECT to a path", "CONNECT {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 501)),
    Case("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("target without a slash", "GET x{path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n"),
    Case("unknown method", "FROB {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (501,)),
    Case("method in lowercase", "get {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 501)),
    Case("method that begins as a known one", "GETX {path} HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 501)),
    Case("version 2.0", "GET {path} HTTP/2.0\r\nHost: a\r\n{key}\r\n\r\n", (505,)),
    Case("version 1.2", "GET {path} HTTP/1.2\r\nHost: a\r\n{key}\r\n\r\n", (505,)),
    Case("version 0.9", "GET {path} HTTP/0.9\r\nHost: a\r\n{key}\r\n\r\n", (505,)),
    Case("version with two digits", "GET {path} HTTP/1.10\r\nHost: a\r\n{key}\r\n\r\n", (400, 505)),
    Case("version in lowercase", "GET {path} http/1.1\r\nHost: a\r\n{key}\r\n\r\n", (400, 505)),
    Case("another protocol", "GET {path} RTSP/1.0\r\nHost: a\r\n{key}\r\n\r\n", (400, 505)),
    Case("no version at all", "GET {path}\r\n\r\n", (400, 505)),
    Case("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
    Case("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x" * 100),
]

LENGTHS = [
    Case("length and coding", POST + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT),
    Case("coding and length", POST + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + NEXT),
    Case("two lengths", POST + "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + NEXT),
    Case("the same length twice", POST + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    Case("a list of lengths", POST + "Content-Length: 2, 2\r\n\r\nok"),
    Case("a signed length", POST + "Content-Length: +2\r\n\r\nok"),
    Case("a negative length", POST + "Content-Length: -2\r\n\r\nok"),
    Case("a length in hex", POST + "Content-Length: 0x2\r\n\r\nok"),
    Case("a length with a space inside", POST + "Content-Length: 2 2\r\n\r\nok"),
    Case("an empty length", POST + "Content-Length:\r\n\r\n" + NEXT),
    Case("a length that overflows", POST + "Content-Length: 18446744073709551618\r\n\r\nok"),
    Case("a length in other digits", POST + "Content-Length: \xb2\r\n\r\nok"),
    Case("a length with an underscore", POST + "Content-Length: 1_0\r\n\r\nok"),
    Case("a coding on HTTP/1.0", POST.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT),
    *(
        Case(f"coding {coding!r}", POST + f"Transfer-Encoding:{coding}\r\n\r\n0\r\n\r\n" + NEXT, (400, 501))
        for coding in (
            " gzip, chunked",
            " chunked, gzip",
            " gzip",
            " identity",
            " chunked, chunked",
            " chunked, identity",
            " chunked,",
            " ,chunked",
            " xchunked",
            " chunkedx",
            ' "chunked"',
            " chunked;q=1",
            " cow",
            "",
            " \x0bchunked",
            " chunked\x0b",
            " \x00chunked",
            " chunked\x85",
        )
    ),
    Case("two codings", POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT),
    Case("a coding and another", POST + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Case("a coding with a space before its colon", POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT),
    Case("a folded coding", POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + NEXT),
    Case("a length behind a bare CR", POST + "X-A: 1\rContent-Length: 40\r\n\r\n" + NEXT),
]

BODIES = [
    Case("chunk extension", CHUNKED + "5;x=y\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("chunk extension of the last chunk", CHUNKED + "5\r\nhello\r\n0;x\r\n\r\n" + NEXT),
    Case("chunk extension with a bare LF", CHUNKED + "5;x\ny\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("chunk extension with a quoted CRLF", CHUNKED + '5;x="\r\n0\r\n\r\n' + NEXT),
    Case("space after a chunk's size", CHUNKED + "5 \r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("space before a chunk's size", CHUNKED + " 5\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a size with 0x", CHUNKED + "0x5\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a negative size", CHUNKED + "-5\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a signed size", CHUNKED + "+5\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("an empty size", CHUNKED + "\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a size without digits", CHUNKED + "G\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a size that overflows", CHUNKED + "10000000000000005\r\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a chunk longer than its size", CHUNKED + "5\r\nhelloXX\r\n0\r\n\r\n" + NEXT),
    Case("a chunk that ends in LF", CHUNKED + "5\r\nhello\n0\r\n\r\n" + NEXT),
    Case("a size that ends in LF", CHUNKED + "5\nhello\r\n0\r\n\r\n" + NEXT),
    Case("a size that ends in CR", CHUNKED + "5\rhello\r\n0\r\n\r\n" + NEXT),
    Case("a last chunk that ends in LF", CHUNKED + "5\r\nhello\r\n0\n\n" + NEXT),
]


def with_stand_ins(rows: list[Case]) -> list[Case]:
    """Return the cases with methods that llhttp does not know or knows only from RTSP, so that it gets a stand-in."""
    methods = {"GET {path}": "LIST {path}", "POST {path}": "FLUSH {path}"}
    found = []
    for row in rows:
        start = next((start for start in methods if row.raw.startswith(start)), None)
        if start is not None:
            method = methods[start].split()[0]
            found.append(Case(f"{row.name}, {method}", methods[start] + row.raw.removeprefix(start), row.statuses))
    return found


def cases(rows: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", rows, ids=[row.name for row in rows])


async def refused(client: Wire, lane: Lane, case: Case) -> None:
    """Send the case, and check that it is refused, and that the connection closes without another response."""
    await client.send(case.bytes(lane, lane.keys.shop))
    answer = await client.answer()
    assert answer.status in case.statuses, answer.raw_head + answer.body
    assert answer.problem["status"] == answer.status
    assert (answer.one("Connection"), answer.one("Cache-Control")) == (b"close", b"no-store")
    assert lane.keys.shop.key.encode() not in client.received
    assert await client.read_to_end() == b""


@cases(HEADS + LENGTHS + with_stand_ins(HEADS + LENGTHS))
async def test_a_malformed_head_is_refused_and_not_forwarded(client: Wire, lane: Lane, case: Case) -> None:
    lane.upstream.handler = Answering()
    await refused(client, lane, case)
    assert lane.upstream.untouched


@cases(BODIES + with_stand_ins(BODIES))
async def test_a_malformed_chunk_is_refused_and_its_body_does_not_end_cleanly(
    client: Wire, lane: Lane, case: Case
) -> None:
    service = Answering()
    lane.upstream.handler = service
    await refused(client, lane, case)
    await until(lambda: all(wire.ended for wire in lane.upstream.connections), "the upstream side is closed")
    assert service.requests == []
    assert not any(b"smuggled" in wire.received for wire in lane.upstream.connections)


@cases(BODIES)
async def test_a_malformed_chunk_later_in_the_body_is_refused(client: Wire, lane: Lane, case: Case) -> None:
    raw = case.bytes(lane, lane.keys.shop)
    head, _, rest = raw.partition(b"\r\n\r\n")
    served = await open_exchange(client, lane.upstream, head + b"\r\n\r\n3\r\nabc\r\n")
    await served.read_until(b"abc")
    await client.send(rest)
    assert (await client.answer()).status == 400
    assert await client.read_to_end() == b""
    with pytest.raises(TruncatedError):
        await served.read_until(b"0\r\n\r\n")
    assert b"smuggled" not in served.received


@pytest.mark.parametrize("escape", ["%zz", "%2", "%", "%u0041", "%2g/x"])
async def test_a_path_with_a_bad_escape_is_refused(client: Wire, lane: Lane, escape: str) -> None:
    """Parsers may differ on the path, but not on where the request ends, so the connection may stay open."""
    await client.send(lane.request("GET", f"/sites/shop/x{escape}"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (400, "ambiguous_request")
    assert lane.upstream.untouched


async def test_a_field_split_across_packets_is_one_field(client: Wire, lane: Lane) -> None:
    service = Answering()
    lane.upstream.handler = service
    request = lane.request("POST", "/sites/shop/x", "X-A: 1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
    for at in range(len(request)):
        await client.send(request[at : at + 1])
    assert (await client.answer()).body == b"yes"
    assert service.requests[0].body == b"hello"


@pytest.mark.parametrize("lines", [("Transfer-Encoding: Chunked",), ("Transfer-Encoding:chunked",)])
async def test_transfer_encoding_chunked_is_accepted_in_any_case(
    client: Wire, lane: Lane, lines: tuple[str, ...]
) -> None:
    service = Answering()
    lane.upstream.handler = service
    await client.send(lane.request("POST", "/sites/shop/x", *lines) + b"2\r\nok\r\n0\r\n\r\n")
    assert (await client.answer()).status == 200
    assert service.requests[0].body == b"ok"


async def test_expectations_other_than_100_continue_are_refused(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("POST", "/sites/shop/x", "Expect: 200-ok", "Content-Length: 0"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (417, "unknown_expectation")
    assert lane.upstream.untouched


LIMITS = [
    Case("long target", "GET {path}?" + "x" * 8192 + " HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (414,)),
    Case("endless target", "GET {path}?" + "x" * 200_000 + " HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n", (414,)),
    Case("large head", START + "X-A: " + "x" * 32768 + "\r\n\r\n", (431,)),
    Case("endless head", START + "X-A: " + "x" * 300_000 + "\r\n\r\n", (431,)),
    Case("large head in many fields", START + ("X-A: " + "x" * 1000 + "\r\n") * 40 + "\r\n", (431,)),
    Case("many fields", START + "X-A: 1\r\n" * 101 + "\r\n", (431,)),
    Case("endless fields", START + "X-A: 1\r\n" * 50_000, (431,)),
    Case("a long name", START + "X" * 40_000 + ": 1\r\n\r\n", (431,)),
]


@cases(LIMITS)
async def test_each_head_limit_has_its_own_status(client: Wire, lane: Lane, case: Case) -> None:
    client.writer.write(case.bytes(lane, lane.keys.shop))
    answer = await client.answer()
    assert answer.status in case.statuses
    assert await client.closed()
    assert lane.upstream.untouched


async def test_a_head_within_the_limits_passes(client: Wire, lane: Lane) -> None:
    lane.upstream.handler = Answering()
    lines = [f"X-{number}: {'x' * 200}" for number in range(90)]
    await client.send(lane.request("GET", "/sites/shop/x?" + "y" * 7000, *lines))
    assert (await client.answer()).status == 200


@pytest.mark.parametrize("drip", [False, True])
async def test_a_head_that_does_not_arrive_in_time_is_refused(client: Wire, lane: Lane, drip: bool) -> None:
    await client.send(b"GET /sites/shop/x HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    for _ in range(6 if drip else 0):
        assert await client.quiet(0.1)
        await client.send(b"x")
    answer = await client.answer()
    assert (answer.status, answer.code) == (408, "head_timeout")
    assert await client.closed()


async def test_an_idle_connection_is_closed_without_a_response(client: Wire, lane: Lane) -> None:
    lane.upstream.handler = Answering()
    await client.send(lane.request("GET", "/sites/shop/x"))
    assert (await client.answer()).status == 200
    assert await client.read_to_end() == b""


async def test_the_process_survives_all_malformed_requests(bench: Bench, lane: Lane) -> None:
    lane.upstream.handler = Answering()
    async with connect(bench.latch.address) as client:
        await client.send(lane.request("GET", "/sites/shop/x"))
        assert (await client.answer()).status == 200
    assert bench.latch.ready() == 200
    assert "Traceback" not in bench.latch.output.read_text()
