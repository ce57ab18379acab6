"""Checks for settings that are valid on their own but conflict: they would refuse every request, or have no effect."""

import re
from collections.abc import Iterator, Mapping

from proxy.decision.header_rules import HeaderSiteRule
from proxy.decision.key_locations import parameter_names
from proxy.decision.parameter_keys import QueryKey
from proxy.decision.path_rules import PathSiteRule
from proxy.decision.query_rules import QuerySiteRule
from proxy.decision.routes import Route
from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import fold_name
from proxy.http.request_header_names import RequestSpellings, why_never_forwarded
from proxy.settings import ProxySettings, RouteSettings, ValueRule
from sitelatch.config_source import Fault
from sitelatch.toml_scanner import Place

_MARK = "{site}"
_HOST_HEADERS = ("host", "x-forwarded-host", "forwarded")
_PREFLIGHT_HEADERS = (b"origin", b"access-control-request-method", b"access-control-request-headers")


_DROP_HEADERS: Place = ("proxy", "drop_headers")


def conflicts(proxy: ProxySettings, routes: Mapping[int, Route]) -> Iterator[Fault]:
    """Yield a fault for each conflict. `routes` are the compiled routes, by their index in the config."""
    for index, entry in enumerate(proxy.drop_headers):
        yield from (Fault((*_DROP_HEADERS, index), message) for message in _dropped_everywhere(entry, routes))
    for index, route in routes.items():
        place = ("proxy", "routes", index)
        for check in (_headers_that_never_arrive, _keys_among_sites, _values, _outside_the_path, _endpoints, _cors):
            for fault in check(route, proxy):
                yield fault._replace(
                    place=(*place, *fault.place), depends_on=tuple((*place, *other) for other in fault.depends_on)
                )


def _dropped_everywhere(entry: str, routes: Mapping[int, Route]) -> Iterator[str]:
    """Yield why `[proxy] drop_headers` cannot remove this entry's headers: a route reads them."""
    drop = DropHeaders([entry])
    for route in routes.values():
        read = route.judged_names - {fold_name(name.encode()) for name in route.site_headers}
        for name in sorted(filter(drop.covers, read)):
            yield (
                f"{entry!r} covers {name.decode()}, where route {route.name!r} reads API keys. Remove the entry, or "
                "read keys from another location."
            )
        if _reads_preflights(route.settings) and any(map(drop.covers, _PREFLIGHT_HEADERS)):
            yield (
                f"{entry!r} covers a CORS request header, which route {route.name!r} needs for CORS. Remove the entry."
            )


def _reads_preflights(route: RouteSettings) -> bool:
    return route.cors is not None or route.preflight == "pass"


def _cors(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report headers of CORS requests that the route drops, although it reads them."""
    if _reads_preflights(route.settings):
        for index, entry in enumerate(route.settings.drop_headers):
            if any(map(DropHeaders([entry]).covers, _PREFLIGHT_HEADERS)):
                yield Fault(
                    ("drop_headers", index),
                    f"{entry!r} covers a CORS request header, which the route needs. Remove it.",
                )


def _headers_that_never_arrive(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report site rules whose header is not forwarded, so that the upstream would never see it."""
    for index, rule in enumerate(route.site_rules.rules):
        if not isinstance(rule, HeaderSiteRule):
            continue
        name = rule.name.decode()
        if name in _HOST_HEADERS:
            message = f'use a rule like "host:{_MARK}.api.example.com" to read a site from the host, not {name}.'
            yield Fault(("sites", index), message)
        elif why := _why_not_forwarded(name, proxy):
            yield Fault(("sites", index), f"the header {name} is not forwarded: {why}")


def _why_not_forwarded(name: str, proxy: ProxySettings) -> str:
    """Return why the header is not forwarded and what to change. Return "" if it is forwarded."""
    if RequestSpellings(proxy.header_underscores, proxy.drop_headers).forwards(name):
        return ""
    if why := why_never_forwarded(name):
        return f"{why}. Name the site in another header."
    if DropHeaders(proxy.drop_headers).covers(fold_name(name.encode())):
        return "[proxy] drop_headers removes it. Remove that entry."
    return 'a name with `_` needs [proxy] header_underscores = "pass".'


def _keys_among_sites(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report parameters and headers that are configured to carry both API keys and sites."""
    names = parameter_names(route.key_reader.locations, QueryKey)
    for index, rule in enumerate(route.site_rules.rules):
        if isinstance(rule, HeaderSiteRule) and rule.folded_name in route.key_reader.names:
            yield Fault(
                ("sites", index),
                f"the header {rule.name.decode()} carries API keys, so it cannot also name a site. Use another header.",
            )
        if isinstance(rule, QuerySiteRule) and any(name.means(rule.raw_name) for name in names):
            yield Fault(
                ("sites", index),
                f"the query parameter `{rule.text}` carries API keys, so it cannot also name a site. Use another "
                "parameter.",
            )


def _value_rules(route: Route) -> Iterator[tuple[int, ValueRule]]:
    """Yield the settings of the query and header rules, with their index in `sites`."""
    for index, rule in enumerate(route.site_rules.rules):
        if isinstance(rule, HeaderSiteRule | QuerySiteRule):
            yield index, rule.rule


def _values(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report templates and words of a rule that no value can ever match."""
    for index, rule in _value_rules(route):
        place = ("sites", index)
        forms = [form.partition(_MARK) for form in rule.forms]
        for number, (before, _, after) in enumerate(forms):
            for earlier_before, _, earlier_after in forms[:number]:
                if before.startswith(earlier_before) and after.endswith(earlier_after):
                    yield Fault(
                        (*place, "templates", number),
                        f"the template {before + _MARK + after!r} is never used, because the template "
                        f"{earlier_before + _MARK + earlier_after!r} before it already matches the same values. Change "
                        "the order.",
                    )
                    break
            if rule.separator and (rule.separator in before or rule.separator in after):
                message = f"the template {before + _MARK + after!r} contains the separator {rule.separator!r}."
                yield Fault((*place, "separator"), message)
        if rule.separator and rule.all is not None and rule.separator in rule.all:
            message = f"the word {rule.all!r} for all sites contains the separator {rule.separator!r}."
            yield Fault((*place, "separator"), message)


def _outside_the_path(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report paths that are outside the path of the route, so that the route never receives them."""
    settings = route.settings
    written: list[tuple[Place, str]] = []
    for index, rule in enumerate(route.site_rules.rules):
        if isinstance(rule, PathSiteRule):
            written.append((("sites", index), rule.template))
    for index, value_rule in _value_rules(route):
        written += [(("sites", index, "paths", number), path) for number, path in enumerate(value_rule.paths or ())]
    for key, entries in (("public", settings.public), ("refuse", settings.refuse)):
        for index, entry in enumerate(entries):
            if not entry.startswith("query:"):
                written.append(((key, index), entry.partition(" ")[2]))
    for place, path in written:
        if not _meets(path, settings.path):
            message = f"{path!r} is not below the route's path {settings.path!r}, so no request matches it."
            yield Fault(place, message, (("path",),))


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


def _endpoints(route: Route, proxy: ProxySettings) -> Iterator[Fault]:
    """Report public endpoints whose method the route does not forward."""
    for index, entry in enumerate(route.settings.public):
        method = entry.partition(" ")[0]
        if method.encode() not in route.methods:
            yield Fault(
                ("public", index),
                f"{method} is not in `methods` of the route, so no such request passes. Add it there.",
                (("methods",),),
            )
