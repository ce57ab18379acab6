"""Routes: the route that a path belongs to, and what a request claims there, alike in every reading. No I/O."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from proxy.decision.key_locations import KeyPlaces
from proxy.decision.method_override import (
    MOST_BYTES,
    OVERRIDE_HEADERS,
    OVERRIDE_PARAMETERS,
    TOO_MANY_METHODS,
    methods_in,
    overrides_method,
)
from proxy.decision.parameters import Finder, Name, Query, value_readings
from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS
from proxy.decision.site_rules import HeaderSiteRule, Named, PathPattern, QuerySiteRule, SiteRules, TwoReadings, listed
from proxy.decision.target import PathReadings, holds_parameter, is_plain, read_path, separators_in
from proxy.decision.work import path_work
from proxy.http.cors import compile_cors
from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import FOLDED, Fields, Head
from proxy.http.steering_headers import STEERING_PARAMETERS
from proxy.refusals import (
    AMBIGUOUS_REQUEST,
    FORM_BODY_NOT_READ,
    METHOD_NOT_ALLOWED,
    NO_ROUTE,
    SITE_MISSING,
    Refusal,
    Refused,
)
from proxy.settings import KeySettings, RouteSettings, check_method

_MAX_COOKIES = 16
"""Cookies of one request that are called like a parameter that names sites."""
_REMEMBERED = 10_000
# Clients choose paths, so long ones and those with many readings are not remembered: all in all 30 MB at most.
_REMEMBERED_LENGTH = 256
_REMEMBERED_READINGS = 4


_PATH_DIFFERS = AMBIGUOUS_REQUEST.because(
    "Servers differ in how they split this path: encoded slashes, doubled slashes, `;`, capitals or a slash at its end "
    "stand where the site or the route is named. Send the plain path."
)
_STEERING_PARAMETER = AMBIGUOUS_REQUEST.because(
    "The query holds a parameter by which some frameworks take another path than the request's. Send it without."
)
_ENCODED_PARAMETER = AMBIGUOUS_REQUEST.because(
    "The path holds `&`, `?` or `#`, perhaps encoded, and a parameter after it, which servers that rewrite paths take "
    "for one of the query. Send parameters in the query."
)


class Candidate(NamedTuple):
    """What a request names, in one reading."""

    sites: tuple[str, ...] = ()
    """The named sites, each once, in the order they are named: ids, or names made by `by_folded_id`."""
    others: tuple[str, ...] = ()
    """Sites that are named where, by the route's rules, the API does not look. They must be granted as well."""
    every_site: bool = False
    """A word that means all sites was named (`idSite=all`), or no site was and the route says `all-sites`."""
    others_every_site: bool = False
    """Such a word was named where, by the route's rules, the API does not look."""


_NOTHING = Candidate()
# What the presence of a header makes necessary to check (bits).
NOTICED_OVERRIDE = 1
NOTICED_SECOND_RESOURCE = 2
NOTICED_SITE_HEADER = 4
NOTICED_COOKIE = 8
NOTICED_CONTENT_TYPE = 16
_WATCHED = {
    **{row[0].encode(): NOTICED_OVERRIDE for row in OVERRIDE_HEADERS},
    **{row[0].encode(): NOTICED_SECOND_RESOURCE for row in SECOND_RESOURCE_HEADERS},
    b"content-type": NOTICED_CONTENT_TYPE,
}
_OVERRIDE_NAMES = frozenset(Name(row.name) for row in OVERRIDE_PARAMETERS)
_STEERING_NAMES = frozenset(Name(name) for name, _, _ in STEERING_PARAMETERS)
NO_METHODS: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Claim:
    """What a request asks for, alike in every reading, and the head that is forwarded for it.

    `decide` fills it in. It is not frozen only because that costs 1.5 µs a request.
    """

    table: "RouteTable" = field(repr=False)
    head: Head = field(repr=False)
    """The head that is judged."""
    route: "Route" = field(init=False, repr=False)
    """Not set if no route was found."""
    target: bytes = field(init=False, repr=False)
    """The target that is forwarded: without the key. Not set if there were several keys."""
    fields: Fields = field(init=False, repr=False)
    """The header fields that are forwarded: without the key. Not set if there were several keys."""
    key: bytes | None = field(default=None, repr=False)
    accepted: bool = False
    """Whether the request alone gives no reason to refuse it: only its key and the owners of sites may."""
    open: bool = False
    """Whether it passes without a key: a public endpoint, or a preflight that the route passes."""
    preflight: bool = False
    """Whether it is a CORS preflight that Sitelatch answers itself, as the route's `cors` says."""
    named: Candidate = _NOTHING
    """What it names by RFC 3986."""
    form: Candidate | None = None
    """What it names with `+` read as a space, if that differs. The grant decides which of the two is meant."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The name of every site, in any reading, whose owner the decision may have to know."""
        named, form = self.named, self.form
        if form is None:
            return named.sites + named.others if named.others else named.sites
        return tuple(dict.fromkeys((*named.sites, *named.others, *form.sites, *form.others)))

    def pass_without_key(self) -> None:
        """Let the request pass without a key, and as the method that it shows: remove method overrides."""
        self.open = True
        self.fields = [field for field in self.fields if not overrides_method(field[0])]

    def name_every_site(self) -> None:
        """Take a request that names no site for one that asks for all sites."""
        self.named = self.named._replace(every_site=True)
        if self.form is not None:
            self.form = self.form._replace(every_site=True)


