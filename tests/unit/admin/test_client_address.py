"""The peer address of requests to the internal listeners."""

import asyncio
import socket
import struct
import tempfile

import uvloop
from aiohttp import ClientSession, UnixConnector, web

from admin.identity.client_address import peer_of
from admin.internal_listeners import InternalRunner

REQUESTS = 20
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_closed_connection_is_not_mistaken_for_a_unix_socket() -> None:
    """Otherwise, a client that resets its connection would be trusted wherever `unix` is trusted."""
    seen: list[str] = []
    all_seen = asyncio.Event()

    async def note(request: web.Request) -> web.Response:
        seen.append(peer_of(request))
        if len(seen) == REQUESTS:
            all_seen.set()
        return web.Response()

    async def reset_at_once() -> None:
        app = web.Application()
        app.router.add_get("/", note)
        runner = InternalRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        for _ in range(REQUESTS):
            client = socket.create_connection(runner.addresses[0])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(HEAD)
            client.close()
        async with asyncio.timeout(10):
            await all_seen.wait()
        await runner.cleanup()

    # With uvloop, as in `serve`: it asks the socket each time, but asyncio's own loop remembers the peer.
    uvloop.run(reset_at_once())
    assert set(seen) <= {"127.0.0.1", "gone"}


async def test_the_peer_of_a_unix_socket_is_shown_as_unix() -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(text=peer_of(request))

    app = web.Application()
    app.router.add_get("/", respond)
    runner = InternalRunner(app)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:  # pytest's temporary paths can be too long for a socket
        path = f"{folder}/admin.sock"
        await web.UnixSite(runner, path).start()
        async with ClientSession(connector=UnixConnector(path)) as session, session.get("http://x/") as response:
            assert await response.text() == "unix"
        await runner.cleanup()
