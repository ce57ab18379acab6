"""A naive aiohttp proxy, for comparison with Sitelatch: `python -m bench.throughput.naive PORT UPSTREAM KEYS`.

It consists of one handler and one ClientSession, and checks only the key, so it does less work than Sitelatch. KEYS is
a file with lines of a key and its site.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "trailer", "x-api-key", "host"}


def _app(upstream: str, keys: frozenset[str]) -> web.Application:
    session_key = web.AppKey("session", ClientSession)

    async def relay(request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-API-Key") not in keys:
            return web.json_response({"error": "invalid key"}, status=401)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        data = request.content if request.can_read_body else None
        async with request.app[session_key].request(
            request.method, upstream + request.raw_path, headers=headers, data=data, allow_redirects=False
        ) as upstream_response:
            kept = {name: value for name, value in upstream_response.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=upstream_response.status, headers=kept)
            await response.prepare(request)
            async for chunk in upstream_response.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            connector=TCPConnector(limit=512), auto_decompress=False, cookie_jar=DummyCookieJar()
        ) as opened:
            app[session_key] = opened
            yield

    app = web.Application(client_max_size=2**40)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", relay)
    return app


if __name__ == "__main__":
    uvloop.install()
    known = frozenset(line.split()[0] for line in Path(sys.argv[3]).read_text().splitlines())
    web.run_app(
        _app(sys.argv[2], known), host="127.0.0.1", port=int(sys.argv[1]), print=lambda *_: None, access_log=None
    )
