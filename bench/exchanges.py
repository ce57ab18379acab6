"""Measures the cost of an exchange without sockets: `python -m bench.exchanges` prints instructions and microseconds.

Callgrind counts the instructions, with a fixed hash seed, so two commits can be compared even on a busy machine. The
time is the shortest of many runs. Needs valgrind.
"""

import asyncio
import gc
import time

from bench.driver import Driver, Setup
from bench.instructions import Request, count
from proxy.decision.api_keys import new_key

_RUNS = 20
_EXCHANGES = 500

_BROWSER_FIELDS = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: application/json, text/plain, */*\r\nAccept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://app.example/reports/2026\r\n"
    b"Origin: https://app.example\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\n"
    b"Connection: keep-alive\r\nPriority: u=4\r\nCache-Control: no-cache\r\n"
)
_JSON = b"Content-Type: application/json\r\n"
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nServer: uvicorn\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1024\r\nETag: "5f3a"\r\nVary: Accept-Encoding\r\n\r\n' + b"x" * 1024
)
_CHUNKED_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nServer: uvicorn\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
)


def _request(start: bytes, key: str, fields: bytes = b"", body: bytes = b"") -> bytes:
    return b"%b HTTP/1.1\r\nHost: data.example\r\nX-API-Key: %b\r\n%b\r\n%b" % (start, key.encode(), fields, body)


def _cases(key: str) -> dict[str, tuple[bytes, bytes]]:
    """Return the request and the response of each measured exchange, keyed by name."""
    target = b"/api/sites/shop/events?from=2026-01-01&limit=100"
    get = b"GET " + target
    return {
        "GET, few fields": (_request(get, key, b"User-Agent: curl/8.5.0\r\nAccept: */*\r\n"), _RESPONSE),
        "GET, a browser's fields": (_request(get, key, _BROWSER_FIELDS), _RESPONSE),
        "GET, chunked response": (_request(get, key, b"Accept: */*\r\n"), _CHUNKED_RESPONSE),
        "POST, 2 bytes": (_request(b"POST " + target, key, _JSON + b"Content-Length: 2\r\n", b"{}"), _RESPONSE),
        "refused, no key": (get + b" HTTP/1.1\r\nHost: data.example\r\nAccept: */*\r\n\r\n", _RESPONSE),
        "refused, other site": (_request(b"GET /api/sites/blog/events", key), _RESPONSE),
    }


async def _microseconds(setup: Setup, introduction: bytes, request: bytes, response: bytes) -> float:
    driver = Driver(setup)
    await driver.start()
    visit = driver.connect()
    visit.exchange(introduction, response)
    least = float("inf")
    for _ in range(_RUNS):
        gc.collect()
        began = time.thread_time_ns()
        for _ in range(_EXCHANGES):
            visit.exchange(request, response)
            visit.client.written = b""
        least = min(least, time.thread_time_ns() - began)
    visit.downstream.connection_lost(None)
    await driver.close()
    return least / _EXCHANGES / 1000


def main() -> None:
    """Print a line for each measured exchange."""
    key = new_key()
    routes = [
        {
            "name": "data",
            "upstream": "http://127.0.0.1:9000",
            "sites": ["path:/api/sites/{site}/**"],
            "cors": {"origins": ["https://app.example"]},
        }
    ]
    setup = Setup({"routes": routes}, known={key: {"sites": ["shop"]}}, sites={"shop": "acme", "blog": "acme"})
    cases = _cases(key)
    introduction = next(iter(cases.values()))[0]
    requests = [Request("data", request, True, response, introduction) for request, response in cases.values()]
    counts = count({"data": setup}, requests)
    print(f"{'exchange':<26}{'status':>8}{'instructions':>14}{'us':>8}")
    for (name, case), counted in zip(cases.items(), counts, strict=True):
        microseconds = asyncio.run(_microseconds(setup, introduction, *case))
        print(f"{name:<26}{counted.code:>8}{counted.instructions:>14,}{microseconds:>8.1f}")


if __name__ == "__main__":
    main()
