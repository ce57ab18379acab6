"""The data API behind nginx, HAProxy and Caddy, which reports the request that the proxy server forwarded.

The proxy server reports the values that it read itself in headers: `X-Seen-Query-…` for the query, and `X-Seen-Path-…`
for the path. Raw values are decoded once, as an application would. `X-Seen-Query-Joined` contains decoded values,
joined by commas. `/rest.php?site=…` is a rewritten site path.
"""

import asyncio
import sys
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_plus

from report import endpoint_of, report

_HEAD_BYTES = 1 << 20


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            fields = [
                (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)
            ]
            await _skip_body(reader, dict(fields))
            content = _report(method, target, fields)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
            )
            writer.write(b"" if method == "HEAD" else content)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def _skip_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> None:
    if "chunked" in fields.get("transfer-encoding", ""):
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif length := int(fields.get("content-length", "0")):
        await reader.readexactly(length)


def _report(method: str, target: str, fields: list[tuple[str, str]]) -> bytes:
    path, _, query = target.partition("?")
    values = parse_qs(query, keep_blank_values=True, encoding="latin-1").get("site", [])
    reads: list[tuple[str, str, list[Any]]] = []
    if path == "/rest.php":
        endpoint, site = "site", (values or [None])[-1]
        reads.append(("path", "rewritten to rest.php?site=", values))
    else:
        endpoint, site = endpoint_of(unquote(path))
        reads.append(("query", "parse_qs", values))
    sites = [value for name, value in fields if name == "x-site"]
    reads.append(("header", "X-Site", sites))
    request_id = None
    for name, value in fields:
        if name == "x-request-id":
            request_id = value
        elif name == "x-seen-query-joined":
            reads.append(("query", name, value.split(",")))
        elif name.startswith("x-seen-query-"):
            reads.append(("query", name, [unquote_plus(value)] if value else []))
        elif name.startswith("x-seen-path-"):
            reads.append(("path", name, [unquote(value)] if value else []))
    seen = {name for name, _ in fields}
    reads += [(name.split("-")[2], name, []) for name in sys.argv[2:] if name not in seen]
    return report(endpoint, site, method, request_id, reads, target=target)


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", int(sys.argv[1]), limit=_HEAD_BYTES)
    await server.serve_forever()


asyncio.run(_main())
