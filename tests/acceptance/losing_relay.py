"""A relay between Sitelatch and its database that can lose the answers to writes of usage."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.acceptance.wire import until

_EXECUTE = b"E\0\0\0\t\0"
"""The message that executes a statement. The driver sends it in one packet with the statement's text."""

_READY = b"Z\0\0\0\5I"
"""The end of the answer to a statement whose transaction is complete."""


class LosingRelay:
    """Relays a TCP port. If `to_lose` is not 0, it loses as many answers to writes of usage, by closing connections.

    The statement reaches the database, which commits it.
    """

    def __init__(self, database_port: int) -> None:
        self._database_port = database_port
        self.to_lose = 0
        self.lost = 0
        """How many answers were lost."""
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._database_port)
        except OSError:
            to_client.close()
            return
        doomed = asyncio.Event()
        self._open |= {to_client, to_server}
        await asyncio.gather(
            self._forward_statements(client, to_server, doomed),
            self._forward_answers(server, to_client, doomed),
            return_exceptions=True,
        )
        self._open -= {to_client, to_server}

    async def close(self) -> None:
        """Close all connections."""
        for writer in self._open:
            writer.close()
        await until(lambda: not self._open, "the connections are closed")

    async def _forward_statements(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        try:
            while data := await client.read(1 << 20):
                if self.to_lose and b"usage_writers" in data and _EXECUTE in data:
                    self.to_lose -= 1
                    doomed.set()
                to_server.write(data)
        finally:
            to_server.close()

    async def _forward_answers(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        answer = b""
        try:
            while data := await server.read(1 << 20):
                if not doomed.is_set():
                    to_client.write(data)
                    continue
                answer += data
                if answer.endswith(_READY):
                    self.lost += answer[:1] != b"E"
                    return
        finally:
            to_client.close()


@contextlib.asynccontextmanager
async def losing_relay(database_port: int) -> AsyncIterator[LosingRelay]:
    """Run a relay to a port of this machine."""
    relay = LosingRelay(database_port)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0, limit=1 << 20)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.close()
