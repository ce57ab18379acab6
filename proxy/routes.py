"""Routes: from a request's head to what it claims, read alike in every reading, or to a refusal. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.cors import compile_cors
from proxy.heads import FOLDED, Fields, Head
from proxy.places import KeyPlaces
from proxy.refusals import (
    AMBIGUOUS_REQUEST,
    ENDPOINT_REFUSED,
    FORM_BODY_NOT_READ,
    METHOD_NOT_ALLOWED,
    NO_ROUTE,
    PREFLIGHT_REFUSED,
    SITE_MISSING,
    Refusal,
    Refused,
)
from proxy.rules import Named, PathPattern, SiteRules
from proxy.settings import KeySettings, RouteSettings
from proxy.target import folded, hidden_queries, means, pairs, path_readings, silent_query, split, value_readings

_METHOD_OVERRIDES = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
_REMEMBERED = 10_000
# Clients choose paths, so long ones and those with many readings are not remembered: all in all 30 MB at most.
_REMEMBERED_LENGTH = 256
_REMEMBERED_READINGS = 4

_METHOD_PARAMETER = "_method"
_ENTRY = re.compile(r"([A-Z*]+) (/.*)\Z")


@dataclass(slots=True)
class Claim:
    """What a request asks for, read alike in every reading, and the head that will be sent on for it.

    Not frozen only because that costs 1.5 µs a request.
    """

    route: "Route"
    key: bytes | None
    sites: tuple[str, ...]
    """The named sites, each once, in the order they are named."""
    every_site: bool
    """A word that means all sites was named (`idSite=all`), or none was and the route says `all-sites`."""
    open: bool
    """Passes without a key: a public path, or a preflight where the route passes them."""
    target: bytes
    fields: Fields
    preflight: bool = False
    """A CORS preflight that Sitelatch answers itself, as the route's `cors` says."""


class ClaimRefused(Refused):
    """A refusal of a request whose route and key were made out all the same: `claim` names no sites."""

    def __init__(self, refusal: Refusal, claim: Claim) -> None:
        super().__init__(refusal)
        self.claim = claim


@dataclass(slots=True)
class _Located:
    """What a path alone says: a pure function of it, so that it can be remembered for as long as the table lives."""

    route: "Route"
    readings: list[str]
    site: str | None
    """The site that it names in every reading; where they differ, `ambiguous`."""
    ambiguous: bool


@dataclass(slots=True)
class _Endpoint:
    """A method and a path of `public` or `refuse`."""

    method: bytes
    path: PathPattern


