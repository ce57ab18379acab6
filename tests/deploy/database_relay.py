"""Relays 127.0.0.1:5432 to a database's unix socket: `python database_relay.py SOCKET`.

The network of the image has no other way to the server, and the image's user may not enter the socket's folder.
"""

import asyncio
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Relay one connection."""
    behind_reader, behind_writer = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer), return_exceptions=True)


async def serve() -> None:
    """Relay connections until the process is killed."""
    server = await asyncio.start_server(relay, "127.0.0.1", 5432)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
