"""Probes and metrics for operators: /livez, /readyz, /metrics."""

from collections.abc import Callable

from aiohttp import web

from proxy.observe.metrics import Metrics

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def ops_app(metrics: Metrics, readiness: Callable[[], tuple[bool, dict[str, str]]]) -> web.Application:
    """Return the application.

    `readiness` returns whether this process should get requests, and details such as `{"database": "down"}`.
    """

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "live"}, headers={"Cache-Control": "no-store"})

    async def ready(_: web.Request) -> web.Response:
        is_ready, details = readiness()
        return web.json_response(
            {"status": "ready" if is_ready else "not ready", **details},
            status=200 if is_ready else 503,
            headers={"Cache-Control": "no-store"},
        )

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.router.add_get("/livez", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", scrape)
    return app