class Route:
    """One `[[proxy.routes]]` table, compiled."""

    __slots__ = (
        "_methods",
        "_not_allowed",
        "_places",
        "_plain_methods",
        "_prefix",
        "_public",
        "_refused_paths",
        "_refused_queries",
        "_silent_query",
        "_site_fields",
        "_sites",
        "_wanted",
        "cors",
        "name",
        "settings",
    )

    def __init__(self, settings: RouteSettings, keys: KeySettings) -> None:
        """Raises ValueError that names the route, the rule and how to mend it."""
        self.name = settings.name
        self.settings = settings
        self._methods = frozenset(method.encode() for method in settings.methods)
        self._not_allowed = replace(METHOD_NOT_ALLOWED, lines=f"Allow: {', '.join(settings.methods)}\r\n".encode())
        self.cors = compile_cors(settings, keys)
        self._plain_methods = self._methods if self.cors is None else self._methods - {b"OPTIONS"}
        try:
            self._prefix = PathPattern(settings.path, prefix=True)
            self._sites = SiteRules.compile(settings.sites)
            self._places = KeyPlaces(settings.keys_from if settings.keys_from is not None else keys.from_)
            self._public = [_endpoint(entry) for entry in settings.public]
            self._refused_queries = [
                folded(entry.removeprefix("query:")) for entry in settings.refuse if entry.startswith("query:")
            ]
            self._refused_paths = [_endpoint(entry) for entry in settings.refuse if not entry.startswith("query:")]
            self._wanted = [*(rule.folded_name for rule in self._sites.queries), *self._refused_queries]
            if self._public or self._refused_paths:
                self._wanted.append(_METHOD_PARAMETER)
            self._silent_query = silent_query(self._wanted)
            self._site_fields = frozenset(rule.folded_name for rule in self._sites.headers)
            self._check(settings)
        except ValueError as error:
            raise ValueError(f"route {settings.name!r}: {error}") from error

    def _check(self, settings: RouteSettings) -> None:
        if self._prefix.names_site:
            raise ValueError("path is a plain prefix: name the site in `sites`")
        if settings.workspace is None:
            if settings.without_site == "all-sites":
                raise ValueError('without_site = "all-sites" needs workspace = "…": whose sites are all?')
            for rule in settings.sites:
                if not isinstance(rule, str) and rule.all is not None:
                    raise ValueError(f'the word {rule.all!r} for all sites needs workspace = "…": whose sites are all?')

    @property
    def judged_names(self) -> frozenset[bytes]:
        """The headers that the decision reads, in lower case with `-`."""
        return self._places.names | self._site_fields | {b"content-type"}

    @property
    def methods(self) -> frozenset[bytes]:
        """The methods that it forwards."""
        return self._methods

    def holds(self, reading: str, *, lenient: bool) -> bool:
        """Tell whether a reading of a path is below this route's."""
        return self._prefix.match(reading, lenient=lenient) is not None

    def locate(self, path: bytes, readings: list[str]) -> _Located:
        """Return what a path with these readings says."""
        try:
            hidden = any(self._is_wanted(name) for query in hidden_queries(path) for name, _ in pairs(query, b"&;"))
            return _Located(self, readings, self._site_in_path(readings), ambiguous=hidden)
        except Refused:
            return _Located(self, readings, None, ambiguous=True)

    def _is_wanted(self, raw_name: bytes) -> bool:
        return any(means(raw_name, wanted) for wanted in self._wanted)

    def _site_in_path(self, readings: list[str]) -> str | None:
        rules = self._sites
        site = rules.site_in_path(readings[0], lenient=False)
        for reading in readings:
            for lenient in (False, True):
                if rules.site_in_path(reading, lenient=lenient) != site:
                    raise Refused(AMBIGUOUS_REQUEST)
        return site

    def claim(self, head: Head, located: _Located) -> Claim:
        """Return the claim of a request whose path is `located` here. Raises Refused. Hot."""
        key, target, fields = self._places.cut(head)
        if self.settings.forward_key:
            target, fields = head.target, head.fields
        claim = Claim(self, key, (), False, False, target, fields)
        try:
            self._read(claim, head, located)
        except Refused as refused:
            raise ClaimRefused(refused.refusal, claim) from None
        return claim

    def _read(self, claim: Claim, head: Head, located: _Located) -> None:
        """Read the request into its claim. Raises Refused."""
        settings, fields = self.settings, claim.fields
        if head.method not in self._plain_methods:
            if self.cors is not None and _is_preflight(head.method, fields):
                claim.open = claim.preflight = True
                return None
            if head.method not in self._methods:
                raise Refused(self._not_allowed)
        query = claim.target.partition(b"?")[2]
        # The shortcut for plain queries: no reading of such a one has a parameter that the route looks for.
        if not query or self._silent_query.match(query) is not None:
            query = b""
        if self._public and self._is_public(head.method, located.readings, query):
            return _open(claim)
        if settings.refuse:
            self._refuse_endpoints(head.method, fields, located.readings, query)
        if located.ambiguous:
            raise Refused(AMBIGUOUS_REQUEST)
        if claim.key is None and _is_preflight(head.method, fields):
            if settings.preflight == "refuse":
                raise Refused(PREFLIGHT_REFUSED)
            return _open(claim)
        if head.has_body and settings.form_body == "refuse" and (self._sites.queries or self._refused_queries):
            _refuse_form_body(head.method, fields)
        named = Named({} if located.site is None else {located.site: None})
        if query:
            for query_rule in self._sites.queries:
                query_rule.read(query, named)
        for header_rule in self._sites.headers:
            header_rule.read(fields, named)
        for host_rule in self._sites.hosts:
            host_rule.read(fields, named)
        if named.sites or named.every_site:
            claim.sites, claim.every_site = tuple(named.sites), named.every_site
        elif settings.without_site == "all-sites":
            claim.every_site = True
        # Who carries no key is told that first: an address that needs no site does not matter to them.
        elif settings.without_site == "refuse" and claim.key is not None:
            raise Refused(SITE_MISSING)
        return None

    def _is_public(self, method: bytes, readings: list[str], query: bytes) -> bool:
        for endpoint in self._public:
            if endpoint.method == method and all(endpoint.path.match(reading, lenient=False) for reading in readings):
                return not _methods_in(query)
        return False

    def _refuse_endpoints(self, method: bytes, fields: Fields, readings: list[str], query: bytes) -> None:
        """Raise Refused where any reading is an endpoint that the route shuts."""
        if self._refused_paths:
            methods = {method, *(value.strip().upper() for name, value in fields if _overrides_method(name))}
            methods |= _methods_in(query)
            if b"HEAD" in methods:
                methods.add(b"GET")  # most backends answer HEAD by doing the GET (RFC 9110 §9.3.2)
            for endpoint in self._refused_paths:
                if endpoint.method in methods or endpoint.method == b"*":
                    for reading in readings:
                        if endpoint.path.match(reading, lenient=True):
                            raise Refused(ENDPOINT_REFUSED)
        if self._refused_queries and query:
            for name, _ in pairs(query, b"&;"):
                if any(means(name, wanted) for wanted in self._refused_queries):
                    raise Refused(ENDPOINT_REFUSED)


