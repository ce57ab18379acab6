"""Checks for settings that are valid on their own but conflict: they would refuse every request, or have no effect."""

import re
from collections.abc import Iterable, Iterator

from proxy.decision.key_locations import QueryKey, parameter_names
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import fold_name
from proxy.http.request_header_names import RequestSpellings, why_never_forwarded
from proxy.settings import KeySettings, ProxySettings, RouteSettings, ValueRule

_MARK = "{site}"
_HOST_HEADERS = ("host", "x-forwarded-host", "forwarded")
_PREFLIGHT_HEADERS = (b"origin", b"access-control-request-method", b"access-control-request-headers")


def conflicts(proxy: ProxySettings, keys: KeySettings, table: RouteTable) -> list[str]:
    """Return an error message for each conflict. `table` is compiled from the routes of `proxy`."""
    found = list(_dropped_everywhere(proxy, table))
    for route in table.routes:
        where = f'[[proxy.routes]] "{route.name}"'
        for check in (_headers_that_never_arrive, _keys_among_sites, _values, _outside_the_path, _endpoints, _cors):
            found += [f"{where} {message}" for message in check(route, proxy, keys)]
    return found


def _dropped_everywhere(proxy: ProxySettings, table: RouteTable) -> Iterator[str]:
    """Report headers that a route reads but `[proxy] drop_headers` removes before routing."""
    for entry in proxy.drop_headers:
        drop = DropHeaders([entry])
        for route in table.routes:
            read = route.judged_names - {fold_name(name.encode()) for name in route.site_headers}
            for name in sorted(filter(drop.covers, read)):
                yield (
                    f"[proxy] drop_headers: {entry!r} covers {name.decode()}, where route {route.name!r} "
                    "reads API keys. Remove the entry, or read keys from another location."
                )
            if _reads_preflights(route.settings) and any(map(drop.covers, _PREFLIGHT_HEADERS)):
                yield (
                    f"[proxy] drop_headers: {entry!r} covers a CORS request header, which route {route.name!r} "
                    "needs for CORS. Remove the entry."
                )


def _reads_preflights(route: RouteSettings) -> bool:
    return route.cors is not None or route.preflight == "pass"


def _cors(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    for entry in route.settings.drop_headers if _reads_preflights(route.settings) else ():
        if any(map(DropHeaders([entry]).covers, _PREFLIGHT_HEADERS)):
            yield f"drop_headers: {entry!r} covers a CORS request header, which the route needs. Remove it."


def _headers_that_never_arrive(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    """Report site rules whose header is not forwarded, so that the upstream would never see it."""
    for name in route.site_headers:
        if name in _HOST_HEADERS:
            yield f'sites: use a rule like "host:{_MARK}.api.example.com" to read a site from the host, not {name}.'
        elif why := _why_not_forwarded(name, proxy):
            yield f"sites: the header {name} is not forwarded: {why}"


def _why_not_forwarded(name: str, proxy: ProxySettings) -> str:
    """Return why the header is not forwarded and what to change. Return "" if it is forwarded."""
    if RequestSpellings(proxy.header_underscores, proxy.drop_headers).forwards(name):
        return ""
    if why := why_never_forwarded(name):
        return f"{why}. Name the site in another header."
    if DropHeaders(proxy.drop_headers).covers(fold_name(name.encode())):
        return "[proxy] drop_headers removes it. Remove that entry."
    return 'a name with `_` needs [proxy] header_underscores = "pass".'


def _keys_among_sites(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    """Report parameters and headers that are configured to carry both API keys and sites."""
    queries = parameter_names(route.key_reader.locations, QueryKey)
    for name in route.site_headers:
        if fold_name(name.encode()) in route.key_reader.names:
            yield f"sites: the header {name} carries API keys, so it cannot also name a site. Use another header."
    for rule in route.site_rules.queries:
        if any(name.means(rule.raw_name) for name in queries):
            yield (
                f"sites: the query parameter `{rule.text}` carries API keys, so it cannot also name a site. "
                "Use another parameter."
            )


def _value_rules(route: Route) -> list[ValueRule]:
    """Return the settings of the query and header rules."""
    rules = route.site_rules
    return [*(rule.rule for rule in rules.queries), *(rule.rule for rule in rules.headers)]


def _values(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    """Report templates and words of a rule that no value can ever match."""
    for rule in _value_rules(route):
        forms = [form.partition(_MARK) for form in rule.forms]
        for number, (before, _, after) in enumerate(forms):
            for earlier_before, _, earlier_after in forms[:number]:
                if before.startswith(earlier_before) and after.endswith(earlier_after):
                    yield (
                        f"sites: the template {before + _MARK + after!r} is never used, because the template "
                        f"{earlier_before + _MARK + earlier_after!r} before it already matches "
                        "the same values. Change the order."
                    )
                    break
            if rule.separator and (rule.separator in before or rule.separator in after):
                yield f"sites: the template {before + _MARK + after!r} contains the separator {rule.separator!r}."
        if rule.separator and rule.all is not None and rule.separator in rule.all:
            yield f"sites: the word {rule.all!r} for all sites contains the separator {rule.separator!r}."


def _outside_the_path(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    """Report paths that are outside the path of the route, so that the route never receives them."""
    settings = route.settings
    written: list[tuple[str, Iterable[str]]] = [
        ("sites", (rule.template for rule in route.site_rules.paths)),
        ("sites", (path for rule in _value_rules(route) for path in rule.paths or ())),
        *((key, _paths_of(entries)) for key, entries in (("public", settings.public), ("refuse", settings.refuse))),
    ]
    for key, paths in written:
        for path in paths:
            if not _meets(path, settings.path):
                yield f"{key}: {path!r} is not below the route's path {settings.path!r}, so no request matches it."


def _paths_of(endpoints: Iterable[str]) -> Iterator[str]:
    return (entry.partition(" ")[2] for entry in endpoints if not entry.startswith("query:"))


def _meets(template: str, prefix: str) -> bool:
    """Return whether some path matches the template and is below the prefix."""
    segments, outer = template.split("/")[1:], prefix.rstrip("/").split("/")[1:]
    has_rest = segments[-1] == "**"
    if has_rest:
        segments.pop()
    return (has_rest or len(segments) >= len(outer)) and all(
        re.fullmatch(re.escape(segment).replace(re.escape(_MARK), ".+"), wanted, re.DOTALL)
        for segment, wanted in zip(segments, outer, strict=False)
    )


def _endpoints(route: Route, proxy: ProxySettings, keys: KeySettings) -> Iterator[str]:
    """Report public endpoints whose method the route does not forward."""
    for entry in route.settings.public:
        method = entry.partition(" ")[0]
        if method.encode() not in route.methods:
            yield f"public: {method} is not in `methods` of the route, so no such request passes. Add it there."
