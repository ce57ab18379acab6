"""One request judged by the whole decision: route options and a grant in, site ids or a refusal's code out."""

from collections.abc import Mapping
from typing import Any

from proxy.decision.decide import Grant, decide
from proxy.decision.routes import RouteTable
from proxy.http.headers import Fields, Head
from proxy.refusals import Refusal, Refused
from proxy.settings import KeySettings, RouteSettings
from tests.scopes import owned

KEY = (b"X-API-Key", b"slk_" + b"A" * 38)
SHOP = Grant("1", "acme", all_sites=False, sites=frozenset({"shop"}))


def selected(*sites: str) -> Grant:
    """Return the grant of a key for these sites."""
    return Grant("1", "acme", all_sites=False, sites=frozenset(sites))


EVERY_SITE = Grant("2", "acme", all_sites=True, sites=frozenset())


def table(*routes: dict[str, Any]) -> RouteTable:
    """Return routes that need a name and an upstream only where a test gives them."""
    given = [{"name": f"r{number}", "upstream": "http://127.0.0.1:1", **route} for number, route in enumerate(routes)]
    return RouteTable([RouteSettings.model_validate(route) for route in given], KeySettings())


def judge(route: dict[str, Any], target: bytes, *fields: tuple[bytes, bytes], **options: Any) -> tuple[str, ...] | str:
    """Return the ids of the sites that the request names and may reach, or the code of its refusal.

    The options are those of `judge_whole`.
    """
    outcome = judge_whole(route, target, *fields, **options)
    return outcome.code if isinstance(outcome, Refusal) else outcome


def judge_whole(
    route: dict[str, Any],
    target: bytes,
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    grant: Grant = SHOP,
    owners: Mapping[str, str | None] | None = None,
    body: bool = False,
    key: bool = True,
    dropped: Fields | None = None,
) -> tuple[str, ...] | Refusal:
    """Return the ids of the sites, or the refusal."""
    head = Head(method, target, [(b"Host", b"h"), *fields, *([KEY] if key else [])], body, dropped or [])
    try:
        claim = table(route).read(head)
        if claim.key is None and not claim.open:
            return Refusal("missing_key", 401, "")
        return decide(claim, grant, owned(owners or {}), 0)
    except Refused as refused:
        return refused.refusal