class RouteTable:
    """The routes in their order: the first whose path holds a request's takes it."""

    def __init__(self, routes: Sequence[RouteSettings], keys: KeySettings) -> None:
        """Raises ValueError that names the route, the rule and how to mend it."""
        self.routes = [Route(settings, keys) for settings in routes]
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            raise ValueError("two routes have the same name: names label metrics and logs, so each needs its own")
        self._located: dict[bytes, _Located] = {}
        self.judged_names = frozenset().union(*(route.judged_names for route in self.routes))
        self.methods = frozenset().union(*(route.methods for route in self.routes))

    def read(self, head: Head) -> Claim:
        """Return what a request claims. Raises Refused where it cannot pass whoever asks. Hot."""
        path, _ = split(head.target)
        located = self._located.get(path)
        if located is None:
            located = self._locate(path)
            if len(path) <= _REMEMBERED_LENGTH and len(located.readings) <= _REMEMBERED_READINGS:
                if len(self._located) >= _REMEMBERED:
                    self._located.clear()
                self._located[path] = located
        return located.route.claim(head, located)

    def _locate(self, path: bytes) -> _Located:
        readings = path_readings(path)
        route = self._route(readings[0], lenient=False)
        for reading in readings:
            for lenient in (False, True):
                if self._route(reading, lenient=lenient) is not route:
                    raise Refused(AMBIGUOUS_REQUEST)
        if route is None:
            raise Refused(NO_ROUTE)
        return route.locate(path, readings)

    def _route(self, reading: str, *, lenient: bool) -> Route | None:
        for route in self.routes:
            if route.holds(reading, lenient=lenient):
                return route
        return None


def _endpoint(entry: str) -> _Endpoint:
    parsed = _ENTRY.match(entry)
    if parsed is None:
        raise ValueError(f'{entry!r} is no endpoint: write "METHOD /path", such as "GET /api/health"')
    pattern = PathPattern(parsed[2])
    if pattern.names_site:
        raise ValueError(f"{entry!r}: endpoints are listed exactly, without {{site}}")
    return _Endpoint(parsed[1].encode(), pattern)


def _is_preflight(method: bytes, fields: Fields) -> bool:
    """Tell whether this is a CORS preflight (Fetch standard, §CORS-preflight fetch)."""
    if method != b"OPTIONS":
        return False
    names = {name.lower() for name, _ in fields}
    return b"origin" in names and b"access-control-request-method" in names


def _overrides_method(name: bytes) -> bool:
    return FOLDED[name] in _METHOD_OVERRIDES


def _methods_in(query: bytes) -> set[bytes]:
    """Return the methods that Rails, Laravel and Symfony would take for the request's own."""
    if not query:
        return set()
    values = [value for name, value in pairs(query, b"&;") if means(name, _METHOD_PARAMETER)]
    return {reading.strip().upper().encode("utf-8", "replace") for value in values for reading in value_readings(value)}


def _open(claim: Claim) -> None:
    """Let a request pass without a key, as the method that it shows."""
    claim.open = True
    claim.fields = [field for field in claim.fields if not _overrides_method(field[0])]


def _refuse_form_body(method: bytes, fields: Fields) -> None:
    """Raise Refused on a body that backends merge with the query: forms, and what Rack takes for one."""
    types = [value.lower() for name, value in fields if FOLDED[name] == b"content-type"]
    if any(b"x-www-form-urlencoded" in value or b"multipart/" in value for value in types) or (
        method == b"POST" and not any(types)
    ):
        raise Refused(FORM_BODY_NOT_READ)
