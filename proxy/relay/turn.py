"""Handles the bytes that arrive in one turn of the event loop together.

With many busy connections, one turn reads from many sockets. Reading from all of them, then handling all the bytes, and
then writing to all sockets takes less CPU time than doing all three for one socket after the other, because the
kernel's code and Python's displace each other from the processor's caches less often.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

LARGE_READ: Final = 65536
"""Bytes of at least this size are handled at once. They gain nothing from waiting, and after a read that fills its
buffer, uvloop reads from the same socket again, up to 32 times, unless the connection pauses it."""


class Receiving(Protocol):
    """A connection whose bytes are handled together with those of others."""

    transport: asyncio.Transport

    @property
    def handle(self) -> Callable[[bytes], None]:
        """A function that handles bytes from the socket."""


class Turn:
    """The bytes that have arrived in the current turn of the event loop, and are not handled yet."""

    __slots__ = ("from_clients", "from_upstreams", "now", "scheduled", "writes")

    def __init__(self) -> None:
        self.from_clients: deque[tuple[Receiving, bytes]] = deque()
        self.from_upstreams: deque[tuple[Receiving, bytes]] = deque()
        self.scheduled = False
        """Whether `end` will be called. Whoever appends bytes calls `schedule` unless this is set, or `end` after a
        LARGE_READ."""
        self.now = 0.0
        """The event loop's time in seconds when `end` began. uvloop's time does not change within a turn."""
        self.writes: list[tuple[asyncio.Transport, bytes]] = []
        """What plain exchanges write. Nothing else may be written to one of these transports before that."""

    def schedule(self) -> None:
        """Call `end` once the event loop has read from all sockets."""
        self.scheduled = True
        asyncio.get_running_loop().call_soon(self.end)

    def end(self) -> None:
        """Handle everything that has arrived. Responses come first, because they make upstream connections free. Hot.

        Call it before anything that must not overtake bytes that have arrived, such as the end of a connection.
        """
        self.scheduled = False
        self.now = asyncio.get_running_loop().time()
        _handle(self.from_upstreams)
        self.write()
        _handle(self.from_clients)
        self.write()

    def write(self) -> None:
        """Write what has been collected. Hot."""
        writes, self.writes = self.writes, []
        for transport, data in writes:
            try:
                if not transport.is_closing():
                    transport.write(data)
            except Exception as error:
                _fail(transport, error)


def _handle(arrived: deque[tuple[Receiving, bytes]]) -> None:
    while arrived:
        connection, data = arrived.popleft()
        try:
            connection.handle(data)
        except Exception as error:
            _fail(connection.transport, error)


def _fail(transport: asyncio.Transport, error: Exception) -> None:
    """Report an error and abort its connection, as event loops do. The others of the turn continue."""
    context = {"message": "relaying bytes failed", "exception": error, "transport": transport}
    asyncio.get_running_loop().call_exception_handler(context)
    transport.abort()
