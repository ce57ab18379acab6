"""Measures the cost of an exchange without sockets: `python -m bench.exchanges` prints instructions and microseconds.

Callgrind counts the instructions, with a fixed hash seed, so two commits can be compared even on a busy machine. The
time is the shortest of many runs. Needs valgrind. `--record` adds the figures to bench/HISTORY.md.
"""

import asyncio
import gc
import subprocess
import sys
import time
from typing import Any, Literal

from bench import history
from bench.driver import Driver, Setup
from bench.instructions import REFERENCE, Count, Request, count
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


_TARGET = b"/api/sites/shop/events?from=2026-01-01&limit=100"
_GET = b"GET " + _TARGET
_KEY = new_key()
_CURL = _request(_GET, _KEY, b"User-Agent: curl/8.5.0\r\nAccept: */*\r\n")
_POST = _request(b"POST " + _TARGET, _KEY, _JSON + b"Content-Length: 2\r\n", b"{}")

_CASES = {
    "GET": ("quiet", _CURL, _RESPONSE),
    "GET, logged": ("logged", _CURL, _RESPONSE),
    "GET, browser": ("quiet", _request(_GET, _KEY, _BROWSER_FIELDS), _RESPONSE),
    "GET, CORS": ("cors", _request(_GET, _KEY, _BROWSER_FIELDS), _RESPONSE),
    "GET, chunked": ("quiet", _request(_GET, _KEY, b"Accept: */*\r\n"), _CHUNKED_RESPONSE),
    "POST": ("quiet", _POST, _RESPONSE),
    "no key": ("quiet", _GET + b" HTTP/1.1\r\nHost: data.example\r\nAccept: */*\r\n\r\n", _RESPONSE),
    "other site": ("quiet", _request(b"GET /api/sites/blog/events", _KEY), _RESPONSE),
}
"""The setup, the request and the response of each measured exchange, keyed by name."""

_ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9000", "sites": ["path:/api/sites/{site}/**"]}


def _setup(access_log: Literal["all", "off"] = "off", **options: Any) -> Setup:
    sites = {"shop": "acme", "blog": "acme"}
    return Setup({"routes": [_ROUTE | options]}, known={_KEY: {"sites": ["shop"]}}, sites=sites, access_log=access_log)


_SETUPS = {
    "quiet": _setup(),
    "logged": _setup("all"),
    "cors": _setup(cors={"origins": ["https://app.example"]}),
}
"""Without the access log, with it, and with CORS."""


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


def measure() -> tuple[int, dict[str, Count]]:
    """Count the instructions of the reference, and of each exchange, keyed by name."""
    introduction = next(iter(_CASES.values()))[1]
    requests = [Request(setup, request, True, response, introduction) for setup, request, response in _CASES.values()]
    reference, *counts = count(_SETUPS, [REFERENCE, *requests])
    return reference.instructions, dict(zip(_CASES, counts, strict=True))


def main() -> None:
    """Print a line for each measured exchange. With `--record`, add the figures to the history."""
    reference, counts = measure()
    introduction = next(iter(_CASES.values()))[1]
    times = {}
    print(f"{'exchange':<26}{'status':>8}{'instructions':>14}{'us':>8}")
    for name, (setup, request, response) in _CASES.items():
        times[name] = asyncio.run(_microseconds(_SETUPS[setup], introduction, request, response))
        print(f"{name:<26}{counts[name].code:>8}{counts[name].instructions:>14,}{times[name]:>8.1f}")
    if sys.argv[1:2] == ["--record"]:
        git = subprocess.run(["git", "log", "-1", "--format=%s"], capture_output=True, text=True, check=True)
        history.append(git.stdout.strip(), reference, counts, times)


if __name__ == "__main__":
    main()
