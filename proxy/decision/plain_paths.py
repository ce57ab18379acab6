"""Finds the facts about plain paths: a shortcut for `path_facts`. No I/O.

A path is plain here if only one path rule can match it, and nothing else in the config concerns it, even in a lenient
match: no earlier rule or route, no endpoint, and no `paths` of another rule. One regular expression for each path rule
decides that. With many sites, most paths are new, and this takes a tenth of the time. A property test compares the two
ways.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.decision.named_sites import Candidate
from proxy.decision.path_facts import PathFacts, plain_rules
from proxy.decision.path_patterns import PathPattern
from proxy.decision.path_readings import SEGMENT_START
from proxy.decision.routes import Route

_PLAIN = re.compile(r"(?>(?:/(?![.(])[A-Za-z0-9_~!$'*+,=:@().-]++)+)\Z")
"""A path with only one reading (path_readings.py), which does not end with a slash."""
_LONGEST = 256
_MOST_RULES, _MOST_EXCLUDED = 16, 64
"""With more routes or path rules, or with more patterns that a path must not match, trying each one would take too
long, and so would compiling them."""


@dataclass(slots=True)
class _PlainPath:
    """The paths that only one path rule of a route matches, and the facts about them except for their site."""

    pattern: re.Pattern[str]
    facts: PathFacts


class PlainPaths:
    """The plain paths of all routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._paths: list[_PlainPath] = []
        if len(routes) + sum(len(route.site_rules.paths) for route in routes) > _MOST_RULES:
            return
        others: list[PathPattern] = []
        for route in routes:
            if route.is_plain:
                self._paths += _plain_paths(route, others)
            others.append(route.prefix)

    def facts(self, path: bytes) -> PathFacts | None:
        """Return the facts about a plain path, or None if it is not plain. Hot."""
        if len(path) > _LONGEST or not path.isascii():
            return None
        text = path.decode("ascii")
        if _PLAIN.match(text) is None:
            return None
        reading = text.replace("/", SEGMENT_START)
        for plain in self._paths:
            found = plain.pattern.match(reading)
            if found is not None:
                known = plain.facts
                return PathFacts(
                    known.route,
                    [reading],
                    named=Candidate((found[1],)),
                    queries=known.queries,
                    plain_queries=known.plain_queries,
                    headers=known.headers,
                    plain_header=known.plain_header,
                    is_plain=True,
                )
        return None


def _plain_paths(route: Route, others: Sequence[PathPattern]) -> list[_PlainPath]:
    """Return the plain paths of a route. `others` are the prefixes of the routes before it."""
    rules = route.site_rules
    scopes = [rule.scope for rule in (*rules.queries, *rules.headers) if rule.scope is not None]
    excluded = [*others, *(endpoint.path for endpoint in (*route.public, *route.refused_endpoints))]
    excluded += [pattern for scope in scopes for pattern in scope.patterns]
    if len(excluded) > _MOST_EXCLUDED:
        return []
    facts = PathFacts(
        route,
        [],
        queries=[(rule, rule.scope is None) for rule in rules.queries],
        headers=[(rule, rule.scope is None) for rule in rules.headers],
    )
    plain_rules(facts)
    found = []
    for rule in rules.paths:
        none_of = "".join(f"(?!(?is:{_without_groups(pattern.sources[1])}))" for pattern in excluded)
        prefix = f"(?=(?s:{_without_groups(route.prefix.sources[0])}))"
        found.append(_PlainPath(re.compile(f"{none_of}{prefix}(?s:{rule.pattern.sources[0]})"), facts))
        excluded.append(rule.pattern)
    return found


def _without_groups(source: str) -> str:
    """Return a pattern's source without its capturing group, so that the first group is the rule's site."""
    return source.replace("((?-i:", "(?:(?-i:")
