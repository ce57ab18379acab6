"""A relay to the database that a test can interrupt and restore, without affecting other users of the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

_CHUNK = 65536


class Wire:
    """A Unix socket that relays connections to the database's socket."""

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = urlsplit(dsn)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        socket_name = f".s.PGSQL.{query.get('port', '5432')}"
        self._server_socket = str(Path(query["host"]) / socket_name)
        self._relay_socket = folder / socket_name
        rest = "&".join(f"{name}={quote(value)}" for name, value in (query | {"host": str(folder)}).items())
        self.dsn = urlunsplit(parts._replace(query=rest))
        """The DSN of the database through this relay."""
        self.connections = 0
        """The number of connections accepted so far."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._relaying = asyncio.Event()
        self._relaying.set()

    async def restore(self) -> None:
        """Accept connections again, and relay the data that was held back."""
        self._relaying.set()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._connected, self._relay_socket)

    def freeze(self) -> None:
        """Stop relaying without closing connections, like a server stopped by SIGSTOP."""
        self._relaying.clear()

    def cut_connections(self) -> None:
        """Abort all connections. New connections are still accepted."""
        for writer in self._writers:
            writer.transport.abort()

    async def cut(self) -> None:
        """Abort all connections and refuse new ones, like a server that is down."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._relay_socket.unlink(missing_ok=True)
        self._relaying.set()
        self.cut_connections()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._relaying.wait()
            server_reader, server_writer = await asyncio.open_unix_connection(self._server_socket)
            self._writers.add(server_writer)
            directions = [
                asyncio.create_task(self._relay(reader, server_writer)),
                asyncio.create_task(self._relay(server_reader, writer)),
            ]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()
            server_writer.close()
            self._writers.discard(server_writer)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._relaying.wait()
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def wire_to(dsn: str, folder: Path) -> AsyncIterator[Wire]:
    """Run a relay to the database."""
    wire = Wire(dsn, folder)
    await wire.restore()
    try:
        yield wire
    finally:
        await wire.cut()
