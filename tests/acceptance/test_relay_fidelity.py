"""Requests and responses arrive as they were sent, byte for byte, on raw sockets."""

import asyncio
import gzip
from collections.abc import Iterator

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, serving
from tests.acceptance.wire import Answering, Message, Wire, connect, open_exchange

ADDED = {b"x-api-user-id", b"x-api-workspace", b"x-api-sites", b"x-request-id"} | {
    b"x-forwarded-" + name for name in (b"for", b"proto", b"host")
}
"""The fields that Sitelatch adds to a request."""

HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}


OTHER_METHODS = ["OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "REPORT", "LIST", "FLUSH", "VERSION-CONTROL"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    limits = {"answer_seconds": 200, "upload_idle_seconds": 60, "upstream_idle_seconds": 30}
    lanes = Lanes(100, methods=["GET", "HEAD", *OTHER_METHODS])
    copies = {"name": "copies", "path": "/copies", "upstream": "http://127.0.0.1:1", "methods": ["COPY"]}
    folder = tmp_path_factory.mktemp("fidelity")
    with serving(folder, database_url, lanes, routes=[copies], limits=limits) as bench:
        yield bench


def sent_by_client(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the fields of a request without those that Sitelatch adds and hop-by-hop fields."""
    return [(name, value) for name, value in message.fields if name.lower() not in ADDED | HOP_BY_HOP]


async def exchange(
    client: Wire, lane: Lane, request: bytes, answer: bytes, method: str = "GET"
) -> tuple[Message, Message]:
    """Send a request and a response. Return both as the other side received them."""
    await client.send(request)
    served = await lane.upstream.accept()
    seen = await served.request()
    await served.send(answer)
    return seen, await client.answer(method)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_request_fields_keep_their_order_case_and_duplicates(client: Wire, lane: Lane) -> None:
    lines = (
        "aCCept: text/plain;q=0.5",
        "X-Many: 1",
        "accept-ENCODING: gzip, br",
        "x-many: 2",
        "X-Empty:",
        "Cookie: a=1; b=2",
        "User-Agent:   spaced   inside   ",
        "cookie: c=3",
        "X-Many: 1",
        "Accept: */*",
        'If-None-Match: W/"a", "b"',
        "Cache-Control: no-cache",
        "X-Latin: caf\xe9",
    )
    seen, _ = await exchange(client, lane, lane.request("GET", "/sites/shop/x", *lines), OK)
    expected = [(b"Host", b"data.example")]
    for line in lines:
        name, _, value = line.partition(":")
        expected.append((name.encode(), value.strip().encode("latin-1")))
    assert sent_by_client(seen) == expected


async def test_response_fields_keep_their_order_case_and_duplicates(client: Wire, lane: Lane) -> None:
    head = (
        b"HTTP/1.1 203 Quite Fine\r\nserver: Old/1.0\r\nSet-Cookie: a=1\r\nDATE: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"set-cookie: b=2\r\nX-Empty:\r\nVary: a\r\nvary: b\r\nSet-Cookie: a=3\r\nX-Latin: caf\xe9\r\n"
        b"Content-Length: 2\r\n\r\n"
    )
    _, answer = await exchange(client, lane, lane.request("GET", "/sites/shop/x"), head + b"ok")
    kept = [(name, value) for name, value in answer.fields if name.lower() != b"x-request-id"]
    assert kept == Message(head).fields
    assert answer.start == b"HTTP/1.1 203 Quite Fine"


async def test_no_date_or_server_is_added_to_a_response(client: Wire, lane: Lane) -> None:
    _, answer = await exchange(client, lane, lane.request("GET", "/sites/shop/x"), OK)
    assert [answer.all(name) for name in ("Date", "Server", "Via", "Content-Type")] == [[], [], [], []]


@pytest.mark.parametrize(
    "rest",
    [
        "/sites/shop/",
        "/sites/shop/%7Etilde/%e2%82%ac/%E2%82%AC",
        "/sites/shop/a%2Fb%2fc",
        "/sites/shop/!$&'()*+,=:@-._~",
        "/sites/shop/x?",
        "/sites/shop/x?&&a=&=b&c",
        "/sites/shop/x?q=a%0Ab%5Cc%00d+e%20f",
        '/sites/shop/x?q={job="a"}|[1]^`',
        "/sites/shop/x?url=https://example.com/a?b=c/../d",
        "/sites/shop/x?a=%zz",
        "/sites/%73hop/x",
    ],
)
async def test_the_target_is_forwarded_byte_for_byte(client: Wire, lane: Lane, rest: str) -> None:
    seen, answer = await exchange(client, lane, lane.request("GET", rest), OK)
    assert (seen.target, answer.status) == (lane.target(rest).encode(), 200)


@pytest.mark.parametrize("method", OTHER_METHODS)
async def test_methods_are_forwarded(client: Wire, lane: Lane, method: str) -> None:
    seen, answer = await exchange(client, lane, lane.request(method, "/sites/shop/x"), OK)
    assert (seen.start.split()[0], answer.body) == (method.encode(), b"ok")


@pytest.mark.parametrize("reason", [b"Fine", b"", b"Tr\xc3\xa8s bien", b"All\tright (really!)", b"\xa0"])
async def test_a_reason_phrase_is_forwarded(client: Wire, lane: Lane, reason: bytes) -> None:
    head = b"HTTP/1.1 200 " + reason
    _, answer = await exchange(
        client, lane, lane.request("GET", "/sites/shop/x"), head + b"\r\nContent-Length: 2\r\n\r\nok"
    )
    assert answer.start == head


@pytest.mark.parametrize("method", ["LIST", "PROPFIND"])
async def test_a_request_with_an_unusual_method_and_a_body_can_be_followed_by_another(
    client: Wire, lane: Lane, method: str
) -> None:
    service = Answering()
    lane.upstream.handler = service
    await client.send(
        lane.request(method, "/sites/shop/1", "Content-Length: 5", body=b"hello")
        + lane.request(method, "/sites/shop/2", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n")
        + lane.request(method, "/sites/shop/3")
    )
    assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
    assert [request.body for request in service.requests] == [b"hello", b"ok", b""]
    assert {request.start.split()[0] for request in service.requests} == {method.encode()}
    assert len(lane.upstream.connections) == 3, "servers may not read a body of such a request"


async def test_a_method_that_the_route_does_not_list_is_refused(client: Wire, lane: Lane) -> None:
    lane.upstream.handler = Answering()
    await client.send(lane.keyless("COPY", "/sites/shop/x") + lane.request("GET", "/sites/shop/x"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.one("Allow") == b", ".join(method.encode() for method in ["GET", "HEAD", *OTHER_METHODS])
    assert (await client.answer()).status == 200, "the connection can still be used"


async def test_a_response_to_head_has_a_length_and_no_body(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("HEAD", "/sites/shop/x"))
    await served.send(b'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: "a"\r\n\r\n')
    answer = await client.answer("HEAD")
    assert (answer.status, answer.one("Content-Length"), answer.one("ETag")) == (200, b"1234", b'"a"')
    # The same connections serve the next exchange.
    await client.send(lane.request("GET", "/sites/shop/x"))
    await served.head()
    await served.send(OK)
    assert (await client.answer()).body == b"ok"


async def test_a_response_to_head_may_announce_chunks(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("HEAD", "/sites/shop/x"))
    await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (await client.answer("HEAD")).status == 200
    await client.send(lane.request("GET", "/sites/shop/x"))
    seen = served if await until_bytes(served) else await lane.upstream.accept()
    await seen.head()
    await seen.send(OK)
    assert (await client.answer()).body == b"ok"


async def until_bytes(wire: Wire) -> bool:
    """Wait until a pooled connection is used again (True) or closed (False)."""
    before = len(wire.received)
    async with asyncio.timeout(10):
        while len(wire.received) == before:
            if not await wire.more():
                return False
    return True


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 500\r\n\r\n',
        b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["204", "304-with-length", "304", "200-empty"],
)
async def test_connections_stay_usable_after_responses_without_a_body(client: Wire, lane: Lane, head: bytes) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x"))
    await served.send(head)
    answer = await client.answer()
    assert [field for field in answer.fields if field[0] != b"X-Request-Id"] == Message(head).fields
    await client.send(lane.request("GET", "/sites/shop/y"))
    assert (await served.head()).target == lane.target("/sites/shop/y").encode()
    await served.send(OK)
    assert (await client.answer()).body == b"ok"


async def test_range_requests_are_forwarded(client: Wire, lane: Lane) -> None:
    request = lane.request("GET", "/sites/shop/x", "Range: bytes=2-4", 'If-Range: "v1"')
    partial = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234"
    seen, answer = await exchange(client, lane, request, partial)
    assert (seen.one("Range"), seen.one("If-Range")) == (b"bytes=2-4", b'"v1"')
    assert (answer.status, answer.one("Content-Range"), answer.body) == (206, b"bytes 2-4/10", b"234")


async def test_a_compressed_body_is_not_changed(client: Wire, lane: Lane) -> None:
    body = gzip.compress(b"rows " * 500)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    _, answer = await exchange(client, lane, lane.request("GET", "/sites/shop/x"), head + body)
    assert (answer.body, answer.one("Content-Encoding")) == (body, b"gzip")


async def test_interim_responses_arrive_in_order_before_the_final_one(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x"))
    await served.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert (await client.answer()).status == 102
    await served.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b>\r\n\r\n")
    hints = await client.answer()
    assert (hints.status, hints.all("Link")) == (103, [b"</a.css>; rel=preload", b"</b>"])
    await served.send(OK)
    assert (await client.answer()).body == b"ok"


async def test_an_http_1_0_client_gets_no_interim_response(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", version="1.0"))
    await served.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
    assert (await client.answer()).status == 200


async def test_100_continue_arrives_only_after_the_decision(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("POST", "/sites/shop/x", "Expect: 100-continue", "Content-Length: 5"))
    served = await lane.upstream.accept()
    seen = await served.head()
    if seen.one("Expect"):
        await served.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (await client.answer("POST")).status == 100
    await client.send(b"hello")
    assert await served.read_exactly(5) == b"hello"
    await served.send(OK)
    assert (await client.answer("POST")).status == 200


async def test_a_refused_request_gets_no_100_continue(client: Wire, lane: Lane) -> None:
    refused = lane.request("POST", "/sites/blog/x", "Expect: 100-continue", "Content-Length: 5")
    await client.send(refused)
    answer = await client.answer("POST")
    assert (answer.status, answer.code) == (403, "site_not_allowed")
    assert lane.upstream.untouched


async def test_an_upstream_may_refuse_the_body(client: Wire, lane: Lane) -> None:
    served = await open_exchange(
        client, lane.upstream, lane.request("POST", "/sites/shop/x", "Expect: 100-continue", "Content-Length: 5")
    )
    await served.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    answer = await client.answer("POST")
    while answer.status == 100:
        answer = await client.answer("POST")
    assert (answer.status, answer.body) == (413, b"big")


async def test_an_early_response_reaches_a_client_that_is_still_sending(client: Wire, lane: Lane) -> None:
    served = await open_exchange(
        client, lane.upstream, lane.request("POST", "/sites/shop/x", "Content-Length: 1000000") + b"x" * 1000
    )
    await served.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    answer = await client.answer("POST")
    assert (answer.status, answer.body) == (413, b"big")


async def test_response_trailers_are_forwarded(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", "TE: trailers"))
    await served.send(
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-Sum: abc\r\nx-other: d\r\n\r\n"
    )
    answer = await client.answer()
    assert (answer.body, answer.trailers) == (b"hello", [(b"X-Sum", b"abc"), (b"x-other", b"d")])


async def test_response_trailers_that_set_state_are_dropped(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", "TE: trailers"))
    await served.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
        b"Content-Length: 1\r\nSet-Cookie: a=b\r\nServer-Timing: db;dur=5\r\n"
        b"transfer-encoding: gzip\r\ngrpc-status: 0\r\n\r\n"
    )
    answer = await client.answer()
    assert (answer.body, answer.trailers) == (b"hello", [(b"Server-Timing", b"db;dur=5"), (b"grpc-status", b"0")])


async def test_request_trailers_are_dropped(client: Wire, lane: Lane) -> None:
    await client.send(
        lane.request("POST", "/sites/shop/x", "Transfer-Encoding: chunked", "Trailer: X-Api-User-Id")
        + b"5\r\nhello\r\n0\r\nX-Api-User-Id: forged\r\nX-Site: blog\r\n\r\n"
    )
    served = await lane.upstream.accept()
    seen = await served.request()
    assert (seen.body, seen.trailers, b"forged" in served.received) == (b"hello", [], False)
    await served.send(OK)
    assert (await client.answer("POST")).status == 200


async def test_chunk_sizes_are_normalized(client: Wire, lane: Lane) -> None:
    await client.send(
        lane.request("POST", "/sites/shop/x", "Transfer-Encoding: chunked")
        + b"0000a\r\n0123456789\r\n5\r\nhello\r\n000\r\n\r\n"
    )
    served = await lane.upstream.accept()
    seen = await served.request()
    assert seen.body == b"0123456789hello"
    assert b"0000a" not in served.received
    await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n003\r\nabc\r\n00\r\n\r\n")
    answer = await client.answer("POST")
    assert answer.body == b"abc"
    assert b"003" not in client.received


@pytest.mark.parametrize("keep_alive", [False, True])
async def test_an_http_1_0_client_gets_no_chunks(client: Wire, lane: Lane, keep_alive: bool) -> None:
    lines = ("Connection: keep-alive",) if keep_alive else ()
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", *lines, version="1.0"))
    await served.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n"
    )
    answer = await client.answer()
    assert (answer.all("Transfer-Encoding"), answer.body) == ([], b"hello world")


async def test_an_http_1_0_connection_stays_open_only_on_request(client: Wire, lane: Lane) -> None:
    served = await open_exchange(
        client, lane.upstream, lane.request("GET", "/sites/shop/x", "Connection: keep-alive", version="1.0")
    )
    await served.send(OK)
    first = await client.answer()
    assert (first.body, (first.one("Connection") or b"").lower()) == (b"ok", b"keep-alive")
    await client.send(lane.request("GET", "/sites/shop/x", version="1.0"))
    await served.head()
    await served.send(OK)
    assert (await client.answer()).body == b"ok"
    assert await client.closed()


async def test_connection_close_from_a_client_closes_its_connection(client: Wire, lane: Lane) -> None:
    _, answer = await exchange(client, lane, lane.request("GET", "/sites/shop/x", "Connection: close"), OK)
    assert (answer.body, answer.one("Connection")) == (b"ok", b"close")
    assert await client.closed()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_response_that_ends_with_its_connection_arrives_completely(
    client: Wire, lane: Lane, version: bytes
) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x"))
    await served.send(b"HTTP/%b 200 OK\r\nConnection: close\r\n\r\nall of" % version)
    await served.send(b" it")
    await served.close()
    assert (await client.answer()).body == b"all of it"


async def test_the_first_event_arrives_before_the_stream_ends(client: Wire, lane: Lane) -> None:
    served = await open_exchange(
        client, lane.upstream, lane.request("GET", "/sites/shop/events", "Accept: text/event-stream")
    )
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (await client.head()).one("Content-Type") == b"text/event-stream"
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        await served.send(b"%x\r\n%b\r\n" % (len(event), event))
        assert event in await client.read_until(event + b"\r\n")
    await served.send(b"0\r\n\r\n")
    assert await client.read_until(b"0\r\n\r\n")


async def test_a_slow_upload_arrives_piece_by_piece(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("POST", "/sites/shop/x", "Content-Length: 6"))
    for piece in (b"ab", b"cd", b"ef"):
        await client.send(piece)
        assert await served.read_exactly(2) == piece
    await served.send(OK)
    assert (await client.answer("POST")).status == 200


@pytest.mark.slow
async def test_an_event_arrives_after_ninety_quiet_seconds(bench: Bench, lane: Lane) -> None:
    async with connect(bench.latch.address) as client:
        served = await open_exchange(
            client, lane.upstream, lane.request("GET", "/sites/shop/events", "Accept: text/event-stream")
        )
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        await asyncio.sleep(90)
        await served.send(b"9\r\ndata: 1\n\n\r\n")
        assert b"data: 1\n\n" in await client.read_until(b"data: 1\n\n")


async def test_several_requests_share_a_connection_on_both_sides(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "/sites/shop/0"))
    served = await lane.upstream.accept()
    for number in range(5):
        assert (await served.head()).target.endswith(b"/%d" % number)
        await served.send(OK)
        assert (await client.answer()).body == b"ok"
        await client.send(lane.request("GET", f"/sites/shop/{number + 1}"))
    await served.head()
    await served.send(OK)
    await client.answer()
    assert len(lane.upstream.connections) == 1
