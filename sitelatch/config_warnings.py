"""Warnings about settings that are valid but probably mistakes. `check-config` prints them."""

import json
from collections.abc import Iterator, Sequence

from proxy.http.cors import FORWARDED_PREFLIGHTS_WARNING
from proxy.relay.listeners import accepts_ipv6_only
from proxy.setting_values import place_of
from proxy.settings import HeaderRule, ListenSettings, ProxySettings, QueryRule, RouteSettings
from sitelatch.config import Config
from sitelatch.config_source import Fault
from sitelatch.toml_scanner import Place


def warnings(config: Config) -> list[Fault]:
    """Return one warning per probable mistake, with the line to write instead."""
    listeners = [*_listener_warnings("proxy", config.proxy, config.proxy.trusted_proxies)]
    listeners += _listener_warnings("ops", config.ops, ())
    listeners += _listener_warnings("admin", config.admin, config.admin.trusted_proxies)
    listeners += _shared_address_warnings(config.proxy)
    listeners += _idle_warnings(config)
    listeners += _shared_upstream_warnings(config.proxy.routes)
    return [
        *listeners,
        *(
            warning
            for index, route in enumerate(config.proxy.routes)
            for warning in _route_warnings(("proxy", "routes", index), route)
        ),
    ]


def is_about_site_rules(warning: Fault) -> bool:
    """Return whether a warning is about a rule of a route that reads sites."""
    return "sites" in warning.place


def _listener_warnings(table: str, settings: ListenSettings, trusted_proxies: Sequence[str]) -> Iterator[Fault]:
    if accepts_ipv6_only(settings.listen):
        port = settings.listen.rpartition(":")[2]
        yield Fault(
            (table, "listen"),
            f'"{settings.listen}" accepts IPv6 clients only. For IPv4 and IPv6 clients, write "*:{port}".',
        )
    if settings.socket_mode is not None and settings.socket_mode & 0o002 and "unix" in trusted_proxies:
        yield Fault(
            (table, "socket_mode"),
            "lets every user of this machine connect, and trusted_proxies believes the "
            "X-Forwarded-For of every client of the socket. Use socket_group to let one program connect.",
        )


def _shared_address_warnings(proxy: ProxySettings) -> Iterator[Fault]:
    """Warn if there must be a proxy in front of Sitelatch, but no proxy is trusted."""
    consequence = (
        "Without it, all clients have the proxy's address: they share the budget of unknown keys and the limit on "
        "connections, and logs do not say who sent a request."
    )
    place: Place = ("proxy", "trusted_proxies")
    if proxy.listen.startswith("unix:"):
        for_everyone = proxy.socket_mode is not None and proxy.socket_mode & 0o002
        if "unix" not in proxy.trusted_proxies and not for_everyone:
            yield Fault(place, f'add "unix" for the proxy that connects to the unix socket. {consequence}')
    elif not proxy.trusted_proxies and proxy.tls is None and (proxy.public_url or "").startswith("https://"):
        yield Fault(
            place,
            f"list the addresses of the proxy or load balancer that serves {proxy.public_url}, because Sitelatch does "
            f"not (there is no [proxy.tls]). {consequence}",
        )


_USUAL_IDLE_SECONDS = 60
"""The shortest time, in seconds, for which load balancers usually keep idle connections (docs/idle-connections.md)."""


def _idle_warnings(config: Config) -> Iterator[Fault]:
    seconds = config.limits.keepalive_seconds
    if config.proxy.trusted_proxies and seconds <= _USUAL_IDLE_SECONDS:
        yield Fault(
            ("limits", "keepalive_seconds"),
            f"load balancers keep idle connections for {_USUAL_IDLE_SECONDS} seconds or more, and the one in "
            f"trusted_proxies may send a request over a connection that closes after {seconds:g}. Set it to more than "
            "the load balancer's idle timeout (docs/idle-connections.md).",
        )


def is_about_shadow_mode(warning: Fault) -> bool:
    """Return whether a warning is about a route in shadow mode."""
    return warning.place[-1] == "mode"


def _shared_upstream_warnings(routes: Sequence[RouteSettings]) -> Iterator[Fault]:
    """Warn of each route in shadow mode that has the upstream of an enforced route."""
    enforced = {place_of(route.upstream): route.name for route in reversed(routes) if route.mode == "enforce"}
    for index, route in enumerate(routes):
        if route.mode == "shadow" and (name := enforced.get(place_of(route.upstream))) is not None:
            yield Fault(
                ("proxy", "routes", index, "upstream"),
                f'is also the upstream of "{name}", which is enforced. So requests that may reach another path of it '
                "through a parameter or header stay refused here, but a body that names one is forwarded without a key "
                "(docs/shadow-mode.md).",
            )


_DAY_SECONDS = 86_400


def _route_warnings(place: Place, route: RouteSettings) -> Iterator[Fault]:
    if route.mode == "shadow":
        yield Fault(
            (*place, "mode"),
            "the route is in shadow mode, so it forwards every request, with or without a valid key. Remove the line "
            "to enforce the decision (docs/shadow-mode.md).",
        )
    named_elsewhere = any(isinstance(rule, str) and rule.startswith(("path:", "host:")) for rule in route.sites)
    if named_elsewhere or route.path == "/":
        for index, rule in enumerate(route.sites):
            scoped = _scoped(rule, route.path)
            if scoped is not None:
                yield Fault(
                    (*place, "sites", index),
                    f"{_written(rule)} applies to every path of the route, even where your API ignores "
                    "it. A request that adds it passes there with any key for that site. State the paths on which "
                    f"your API reads it: {scoped}.",
                )
    limits = route.user_limits
    if limits is not None and limits.requests_per_second is not None and limits.requests_per_day is not None:
        reached = limits.requests_per_second * _DAY_SECONDS + (limits.burst or limits.requests_per_second)
        if limits.requests_per_day >= reached:
            yield Fault(
                (*place, "user_limits", "requests_per_day"),
                f"is never reached, because {limits.requests_per_second:.12g} requests per second are at most "
                f"{reached:,.0f} in a day. Lower it, or remove it.",
            )
    if route.preflight == "pass":
        yield Fault((*place, "preflight"), FORWARDED_PREFLIGHTS_WARNING)


def _scoped(rule: str | QueryRule | HeaderRule, route_path: str) -> str | None:
    """Return a query or header rule rewritten with `paths`, or None if it has `paths` or is another kind of rule."""
    if isinstance(rule, str):
        kind, _, name = rule.partition(":")
        return f'{{ {kind} = {json.dumps(name)}, paths = ["/…"] }}' if kind in ("query", "header") else None
    if rule.paths is not None and not any(_covers(path, route_path) for path in rule.paths):
        return None
    return f'{_written(rule.model_copy(update={"paths": None})).removesuffix(" }")}, paths = ["/…"] }}'


def _covers(path: str, route_path: str) -> bool:
    """Return whether a path pattern of a rule covers every path of the route."""
    return path.endswith("/**") and f"{route_path.rstrip('/')}/".startswith(path.removesuffix("**"))


def _written(rule: str | QueryRule | HeaderRule) -> str:
    if isinstance(rule, str):
        return json.dumps(rule)
    given = rule.model_dump(exclude_defaults=True, mode="json")
    pairs = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    return f"{{ {pairs} }}"