@dataclass(slots=True)
class Located:
    """What a path alone says: a pure function of it, so that it can be remembered for as long as the table lives."""

    route: "Route"
    readings: list[str]
    refusal: Refusal | None = None
    """Why no request with this path passes: its readings differ."""
    named: Candidate = _NOTHING
    """The site that the path names."""
    work: int = 0
    """How much work the path makes (work.py)."""
    public: frozenset[bytes] = frozenset()
    """The methods with which the path needs no key."""
    shut: frozenset[bytes] = frozenset()
    """The methods that `refuse` shuts here; `*` stands for all."""
    queries: Sequence[tuple[QuerySiteRule, bool | None]] = ()
    """The query rules, each with whether this path is in its scope (None: readings differ on that)."""
    plain_queries: Mapping[bytes, QuerySiteRule] = field(default_factory=dict)
    """Those of them in whose scope it is, and whose value is the site's id, by the parameter's name."""
    headers: Sequence[tuple[HeaderSiteRule, bool | None]] = ()
    plain_header: HeaderSiteRule | None = None
    """The only header rule, where the path is in its scope and its value is the site's id."""

    def shuts(self, methods: set[bytes]) -> bool:
        """Return whether `refuse` lists one of these methods for this path."""
        if b"HEAD" in methods:
            methods = methods | {b"GET"}  # most backends answer HEAD by doing the GET (RFC 9110 §9.3.2)
        return b"*" in self.shut or not methods.isdisjoint(self.shut)


@dataclass(slots=True)
class _Endpoint:
    """A method and a path of `public` or `refuse`."""

    method: bytes
    path: PathPattern


