"""A wire to the database that a test can cut and mend, without touching the server that other tests use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

_CHUNK = 65536


class Wire:
    """A unix socket that passes everything on to the database's, while it is whole."""

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = urlsplit(dsn)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        socket_name = f".s.PGSQL.{query.get('port', '5432')}"
        self._theirs = str(Path(query["host"]) / socket_name)
        self._ours = folder / socket_name
        rest = "&".join(f"{name}={quote(value)}" for name, value in (query | {"host": str(folder)}).items())
        self.dsn = urlunsplit(parts._replace(query=rest))
        """The database through this wire."""
        self.connections = 0
        """How many were made, ever."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = asyncio.Event()
        self._whole.set()

    async def mend(self) -> None:
        """Take connections, and pass on what was held back."""
        self._whole.set()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._connected, self._ours)

    def freeze(self) -> None:
        """Pass nothing on, and break nothing, as a server that is stopped by SIGSTOP."""
        self._whole.clear()

    def cut_connections(self) -> None:
        """Break what is connected; new connections are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def cut(self) -> None:
        """Break what is connected, and refuse new connections, as a server that is down."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._ours.unlink(missing_ok=True)
        self._whole.set()
        self.cut_connections()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._whole.wait()
            their_reader, their_writer = await asyncio.open_unix_connection(self._theirs)
            self._writers.add(their_writer)
            ways = [
                asyncio.create_task(self._pass_on(reader, their_writer)),
                asyncio.create_task(self._pass_on(their_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            their_writer.close()
            self._writers.discard(their_writer)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def wire_to(dsn: str, folder: Path) -> AsyncIterator[Wire]:
    """Lay a wire to the database, and take it away again."""
    wire = Wire(dsn, folder)
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()
