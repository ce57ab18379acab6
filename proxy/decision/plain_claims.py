"""Claims of plain requests: a shortcut for steps 1 to 15 of `decide`. No I/O.

A plain request has one reading, carries one key in a header, and names at least one site. Nothing else in it concerns
the decision. Most requests are plain, and this takes a fifth of the time of the full steps. A property test compares
the two ways.
"""

from dataclasses import dataclass

from proxy.decision.claim import Claim
from proxy.decision.content_types import HARMLESS_TYPES, form_may_name
from proxy.decision.named_sites import Candidate
from proxy.decision.noticed_headers import CONTENT_TYPE
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.decision.work import LONG_TARGET, MANY_FIELDS
from proxy.http.headers import FOLDED
from proxy.http.plain_requests import NOT_READ, PlainHead, Shape


@dataclass(slots=True)
class _Plan:
    """What the fields of a shape mean on one route."""

    is_plain: bool = False
    """Whether the key is read from its field as it is, and no other field concerns the decision."""
    has_harmless_type: bool = False
    """Whether Content-Type says that the body is not a form."""


def claim_plainly(claim: Claim) -> None:
    """Fill in the claim of a plain request. Leave any other claim unchanged. Hot."""
    head = claim.head
    if not isinstance(head, PlainHead):
        return
    named = head.named
    if named is NOT_READ:
        named = name_plainly(claim.table, head.shape, head.method, head.target, head.has_body)
    if named is not None:
        fill_in(claim, head, *named)


def fill_in(claim: Claim, head: PlainHead, route: Route, named: Candidate) -> None:
    """Fill in the claim of a plain request, whose route and sites are known. Hot."""
    claim.route, claim.key, claim.target, claim.plain, claim.named = route, head.key, head.target, head, named
    claim.passes_by_itself = True


def name_plainly(
    table: RouteTable, shape: Shape, method: bytes, target: bytes, has_body: bool
) -> tuple[Route, Candidate] | None:
    """Return the route of a plain request and the sites that it names, or None for any other request. Hot."""
    path, _, query = target.partition(b"?")
    facts = table.locate_plainly(path)
    if facts is None or not facts.is_plain or len(target) > LONG_TARGET:
        return None
    route = facts.route
    plan: _Plan | None = shape.plans.get(route)
    if plan is None:
        plan = shape.plans[route] = _plan(shape, route)
    if not plan.is_plain or method not in route.methods:
        return None
    named = facts.named
    if query:
        only = route.parameters.glance(query)
        if only is None:
            return None
        if only:
            if only[0] not in facts.plain_queries:
                return None
            named = named.with_site(only[1].decode("ascii"))
    if not named.sites or (has_body and not plan.has_harmless_type and form_may_name(facts)):
        return None
    return route, named


def _plan(shape: Shape, route: Route) -> _Plan:
    """Find out what the fields of a shape mean on a route."""
    plan = _Plan()
    keys = route.key_reader
    reader = keys.field_readers.get(FOLDED[shape.key_field])
    found: set[bytes] = set()
    probe = b"key"
    if reader is None or reader((shape.key_field, shape.key_prefix + probe), found) is not None or found != {probe}:
        return plan
    for name, value in shape.noticed:
        folded = FOLDED[name]
        if folded in keys.names:
            return plan
        bits = keys.watched.get(folded, 0)
        if bits and (bits != CONTENT_TYPE or value not in HARMLESS_TYPES):
            return plan
        plan.has_harmless_type |= bits == CONTENT_TYPE
    plan.is_plain = shape.lines <= MANY_FIELDS and not keys.watched.get(FOLDED[shape.key_field])
    return plan