class Route:
    """One `[[proxy.routes]]` table, compiled."""

    __slots__ = (
        "_cookie_clash",
        "_cookies",
        "_drop",
        "_endpoints",
        "_form_body",
        "_path_parameters",
        "_places",
        "_prefix",
        "_public",
        "_scope_differs",
        "_sites",
        "cors",
        "method_not_allowed",
        "methods",
        "name",
        "override_not_allowed",
        "parameters",
        "reads_hosts",
        "refused_names",
        "settings",
        "site_missing",
    )

    def __init__(self, settings: RouteSettings, keys: KeySettings) -> None:
        """Raises ValueError that names the route, the rule and how to mend it."""
        self.name = settings.name
        self.settings = settings
        self.cors = compile_cors(settings, keys)
        try:
            self._compile(settings, keys)
            self._check(settings)
        except ValueError as error:
            raise ValueError(f"route {settings.name!r}: {error}") from error

    def _compile(self, settings: RouteSettings, keys: KeySettings) -> None:
        self._prefix = PathPattern(settings.path, prefix=True)
        self._sites = SiteRules.compile(settings.sites)
        self.methods = frozenset(method.encode() for method in settings.methods)
        allowed = ", ".join(settings.methods)
        self.method_not_allowed = METHOD_NOT_ALLOWED.because(
            f"This method is not allowed here. Allowed: {allowed}.", f"Allow: {allowed}\r\n".encode()
        )
        self.override_not_allowed = METHOD_NOT_ALLOWED.because(
            f"A header or parameter asks for a method that is not allowed here. Allowed: {allowed}.",
            self.method_not_allowed.lines,
        )
        refused_queries = [entry.removeprefix("query:") for entry in settings.refuse if entry.startswith("query:")]
        if "" in refused_queries:
            raise ValueError('"query:" in refuse needs a parameter\'s name, such as "query:urls"')
        self.refused_names = frozenset(map(Name, refused_queries))
        rule_names = [rule.name for rule in self._sites.queries]
        names = [*rule_names, *self.refused_names, *_OVERRIDE_NAMES, *_STEERING_NAMES]
        self.parameters = Finder(names)
        self._path_parameters = Finder(names, separators="&?#;")
        self._cookies = Finder(rule_names, separators=";") if settings.cookies == "check" and rule_names else None
        watched = dict(_WATCHED)
        for name in (rule.folded_name for rule in self._sites.headers):
            watched[name] = watched.get(name, 0) | NOTICED_SITE_HEADER
        if self._cookies is not None:
            watched[b"cookie"] = watched.get(b"cookie", 0) | NOTICED_COOKIE
        self._places = KeyPlaces(settings.keys_from if settings.keys_from is not None else keys.from_, watched)
        self.reads_hosts = bool(self._sites.hosts)
        self._drop = DropHeaders(settings.drop_headers)
        self._public = [_endpoint(entry) for entry in settings.public]
        self._endpoints = [
            _endpoint(entry, any_method=True) for entry in settings.refuse if not entry.startswith("query:")
        ]
        self._form_body = settings.form_body
        self._cookie_clash = AMBIGUOUS_REQUEST.because(
            "A cookie has the name of the query parameter that names the site, and another value, or stands in one of "
            "several Cookie headers; some servers merge the two. "
            f"Send no cookie called {listed(rule.text for rule in self._sites.queries)}."
        )
        scoped = ", ".join(description for description in self._sites.described if " on " in description)
        self._scope_differs = AMBIGUOUS_REQUEST.because(
            "Servers differ in whether this path is one on which a site is named by "
            f"{scoped}. Send the path exactly as documented: its case and the slash at its end matter."
        )
        self.site_missing = SITE_MISSING.because(
            "This request names no site, and this address needs one"
            + (f": by {', or by '.join(self._sites.described)}." if self._sites.described else ".")
        )

    def _check(self, settings: RouteSettings) -> None:
        if covered := sorted(name.decode() for name in self.judged_names if self._drop.covers(name)):
            raise ValueError(f"drop_headers covers {covered[0]}, which the route reads: remove it from drop_headers")
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
        return self._places.names | {rule.folded_name for rule in self._sites.headers} | {b"content-type"}

    @property
    def site_headers(self) -> list[str]:
        """The headers that name sites, in lower case."""
        return [rule.name.decode() for rule in self._sites.headers]

    def holds(self, reading: str, *, lenient: bool) -> bool:
        """Tell whether a reading of a path is below this route's."""
        return self._prefix.match(reading, lenient=lenient) is not None

    # From a path, once.

    def locate(self, path: PathReadings) -> Located:
        """Return what a path with these readings says."""
        readings = path.split
        rules = self._sites
        located = Located(
            self,
            readings,
            public=frozenset(
                endpoint.method
                for endpoint in self._public
                if all(endpoint.path.match(reading, lenient=False) for reading in readings)
            ),
            shut=frozenset(
                endpoint.method
                for endpoint in self._endpoints
                if any(endpoint.path.match(reading, lenient=True) for reading in readings)
            ),
            queries=[(rule, rule.scope is None or rule.scope.holds(readings)) for rule in rules.queries],
            headers=[(rule, rule.scope is None or rule.scope.holds(readings)) for rule in rules.headers],
        )
        located.plain_queries = {
            rule.raw_name: rule
            for rule, in_scope in located.queries
            if in_scope and rule.is_plain and self.parameters.means_only(rule.raw_name, rule.name)
        }
        if len(located.headers) == 1 and located.headers[0][1] and located.headers[0][0].is_plain:
            located.plain_header = located.headers[0][0]
        try:
            site = self._site_in_path(readings)
            located.named = _NOTHING if site is None else Candidate((site,))
            self._refuse_parameters(path.texts)
        except Refused as refused:
            located.refusal = refused.refusal
        return located

    def _site_in_path(self, readings: list[str]) -> str | None:
        rules = self._sites
        site = rules.site_in_path(readings[0], lenient=False)
        for reading in readings:
            for lenient in (False, True):
                if rules.site_in_path(reading, lenient=lenient) != site:
                    raise Refused(_PATH_DIFFERS)
        return site

    def _refuse_parameters(self, texts: list[bytes]) -> None:
        """Raise Refused if a backend that rewrites paths into queries may find a parameter in this one."""
        if self.settings.encoded_parameters == "pass":
            return
        read = (0, 0)
        for decoded in texts:
            # Names between the same separators and equals signs were read in all depths already.
            marks = (separators_in(decoded), decoded.count(b"="))
            if not marks[0] or marks == read:
                continue
            read = marks
            if holds_parameter(decoded) or self._path_parameters.find(decoded):
                raise Refused(_ENCODED_PARAMETER)

    # From a head, each time.

    def take_key(self, claim: Claim) -> int:
        """Set the claim's key, and its target and fields without it; return the NOTICED bits of its headers. Hot.

        Raises Refused if the request holds more than one key.
        """
        head = claim.head
        if self.settings.drop_headers:
            head = replace(head, fields=self._drop.remaining(head.fields))
        claim.key, target, fields, noticed = self._places.cut(head)
        if self.settings.forward_key:
            target, fields = head.target, head.fields
        claim.target, claim.fields = target, fields
        return noticed | NOTICED_SITE_HEADER if head.dropped else noticed

    def form_may_name(self, located: Located) -> bool:
        """Return whether a form body here may name a site, or a parameter or method that `refuse` lists."""
        if self._form_body != "auto":
            return self._form_body == "refuse"
        return bool(self.refused_names) or bool(located.shut) or any(scope is not False for _, scope in located.queries)

    def name_sites(
        self,
        claim: Claim,
        located: Located,
        noticed: int,
        query: Query | None,
        only: tuple[bytes, bytes] | tuple[()] | None,
    ) -> None:
        """Set what the claim names. `only` is all that a plain query holds. Raises Refused if readings differ."""
        head = claim.head
        if not self.reads_hosts and (query is None or not query.splits):
            # Shortcuts for requests that name one site plainly.
            if only and not noticed & NOTICED_SITE_HEADER:
                claim.named = _with_site(located.named, only[1].decode("ascii"))
                return
            if not only and located.plain_header is not None and not head.dropped:
                claim.named = _with_site(located.named, located.plain_header.site_in(claim.fields))
                return
        by_query: TwoReadings | None = None
        elsewhere: TwoReadings | None = None
        by_header: Named | None = None
        if query is not None and query.splits:
            by_query = TwoReadings()
            for rule, in_scope in located.queries:
                if rule.name not in query.meant:
                    continue
                if in_scope is None:
                    raise Refused(self._scope_differs)
                if in_scope:
                    rule.read(query, by_query)
                else:
                    elsewhere = elsewhere or TwoReadings()
                    rule.read_leniently(query, elsewhere)
        elif only:
            by_query = TwoReadings()
            by_query.add(Named({only[1].decode("ascii"): None}))
        for header_rule, in_scope in located.headers:
            named = header_rule.read(claim.fields, head.dropped)
            if named is None:
                continue
            if in_scope is None:
                raise Refused(self._scope_differs)
            if in_scope:
                by_header = named if by_header is None else by_header.with_more(named)
            else:
                elsewhere = elsewhere or TwoReadings()
                elsewhere.add(named.without_empty())
        for host_rule in self._sites.hosts:
            by_header = by_header or Named.none()
            host_rule.read(claim.fields, by_header)
        claim.named = _candidate(
            located.named,
            by_query.literal if by_query is not None else None,
            by_header,
            elsewhere.literal if elsewhere is not None else None,
        )
        if (by_query is not None and by_query.differ) or (elsewhere is not None and elsewhere.differ):
            claim.form = _candidate(
                located.named,
                by_query.form if by_query is not None else None,
                by_header,
                elsewhere.form if elsewhere is not None else None,
            )

    def check_cookies(self, claim: Claim, located: Located) -> None:
        """Raise Refused if a cookie that PHP merges into `$_REQUEST` names another site than the request does."""
        assert self._cookies is not None  # noqa: S101 - for the type checker
        lines = [value for name, value in claim.fields if name.lower() == b"cookie"]
        raw = b";".join(lines)
        if self._cookies.is_silent(raw):
            return
        found = self._cookies.find(raw)
        if not found:
            return
        # PHP joins the lines with a comma, and takes what follows for the value's end.
        if len(lines) > 1 or len(found) > _MAX_COOKIES:
            raise Refused(self._cookie_clash)
        allowed = Named(dict.fromkeys(claim.sites), claim.named.every_site)
        elsewhere = Named.none()
        for _, end, meant in found:
            value = raw[end:].partition(b";")[0].removeprefix(b"=").strip(b' \t"')
            for rule, in_scope in located.queries:
                if rule.name not in meant:
                    continue
                named = rule.named_in_any_reading(value)
                if in_scope is False:
                    elsewhere.add(named)
                elif not named.is_within(allowed):
                    raise Refused(self._cookie_clash)
        if elsewhere:
            claim.named = _with_others(claim.named, elsewhere)
            claim.form = claim.form and _with_others(claim.form, elsewhere)


