"""The bytes of one turn of the event loop are handled together, in the right order."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.driver import MemoryTransport, Visit
from proxy.relay.turn import Turn
from tests.unit.relay.visits import KEY, KEYLESS, visit

__all__ = ["visit"]

GET = b"GET /api/sites/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Connection:
    """Records the bytes that it handles."""

    def __init__(self, handled: list[bytes], error: Exception | None = None) -> None:
        self.transport: asyncio.Transport = MemoryTransport()
        self._handled = handled
        self._error = error

    @property
    def handle(self) -> Callable[[bytes], None]:
        if self._error is not None:
            raise self._error
        return self._handled.append


async def test_responses_are_handled_before_requests() -> None:
    turn, handled = Turn(), list[bytes]()
    turn.from_clients.append((Connection(handled), b"request"))
    turn.from_upstreams.append((Connection(handled), b"response"))
    turn.schedule()
    assert handled == []
    await asyncio.sleep(0)
    assert handled == [b"response", b"request"]
    assert not turn.scheduled


async def test_an_error_in_one_connection_aborts_it_and_leaves_the_others_alone() -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    turn, handled = Turn(), list[bytes]()
    error = RuntimeError()
    broken = Connection(handled, error)
    turn.from_clients += [(broken, b"a"), (Connection(handled), b"b")]
    turn.end()
    assert handled == [b"b"]
    assert broken.transport.is_closing()
    assert [context["exception"] for context in unhandled] == [error]


async def test_a_large_read_is_handled_before_the_socket_is_read_again(visit: Visit) -> None:
    """Otherwise, a client could send many megabytes before its connection is paused."""
    visit.downstream.data_received((KEYLESS * 10_000)[:256_000])
    assert visit.downstream.paused


async def test_a_large_read_from_an_upstream_reaches_the_client_before_the_socket_is_read_again(visit: Visit) -> None:
    visit.downstream.handle(GET)
    upstream = visit.downstream.upstream
    assert upstream is not None
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(200_000))
    assert visit.client.written.endswith(bytes(200_000))


async def test_the_end_of_a_connection_does_not_overtake_its_request(visit: Visit) -> None:
    visit.downstream.data_received(KEYLESS)
    assert not visit.downstream.eof_received()
    assert visit.client.written.startswith(b"HTTP/1.1 401")


async def test_the_end_of_an_upstream_connection_does_not_overtake_its_response(visit: Visit) -> None:
    visit.downstream.handle(GET)
    upstream = visit.downstream.upstream
    assert upstream is not None
    upstream.data_received(OK)
    upstream.connection_lost(ConnectionResetError())
    assert visit.client.written.endswith(b"ok")


async def test_bytes_on_an_idle_upstream_connection_do_not_answer_a_request_of_the_same_turn(visit: Visit) -> None:
    visit.downstream.handle(GET)
    upstream = visit.downstream.upstream
    assert upstream is not None
    upstream.handle(OK)
    visit.downstream.data_received(GET)
    upstream.data_received(OK)
    await asyncio.sleep(0)
    assert upstream.transport.is_closing()
    assert visit.client.written.count(b"ok") == 1


@pytest.mark.parametrize("check", [lambda visit: visit.downstream.drain(), lambda visit: visit.downstream.sweep(1e9)])
async def test_a_connection_with_a_request_that_has_just_arrived_is_not_closed_as_idle(
    visit: Visit, check: Callable[[Visit], None]
) -> None:
    visit.downstream.data_received(KEYLESS)
    check(visit)
    assert visit.client.written.startswith(b"HTTP/1.1 401")


async def test_plain_exchanges_are_written_after_all_bytes_are_handled() -> None:
    turn, transport, seen = Turn(), MemoryTransport(), list[bytes]()

    class Relaying(Connection):
        @property
        def handle(self) -> Callable[[bytes], None]:
            def relay(data: bytes) -> None:
                turn.writes.append((transport, data))
                seen.append(transport.written)

            return relay

    turn.from_clients += [(Relaying([]), b"a"), (Relaying([]), b"b")]
    turn.end()
    assert seen == [b"", b""]
    assert transport.written == b"ab"


async def test_nothing_is_written_to_a_connection_that_has_closed_in_the_same_turn() -> None:
    turn, transport = Turn(), MemoryTransport()
    turn.writes.append((transport, b"a"))
    transport.close()
    turn.end()
    assert transport.written == b""


async def test_two_reads_from_a_client_in_one_turn_are_answered_in_order(visit: Visit) -> None:
    visit.downstream.data_received(GET)
    visit.downstream.data_received(KEYLESS)
    await asyncio.sleep(0)
    [upstream] = visit.upstreams
    assert upstream.written.startswith(b"GET /api/sites/shop/x HTTP/1.1\r\n")
    connection = visit.downstream.upstream
    assert connection is not None
    connection.data_received(OK)
    await asyncio.sleep(0)
    assert [answer[:3] for answer in visit.client.written.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401"]


async def test_an_error_while_writing_to_one_connection_leaves_the_others_alone() -> None:
    class Broken(MemoryTransport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            raise RuntimeError

    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    turn, broken, transport = Turn(), Broken(), MemoryTransport()
    turn.writes += [(broken, b"a"), (transport, b"b")]
    turn.end()
    assert transport.written == b"b"
    assert broken.is_closing()
    assert len(unhandled) == 1
