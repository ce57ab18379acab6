"""Finds the route for a path. No I/O."""

from collections.abc import Sequence

from proxy.decision.path_differences import path_difference
from proxy.decision.path_facts import PathFacts, path_facts
from proxy.decision.path_patterns import FirstOf
from proxy.decision.path_readings import SEGMENT_START, read_path
from proxy.decision.plain_paths import PlainPaths
from proxy.decision.routes import Route
from proxy.http.headers import Head
from proxy.http.percent_encoding import text
from proxy.refusals import AMBIGUOUS_REQUEST, NO_ROUTE, Refusal, Refused
from proxy.setting_values import place_of
from proxy.settings import KeySettings, RouteSettings

_REMEMBERED = 10_000
# Clients choose paths, so long paths and paths with many readings are not cached. The cache takes at most 30 MB.
_REMEMBERED_LENGTH = 256
_REMEMBERED_READINGS = 4


class RouteTable:
    """The routes in config order. The first route whose `path` is a prefix of a request's path handles the request."""

    def __init__(self, routes: Sequence[RouteSettings], keys: KeySettings) -> None:
        """Raises ValueError with a message that names the route and the rule, and says how to correct it."""
        self.routes = [Route(settings, keys) for settings in routes]
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            raise ValueError(
                "two routes have the same name: names are labels in metrics and logs, so they must be unique"
            )
        self._paths = FirstOf(route.prefix for route in self.routes)
        self._facts: dict[bytes, PathFacts] = {}
        self._plain = PlainPaths(self.routes)
        self.judged_names = frozenset().union(*(route.judged_names for route in self.routes))
        self.noticed_names = frozenset().union(*(route.noticed_names for route in self.routes))
        self.plain_key_fields = list(dict.fromkeys(each for route in self.routes for each in route.plain_key_fields))
        self.reads_hosts = any(route.site_rules.hosts for route in self.routes)
        """Whether a route reads a site from the host name."""
        self.has_cors = any(route.cors is not None for route in self.routes)
        self.methods = frozenset().union(*(route.methods for route in self.routes))
        self.has_shadow_mode = any(route.in_shadow_mode for route in self.routes)
        """Whether a route is in shadow mode."""
        self._enforced_places = {place_of(each.settings.upstream) for each in self.routes if not each.in_shadow_mode}
        self._shadows_every_path = all(route.in_shadow_mode for route in self.routes) and any(
            route.settings.path == "/" for route in self.routes
        )

    def locate(self, path: bytes, work: int = 0) -> PathFacts:
        """Return the facts about a path on its route. Hot.

        `work` is the work that the rest of the head takes. Raises Refused if no route matches, if readings differ, or
        if the path takes too much work.
        """
        facts = self._facts.get(path)
        if facts is None:
            facts = self.locate_in_full(path, work)
            self._remember(path, facts)
        return facts

    def locate_plainly(self, path: bytes) -> PathFacts | None:
        """Return the facts about a path if they are cached, or if the path is plain. Hot."""
        facts = self._facts.get(path)
        if facts is None:
            facts = self._plain.facts(path)
            if facts is not None:
                self._remember(path, facts)
        return facts

    def _remember(self, path: bytes, facts: PathFacts) -> None:
        if len(path) <= _REMEMBERED_LENGTH and len(facts.readings) <= _REMEMBERED_READINGS:
            if len(self._facts) >= _REMEMBERED:
                self._facts.clear()
            self._facts[path] = facts

    def remembers(self, path: bytes) -> bool:
        """Return whether the facts about a path are cached."""
        return path in self._facts

    def locate_in_full(self, path: bytes, work: int = 0) -> PathFacts:
        """Return the facts about a path, without the cache and without shortcuts. Raises Refused as `locate` does."""
        found = read_path(path, work)
        readings = found.split
        route = self.route_of(readings[0], lenient=False)
        for reading in readings:
            for lenient in (False, True):
                if self.route_of(reading, lenient=lenient) is not route:
                    cause = path_difference(path, found, lambda each, lenient: self.route_of(each, lenient=lenient))
                    raise Refused(AMBIGUOUS_REQUEST.because(f"Servers may find another route for this path. {cause}"))
        if route is None:
            raise Refused(NO_ROUTE)
        return path_facts(route, path, found)

    def route_at(self, target: bytes) -> Route | None:
        """Return the route of a target's literal reading, for a refusal before the decision has found the route."""
        path = text(target.partition(b"?")[0])
        return self.route_of(path.replace("/", SEGMENT_START), lenient=False)

    def shadowed_route_at(self, target: bytes) -> Route | None:
        """Return the route of a target's literal reading if the target has a route in shadow mode in every reading.

        It is for requests that were refused before their route was certain. If they may belong to an enforced route, or
        to none, they stay refused.
        """
        path = target.partition(b"?")[0]
        if not path.isascii() or b"#" in path:
            return None
        if not self._shadows_every_path:
            try:
                readings = read_path(path).split
            except Refused:
                return None  # its readings are not known
            for reading in readings:
                for lenient in (False, True):
                    route = self.route_of(reading, lenient=lenient)
                    if route is None or not route.in_shadow_mode:
                        return None
        return self.route_at(target)

    def shares_enforced_upstream(self, route: Route) -> bool:
        """Return whether an enforced route has the same upstream as this route."""
        return place_of(route.settings.upstream) in self._enforced_places

    def lines_of(self, refusal: Refusal, received: Head) -> bytes:
        """Return the CORS headers with which a malformed request is refused."""
        route = self.route_at(received.target)
        return route.lines_of(refusal, received.origin) if route is not None and route.cors is not None else b""

    def answer_to_preflight(self, received: Head) -> bytes | None:
        """Return the CORS headers for a preflight that cannot be decided on, or None if it is no preflight."""
        route = self.route_at(received.target)
        if route is None or route.cors is None or not route.answers_preflight(received):
            return None
        return route.cors.preflight(received.origin)

    def route_of(self, reading: str, *, lenient: bool) -> Route | None:
        """Return the first route whose `path` is a prefix of this reading."""
        index = self._paths.match(reading, lenient=lenient)
        return None if index is None else self.routes[index]