class RouteTable:
    """The routes in their order: the first whose path holds a request's takes it."""

    def __init__(self, routes: Sequence[RouteSettings], keys: KeySettings) -> None:
        """Raises ValueError that names the route, the rule and how to mend it."""
        self.routes = [Route(settings, keys) for settings in routes]
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            raise ValueError("two routes have the same name: names label metrics and logs, so each needs its own")
        self._located: dict[bytes, Located] = {}
        self.judged_names = frozenset().union(*(route.judged_names for route in self.routes))
        self.methods = frozenset().union(*(route.methods for route in self.routes))

    def locate(self, path: bytes) -> Located:
        """Return the route of a path, and what the path says there. Raises Refused if there is none. Hot."""
        located = self._located.get(path)
        if located is None:
            located = self._locate(path)
            if len(path) <= _REMEMBERED_LENGTH and len(located.readings) <= _REMEMBERED_READINGS:
                if len(self._located) >= _REMEMBERED:
                    self._located.clear()
                self._located[path] = located
        return located

    def _locate(self, path: bytes) -> Located:
        found = read_path(path)
        readings = found.split
        route = self._route(readings[0], lenient=False)
        for reading in readings:
            for lenient in (False, True):
                if self._route(reading, lenient=lenient) is not route:
                    raise Refused(_PATH_DIFFERS)
        if route is None:
            raise Refused(NO_ROUTE)
        located = route.locate(found)
        located.work = 0 if is_plain(path) else path_work(len(path), len(readings))
        return located

    def _route(self, reading: str, *, lenient: bool) -> Route | None:
        for route in self.routes:
            if route.holds(reading, lenient=lenient):
                return route
        return None


