"""A fast upstream that answers every request with 1 KiB of JSON: `python -m tests.acceptance.fast_upstream PORT`."""

import asyncio
import sys
from typing import cast

import uvloop

_BODY = b'{"uptime":' + b"1" * 1013 + b"}"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: fast\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class _Responder(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_RESPONSE * data.count(b"\r\n\r\n"))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Responder, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
