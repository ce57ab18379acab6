"""Shadow mode: requests to a route with `mode = "shadow"` are judged as usual, but all of them are forwarded.

This is the one place that turns a refusal into forwarding (docs/shadow-mode.md).
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from proxy.decision.claim import Claim
from proxy.decision.other_paths import may_reach_other_paths
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.decision.site_ids import shown_id
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.token_bucket import client_network
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, INTERNAL_ERROR
from proxy.setting_values import NEVER_FORWARDED
from proxy.shadow_findings import Finding

MOST_LOOKUPS = 1_000
"""How many requests may have their lookups in the background. They have been forwarded, so nothing waits."""
MOST_LOOKUPS_OF_ONE_NETWORK = 100
"""How many of them may come from one client network, so that a flood of unknown keys leaves room for others."""

_BEFORE_ROUTE = (AMBIGUOUS_REQUEST.code, BAD_REQUEST.code)
"""The refusals of the decision's steps 1 and 2 that are suspended if every reading has a route in shadow mode."""


def shadowed_route(table: RouteTable, head: Head, verdict: Verdict) -> Route | None:
    """Return the route of a judged request if the route is in shadow mode and the verdict does not count."""
    claim, refusal = verdict.claim, verdict.refusal
    if refusal is INTERNAL_ERROR:
        return None
    if claim is not None:
        route = claim.route if claim.route.in_shadow_mode else None
    elif refusal is not None and refusal.code in _BEFORE_ROUTE:
        route = table.shadowed_route_at(head.target)
    else:
        return None
    if route is None or refusal is None:
        return route
    if head.method.decode("latin-1").upper() in NEVER_FORWARDED:
        return None
    # The refusal may hide that a later step would have refused this too, so the request itself is checked.
    return None if table.shares_enforced_upstream(route) and may_reach_other_paths(route, head) else route


def _ignore(finding: Finding) -> None:
    pass


class ShadowMode:
    """Decides which verdicts are not enforced, and completes lookups for which their requests did not wait."""

    def __init__(
        self, enforcement: Enforcement, metrics: Metrics, on_finding: Callable[[Finding], None] = _ignore
    ) -> None:
        """`on_finding` is called for each request that would be refused, once its lookups are done."""
        self._enforcement = enforcement
        self._metrics = metrics
        self._on_finding = on_finding
        self._lookups: set[asyncio.Task[None]] = set()
        self._networks: Counter[str] = Counter()

    def suspends(self, head: Head, verdict: Verdict) -> bool:
        """Return whether to forward the request even if it was refused, and count its verdict.

        The verdict's claim then has a route, and keeps the key in the request.
        """
        table = self._enforcement.table
        route = shadowed_route(table, head, verdict)
        claim = verdict.claim
        if route is None or (claim is not None and claim.preflight):
            return False
        if claim is None:
            verdict.claim = claim = Claim(table, head)
            claim.route = route
        claim.keep_key()
        self._metrics.shadowed(route.name, verdict.result)
        self._report(route, verdict)
        return True

    def _report(self, route: Route, verdict: Verdict) -> None:
        if verdict.refusal is not None:
            site = self._enforcement.refused_site(verdict)
            user_id = verdict.grant.user_id if verdict.grant is not None else ""
            shown = "" if site is None else shown_id(site)
            self._on_finding(Finding(route.name, verdict.refusal.code, verdict.refusal.detail, user_id, shown))

    def look_up(self, pending: Pending, address: str) -> None:
        """Perform the lookups of a request in the background, so that the next requests with its key are decided.

        `address` is the client's: its budget is charged as for any other request. Nothing is looked up if too many
        lookups are in progress.
        """
        network = client_network(address)
        if len(self._lookups) >= MOST_LOOKUPS or self._networks[network] >= MOST_LOOKUPS_OF_ONE_NETWORK:
            return
        self._networks[network] += 1
        task = asyncio.get_running_loop().create_task(self._decide(pending, address, network))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _decide(self, pending: Pending, address: str, network: str) -> None:
        try:
            verdict = await self._enforcement.judge_slowly(pending, address)
            if verdict.refusal is not INTERNAL_ERROR:
                self._report(pending.claim.route, verdict)
        finally:
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    @property
    def idle(self) -> bool:
        """Whether no lookup is in progress."""
        return not self._lookups

    async def close(self) -> None:
        """Cancel all lookups."""
        for task in self._lookups:
            task.cancel()
        if self._lookups:
            await asyncio.wait(self._lookups)