def _endpoint(entry: str, *, any_method: bool = False) -> _Endpoint:
    method, space, path = entry.partition(" ")
    if not space or not path.startswith("/"):
        raise ValueError(f'{entry!r} is not an endpoint: write "METHOD /path", such as "GET /api/health"')
    if not (any_method and method == "*"):
        check_method(method)
    pattern = PathPattern(path)
    if pattern.names_site:
        raise ValueError(f"{entry!r}: endpoints are listed exactly, without {{site}}")
    return _Endpoint(method.encode(), pattern)


def is_preflight(fields: Fields) -> bool:
    """Tell whether an OPTIONS request is a CORS preflight (Fetch standard, §CORS-preflight fetch)."""
    names = {name.lower() for name, _ in fields}
    return b"origin" in names and b"access-control-request-method" in names


def overriding_methods_in(query: Query) -> frozenset[bytes]:
    """Return the methods that Rails, Laravel and Symfony would take for the request's own."""
    if _OVERRIDE_NAMES.isdisjoint(query.meant):
        return NO_METHODS
    methods: set[bytes] = set()
    for parameter in itertools.chain.from_iterable(query.splits):
        if _OVERRIDE_NAMES.isdisjoint(parameter.meant):
            continue
        if len(parameter.value) > MOST_BYTES:
            return frozenset({TOO_MANY_METHODS})
        for value in value_readings(parameter.value).every():
            methods |= methods_in(value.encode("utf-8", "replace"))
    return frozenset(methods)


