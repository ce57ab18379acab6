"""The probes and the metrics endpoint, over a real socket."""

from pytest_aiohttp.plugin import AiohttpClient

from proxy.observe.metrics import Metrics
from proxy.observe.ops import ops_app


async def test_readyz_gives_details_and_livez_always_succeeds(aiohttp_client: AiohttpClient) -> None:
    state: tuple[bool, dict[str, str]] = (False, {"database": "never reached"})
    client = await aiohttp_client(ops_app(Metrics(), lambda: state))
    assert (await client.get("/livez")).status == 200

    answer = await client.get("/readyz")
    assert answer.status == 503
    assert await answer.json() == {"status": "not ready", "database": "never reached"}

    state = (True, {"database": "down"})
    answer = await client.get("/readyz")
    assert answer.status == 200
    assert await answer.json() == {"status": "ready", "database": "down"}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_metrics_are_served_as_prometheus_text(aiohttp_client: AiohttpClient) -> None:
    metrics = Metrics()
    metrics.lookup("hit")
    answer = await (await aiohttp_client(ops_app(metrics, lambda: (True, {})))).get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'sitelatch_grant_lookups_total{result="hit"} 1.0' in await answer.text()
