"""The data API of the demo: made-up monitoring data for four sites. It does not check API keys.

`python -m sitelatch.sample_api HOST:PORT` serves it on its own.
"""

import hashlib
import math
import sys
from typing import Any

from aiohttp import web

SITES = {
    "shop": "https://shop.acme.example",
    "blog": "https://blog.acme.example",
    "docs": "https://docs.acme.example",
    "wiki": "https://wiki.globex.example",
}
HOURS = 24


def sample_api() -> web.Application:
    """Return the application, which serves a health check, and the uptime and response times of each site."""
    app = web.Application()
    app.router.add_get("/api/health", _health)
    app.router.add_get("/api/sites/{site}/", _site)
    app.router.add_get("/api/sites/{site}/uptime", _uptime)
    app.router.add_get("/api/sites/{site}/response-times", _response_times)
    app.router.add_get("/api/uptime", _uptime_list)
    return app


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "up"})


async def _site(request: web.Request) -> web.Response:
    site = _check_site(request.match_info["site"])
    return web.json_response({"site": site, "url": SITES[site], "see": ["uptime", "response-times"]})


async def _uptime(request: web.Request) -> web.Response:
    return web.json_response(_uptime_of(_check_site(request.match_info["site"])))


async def _uptime_list(request: web.Request) -> web.Response:
    """Return the uptime of the sites in the query, or of all sites. Sitelatch checks access to them, not this API."""
    return web.json_response([_uptime_of(_check_site(site)) for site in request.query.getall("site", list(SITES))])


async def _response_times(request: web.Request) -> web.Response:
    site = _check_site(request.match_info["site"])
    hours = [{"hour": hour, "milliseconds": _milliseconds(site, hour)} for hour in range(HOURS)]
    return web.json_response({"site": site, "url": SITES[site], "response_times": hours})


def _check_site(site: str) -> str:
    if site not in SITES:
        raise web.HTTPNotFound(text="No such site.\n")
    return site


def _uptime_of(site: str) -> dict[str, Any]:
    return {"site": site, "url": SITES[site], "days": 30, "uptime_percent": 100 - round(_noise(site, 0) * 0.4, 3)}


def _milliseconds(site: str, hour: int) -> int:
    """Return a response time that varies over the day and is the same on every run."""
    return round(120 + 80 * math.sin(math.pi * (hour - 6) / 12) ** 2 + 40 * _noise(site, hour))


def _noise(site: str, number: int) -> float:
    """Return a pseudorandom number from 0 to 1, always the same for a given site and index."""
    return hashlib.sha256(f"{site}/{number}".encode()).digest()[0] / 255


if __name__ == "__main__":
    _host, _, _port = sys.argv[1].rpartition(":")
    web.run_app(sample_api(), host=_host, port=int(_port))