def refuse_parameters_that_steer(query: Query) -> None:
    """Raise Refused on a parameter by which some framework takes another path than the request's."""
    if not _STEERING_NAMES.isdisjoint(query.meant):
        raise Refused(_STEERING_PARAMETER)


def _candidate(
    by_path: Candidate, by_query: Named | None, by_header: Named | None, elsewhere: Named | None
) -> Candidate:
    """Return what all parts of a request name together."""
    parts = [part for part in (by_query, by_header) if part]
    if not parts and not elsewhere:
        return by_path
    sites = dict.fromkeys(by_path.sites)
    for part in parts:
        sites.update(part.sites)
    return Candidate(
        tuple(sites),
        tuple(elsewhere.sites) if elsewhere else (),
        any(part.every_site for part in parts),
        elsewhere is not None and elsewhere.every_site,
    )


def _with_site(named: Candidate, site: str) -> Candidate:
    """Return what is named, with a further site."""
    sites = named.sites
    if not sites:
        return Candidate((site,))
    return named if site in sites else Candidate((*sites, site))


def _with_others(named: Candidate, elsewhere: Named) -> Candidate:
    """Return what is named, with sites that must be granted as well."""
    return named._replace(
        others=tuple(dict.fromkeys((*named.others, *elsewhere.sites))),
        others_every_site=named.others_every_site or elsewhere.every_site,
    )


_CHARSETS = re.compile(rb"charset[*0-9 \t]*+=")
# Those that extend ASCII, so that names and separators are the same bytes in them.
_CHARSET = re.compile(
    rb"charset=[\"']?(?:utf-?8(?:-sig)?|(?:us-)?ascii|binary|latin-?1|iso[-_]8859-[0-9]{1,2}|(?:windows-|cp)125[0-9]|"
    rb"koi8-[ru]|macintosh|euc-(?:jp|kr|tw)|gb2312|unknown-8bit|)[\"']?(?=[;, \t]|\Z)"
)
_LONGEST_CONTENT_TYPE = 1024
_OTHER_CHARSET = AMBIGUOUS_REQUEST.because(
    "Some servers read the query in the `charset` of the Content-Type header. Send it as UTF-8, or leave `charset` out."
)


def refuse_charset(fields: Fields) -> None:
    """Raise Refused on a charset in which ASCII means something else, such as UTF-7 or EBCDIC.

    Django and ASP.NET read the query in the charset of the body, whether there is one or not.
    """
    for name, value in fields:
        if FOLDED[name] == b"content-type":
            lower = value.lower()
            if b"charset" in lower and (
                len(lower) > _LONGEST_CONTENT_TYPE or len(_CHARSETS.findall(lower)) != len(_CHARSET.findall(lower))
            ):
                raise Refused(_OTHER_CHARSET)


_NO_CONTENT_TYPE = FORM_BODY_NOT_READ.because(
    "A POST body without a Content-Type is not accepted here, because some servers read it as a form. Send its "
    "Content-Type."
)


def refuse_form_body(method: bytes, fields: Fields) -> None:
    """Raise Refused on a body that backends merge with the query: forms, and what Rack takes for one."""
    # In any spelling that is forwarded; it is missing if it is missing in the exact one.
    types = [(name, value.lower()) for name, value in fields if FOLDED[name] == b"content-type"]
    if any(b"x-www-form-urlencoded" in value or b"multipart/" in value for _, value in types):
        raise Refused(FORM_BODY_NOT_READ)
    if method == b"POST" and not any(value for name, value in types if name.lower() == b"content-type"):
        raise Refused(_NO_CONTENT_TYPE)
