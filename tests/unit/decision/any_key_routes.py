"""Routes that admit any key without a site, so that only the comparison of readings can refuse a request."""

from proxy.decision.claim import Claim
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import Refusal, Refused
from proxy.settings import KeySettings, RouteSettings
from tests.unit.judging import read

KEY = b"slk_" + b"A" * 38
HOST = (b"Host", b"api.example.com")


def table(*sites: object, **more: object) -> RouteTable:
    """Return one route that admits any key if no site is named."""
    settings = {"name": "data", "upstream": "http://127.0.0.1:1", "sites": sites, "without_site": "any-key", **more}
    return RouteTable([RouteSettings.model_validate(settings)], KeySettings())


def outcome(routes: RouteTable, target: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Claim | Refusal:
    """Return the claim of a request that carries a key, or the reason for refusing the request."""
    try:
        return read(routes, Head(method, target, [HOST, *fields, (b"X-API-Key", KEY)]))
    except Refused as refused:
        return refused.refusal


PATH = table("path:/api/sites/{site}/**")
TWO = RouteTable(
    [
        RouteSettings(
            name="sites", upstream="http://127.0.0.1:1", path="/api/sites", sites=("path:/api/sites/{site}/**",)
        ),
        RouteSettings(name="rest", upstream="http://127.0.0.1:1", without_site="any-key"),
    ],
    KeySettings(),
)
