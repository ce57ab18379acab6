"""Requests judged by the whole decision: route options and a grant in, site ids or a refusal's code out."""

from collections.abc import Mapping
from typing import Any

from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.named_sites import Candidate
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Answers, NoGrant, Verdict
from proxy.http.headers import Fields, Head
from proxy.refusals import MISSING_KEY, Refusal, Refused
from proxy.settings import KeySettings, RouteSettings
from tests.scopes import owned

KEY = (b"X-API-Key", b"slk_" + b"A" * 38)
SHOP = Grant("1", "acme", all_sites=False, sites=frozenset({"shop"}))


def selected(*sites: str) -> Grant:
    """Return the grant of a key for these sites."""
    return Grant("1", "acme", all_sites=False, sites=frozenset(sites))


EVERY_SITE = Grant("2", "acme", all_sites=True, sites=frozenset())


def table(*routes: dict[str, Any]) -> RouteTable:
    """Return a route table. Routes get a name and an upstream if the test does not give them."""
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
        return covered(Claim(table(route), head), grant, owned(owners or {}))
    except Refused as refused:
        return refused.refusal


def read(table: RouteTable, head: Head) -> Claim:
    """Return what a request claims. Raises Refused if it is refused before its key matters."""
    claim = Claim(table, head)
    verdict = decide(claim, Answers(accept_foreign=True), 0)
    if isinstance(verdict, Verdict) and verdict.refusal not in (None, MISSING_KEY):
        raise Refused(verdict.refusal)
    return claim


def covered(
    claim: Claim, grant: Grant | None, owners: Mapping[str, SiteOwner | None] | None = None, now: float = 0
) -> tuple[str, ...]:
    """Return the ids of the named sites. Raises Refused unless the claim passes with this grant (None: unknown key)."""
    verdict = decide(claim, Answers(grant or NoGrant.UNKNOWN, owners or {}, accept_foreign=True), now)
    assert isinstance(verdict, Verdict)
    if verdict.refusal is not None:
        raise Refused(verdict.refusal)
    return verdict.sites


def claim_on(table: RouteTable, *sites: str, every_site: bool = False, key: bytes = b"k") -> Claim:
    """Return the claim of a request to the first route that names these sites."""
    claim = Claim(table, Head(b"GET", b"/", []))
    claim.route, claim.target, claim.fields, claim.key = table.routes[0], b"/", [], key
    claim.named = Candidate(sites, every_site=every_site)
    claim.passes_by_itself = True
    return claim
