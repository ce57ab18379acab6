"""Forwards requests to the upstream, over an idle connection or a new one, with backpressure."""

import asyncio
from collections.abc import Callable

import structlog

from proxy.http.bodies import Pieces, chunk, last_chunk
from proxy.http.head_writer import with_connection_close
from proxy.refusals import INTERNAL_ERROR
from proxy.relay.client import CONNECTING, UPSTREAM_FULL, Client
from proxy.relay.exchange import Exchange
from proxy.relay.receiver import Receiver
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.relay.upstream_pool import UpstreamFailed, UpstreamPool

_log = structlog.get_logger(__name__)

# RFC 9110 §9.2.2. A request with one of these methods may be sent again if a pooled connection turns out to be dead.
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class RequestForwarder:
    """Forwards a client connection's requests. One object serves all exchanges of the connection, one after another."""

    __slots__ = (
        "_client",
        "_clock",
        "_connection",
        "_head",
        "_loop",
        "_pool",
        "_retried",
        "_task",
        "full",
        "last_progress",
    )

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        """`clock` measures durations, because uvloop's own clock has a resolution of only one millisecond."""
        self._client = client
        self._loop = loop
        self._clock = clock
        self._pool: UpstreamPool | None = None
        self._head = b""
        self._retried = False
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self.full = False
        """Whether the upstream takes the request's body more slowly than it arrives."""
        self.last_progress = 0.0
        """When bytes of this exchange were last sent or received, in seconds of the event loop's clock."""

    @property
    def connection(self) -> UpstreamConnection | None:
        """The upstream connection that serves the open exchange."""
        return self._connection

    def wait_for(self, task: asyncio.Task[None] | None) -> None:
        """Cancel `task` if the exchange ends before it is done."""
        self._task = task

    def start(self, exchange: Exchange, pool: UpstreamPool, head: bytes, receiver: Receiver) -> None:
        """Send a request's head: at once over an idle connection, otherwise over a new one."""
        self._pool = pool
        self._head = head
        self._retried = False
        self.full = False
        connection = pool.take(self._loop.time())
        if connection is not None:
            self._send(exchange, connection, receiver)
        else:
            self._connect(exchange, pool, receiver)

    def resume(
        self,
        exchange: Exchange,
        pool: UpstreamPool,
        connection: UpstreamConnection,
        head: bytes,
        receiver: Receiver,
        sent_at: float,
    ) -> None:
        """Continue after the head of a plain request was sent over an idle connection, as if `start` had sent it.

        `sent_at` is in seconds of the event loop's clock.
        """
        self._pool = pool
        self._head = head
        self._retried = False
        self.full = False
        self._connection = connection
        self.last_progress = sent_at
        connection.serve(exchange, receiver)

    def retry(self, exchange: Exchange, receiver: Receiver) -> bool:
        """Send the request once more over a new connection, if that is safe (RFC 9110 §9.2.2)."""
        # A body is not kept once it has been sent. Even an empty body may have been sent as a last chunk.
        if self._retried or self._pool is None or exchange.has_body or exchange.method not in _IDEMPOTENT:
            return False
        self._retried = True
        self._connect(exchange, self._pool, receiver)
        return True

    def _connect(self, exchange: Exchange, pool: UpstreamPool, receiver: Receiver) -> None:
        self._client.hold(CONNECTING)
        self._task = self._loop.create_task(self._open(exchange, pool, receiver))

    async def _open(self, exchange: Exchange, pool: UpstreamPool, receiver: Receiver) -> None:
        try:
            connection = await pool.open(fresh=self._retried)
        except UpstreamFailed as failed:
            self._task = None
            exchange.upstream_error = failed.cause
            exchange.refuse(failed.refusal)
            return
        except Exception:
            _log.exception("connecting to the upstream failed unexpectedly; the request was refused")
            self._task = None
            exchange.refuse(INTERNAL_ERROR)
            return
        self._task = None
        self._send(exchange, connection, receiver)
        self._client.release(CONNECTING)

    def _send(self, exchange: Exchange, connection: UpstreamConnection, receiver: Receiver) -> None:
        self._connection = connection
        exchange.sent_at = self._clock()
        self.last_progress = self._loop.time()
        head = self._head
        if exchange.has_body and not (exchange.may_reuse and connection.reads_bodies):
            # A server that leaves the body unread would parse it as the next request, unless the connection closes.
            exchange.may_reuse = False
            head = with_connection_close(head)
        connection.send(exchange, receiver, head)

    def data(self, exchange: Exchange, pieces: Pieces) -> None:
        """Forward body data of the request."""
        for piece in pieces:
            exchange.bytes_in += len(piece)
        connection = self._connection
        if connection is None:
            return
        self.last_progress = self._loop.time()
        if exchange.hop.chunked:
            pieces = chunk(pieces)
            if exchange.body.done:
                pieces.append(last_chunk([]))  # request trailers are dropped
        if pieces:
            connection.write(pieces)

    def tunnel_data(self, exchange: Exchange, data: bytes) -> None:
        """Forward a client's bytes through a WebSocket connection."""
        exchange.bytes_in += len(data)
        if self._connection is not None:
            self._connection.write([data])

    def upstream_full(self, full: bool) -> None:
        """Stop or continue reading the request's body, depending on how fast the upstream takes it."""
        self.full = full
        if full:
            self._client.hold(UPSTREAM_FULL)
        else:
            self.last_progress = self._loop.time()
            self._client.release(UPSTREAM_FULL)

    def client_full(self, full: bool) -> None:
        """Stop or continue reading the response, depending on how fast the client takes it."""
        connection = self._connection
        if connection is None or connection.transport.is_closing():
            return
        if full:
            connection.transport.pause_reading()
        else:
            connection.transport.resume_reading()

    def forget_connection(self) -> None:
        """Forget the upstream connection, which is lost."""
        self._connection = None

    def complete(self) -> None:
        """Forget the request, whose response is complete. The upstream connection has been returned to its pool."""
        self._connection = None
        self._head = b""  # otherwise each idle client connection would keep one head in memory

    def stop(self, *, finish_sending: bool = False) -> None:
        """Stop waiting, and drop the upstream connection: immediately, or once everything written to it was sent."""
        self._head = b""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            if finish_sending:
                connection.close()
            else:
                connection.drop()
