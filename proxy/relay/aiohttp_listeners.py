"""Listeners of aiohttp applications: the admin API, the operations endpoints, and the sample data API.

Commands that only parse addresses do not import this module, because importing aiohttp takes long.
"""

import asyncio
import socket

from aiohttp import web

from proxy.relay.listeners import BACKLOG, bind_sockets
from proxy.settings import ListenSettings


async def start_listening(runner: web.BaseRunner, settings: ListenSettings) -> None:
    """Listen with aiohttp. Raises the errors of `bind_sockets`."""
    for sock in bind_sockets(settings):
        kind = _UnixSocketSite if sock.family == socket.AF_UNIX else web.SockSite
        await kind(runner, sock, backlog=BACKLOG).start()


class _UnixSocketSite(web.BaseSite):
    """Listens on a bound unix socket. With uvloop, aiohttp's SockSite takes only TCP sockets."""

    def __init__(self, runner: web.BaseRunner, sock: socket.socket, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._sock = sock

    @property
    def name(self) -> str:
        return f"unix:{self._sock.getsockname()}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None  # noqa: S101 - `BaseSite` checks it
        self._server = await asyncio.get_running_loop().create_unix_server(
            server, sock=self._sock, backlog=self._backlog
        )

    async def stop(self) -> None:
        await super().stop()
        self._sock.close()
