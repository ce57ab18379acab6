"""The service that nginx asks with auth_request: `python -m bench.throughput.auth_service SOCKET KEYS COMMAND…`.

KEYS is a file with lines of a key and its site. COMMAND starts nginx once the service listens.
"""

import asyncio
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiohttp import web

_SITE = re.compile(r"/api/sites/([^/?]+)/")


def _handler(scopes: dict[str, str]) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def authorize(request: web.BaseRequest) -> web.StreamResponse:
        site = scopes.get(request.headers.get("X-API-Key", ""))
        named = _SITE.match(request.headers.get("X-Original-URI", ""))
        if site is None:
            return web.Response(status=401)
        return web.Response(status=204 if named is not None and named[1] == site else 403)

    return authorize


async def _run(socket: str, scopes: dict[str, str], command: list[str]) -> int:
    runner = web.ServerRunner(web.Server(_handler(scopes)))
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    process = await asyncio.create_subprocess_exec(*command)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.terminate)
    return await process.wait()


if __name__ == "__main__":
    keys = dict(line.split() for line in Path(sys.argv[2]).read_text().splitlines())
    sys.exit(uvloop.run(_run(sys.argv[1], keys, sys.argv[3:])))
