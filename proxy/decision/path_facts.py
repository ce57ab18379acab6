"""The facts that follow from a path and its route alone. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from proxy.decision.endpoints import methods_in_any_reading, methods_in_every_reading
from proxy.decision.header_rules import HeaderSiteRule
from proxy.decision.named_sites import NOTHING_NAMED, Candidate
from proxy.decision.path_differences import path_difference
from proxy.decision.path_parameters import refuse_parameters
from proxy.decision.path_readings import PathReadings
from proxy.decision.query_rules import QuerySiteRule
from proxy.decision.routes import Route
from proxy.refusals import AMBIGUOUS_REQUEST, Refusal, Refused


@dataclass(slots=True)
class PathFacts:
    """The facts about a path on its route. They depend on nothing else, so the route table can cache them."""

    route: Route
    readings: list[str]
    refusal: Refusal | None = None
    """The refusal of every request with this path, if its readings differ. Then the other facts are not known."""
    scope_differs: Refusal = AMBIGUOUS_REQUEST
    """The refusal of a request that names a site by a rule that applies only to some readings of the path."""
    named: Candidate = NOTHING_NAMED
    """The site that the path names."""
    work: int = 0
    """The work that checking the path takes (work.py)."""
    public: frozenset[bytes] = frozenset()
    """The methods that need no key on this path."""
    refused: frozenset[bytes] = frozenset()
    """The methods that `refuse` lists for this path; `*` stands for all."""
    queries: Sequence[tuple[QuerySiteRule, bool | None]] = ()
    """The query rules, each paired with whether this path is in its scope (None if the readings differ on that)."""
    plain_queries: Mapping[bytes, QuerySiteRule] = field(default_factory=dict)
    """The query rules that apply to this path and whose values are plain site ids, keyed by parameter name."""
    headers: Sequence[tuple[HeaderSiteRule, bool | None]] = ()
    """The header rules, each paired with whether this path is in its scope, as in `queries`."""
    plain_header: HeaderSiteRule | None = None
    """The only header rule, if it applies to this path and its values are plain site ids."""
    is_plain: bool = False
    """Whether a request with this path may be plain (plain_claims.py): its endpoint has no rules of its own."""

    def refuses(self, methods: set[bytes]) -> bool:
        """Return whether `refuse` lists one of these methods for this path."""
        if b"HEAD" in methods:
            methods = methods | {b"GET"}  # most backends handle HEAD like GET (RFC 9110 §9.3.2)
        return b"*" in self.refused or not methods.isdisjoint(self.refused)


def path_facts(route: Route, path: bytes, found: PathReadings) -> PathFacts:
    """Return the facts about a path on its route. `found` are its readings."""
    readings = found.split
    try:
        named = _site_in_path(route, path, found)
        if route.settings.encoded_parameters == "refuse":
            refuse_parameters(found.texts, route.path_parameters, found.work)
    except Refused as refused:
        return PathFacts(route, readings, refused.refusal, work=found.work)
    rules = route.site_rules
    facts = PathFacts(
        route,
        readings,
        named=NOTHING_NAMED if named is None else Candidate((named,)),
        work=found.work,
        public=methods_in_every_reading(route.public, readings),
        refused=methods_in_any_reading(route.refused_endpoints, readings),
        queries=[(rule, rule.scope is None or rule.scope.holds(readings)) for rule in rules.queries],
        headers=[(rule, rule.scope is None or rule.scope.holds(readings)) for rule in rules.headers],
    )
    plain_rules(facts)
    if any(in_scope is None for _, in_scope in (*facts.queries, *facts.headers)):
        facts.scope_differs = _scope_differs(
            route.scoped_rules, path_difference(path, found, route.site_rules.scopes_of)
        )
    facts.is_plain = route.is_plain and not (facts.work or facts.public or facts.refused)
    return facts


def plain_rules(facts: PathFacts) -> None:
    """Set the rules that apply to a path and whose values are plain site ids."""
    facts.plain_queries = {
        rule.raw_name: rule
        for rule, in_scope in facts.queries
        if in_scope and rule.is_plain and facts.route.parameters.means_only(rule.raw_name, rule.name)
    }
    if len(facts.headers) == 1 and facts.headers[0][1] and facts.headers[0][0].is_plain:
        facts.plain_header = facts.headers[0][0]


def _site_in_path(route: Route, path: bytes, found: PathReadings) -> str | None:
    """Return the site that every reading of a path names, or None. Raises Refused if readings differ."""
    site_in_path = route.site_rules.site_in_path
    site = site_in_path(found.split[0], lenient=False)
    for reading in found.split:
        # A reading that does not match leniently does not match exactly either.
        for lenient in (True,) if site is None else (True, False):
            if site_in_path(reading, lenient=lenient) != site:
                cause = path_difference(path, found, lambda each, lenient: site_in_path(each, lenient=lenient))
                raise Refused(_site_differs(route.path_rules, cause))
    return site


# There are few different texts, so many cached paths can share them.
@cache
def _site_differs(path_rules: str, cause: str) -> Refusal:
    return AMBIGUOUS_REQUEST.because(f"Servers may read another site from this path ({path_rules}). {cause}")


@cache
def _scope_differs(scoped_rules: str, cause: str) -> Refusal:
    return AMBIGUOUS_REQUEST.because(
        f"Servers may not agree on whether a request names a site on this path: {scoped_rules}. {cause}"
    )
