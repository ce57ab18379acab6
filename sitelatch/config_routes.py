"""Compiles the routes of a config one by one, so that each mistake in them is found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from proxy.decision.endpoints import endpoint
from proxy.decision.key_reader import KeyReader
from proxy.decision.path_patterns import PathPattern
from proxy.decision.routes import Route
from proxy.decision.site_rules import site_rule
from proxy.http.drop_headers import DropHeaders
from proxy.settings import KeySettings, RouteSettings
from sitelatch.config_errors import sentence
from sitelatch.config_source import Fault
from sitelatch.toml_scanner import Place
from sql.settings import SettingError


def _refused(entry: str) -> object:
    """Compile one entry of a route's `refuse`. Raises ValueError."""
    if entry == "query:":
        raise ValueError('"query:" in refuse needs a parameter\'s name, such as "query:urls"')
    return None if entry.startswith("query:") else endpoint(entry, refuse=True)


_LISTS: Mapping[str, Callable[[Any], object]] = {
    "sites": site_rule,
    "public": endpoint,
    "refuse": _refused,
    "keys_from": lambda entry: KeyReader([entry]),
    "drop_headers": lambda entry: DropHeaders([entry]),
}
"""How each item of a route's lists is compiled. Raises ValueError on an invalid item."""


def route_item_problems(routes: Sequence[RouteSettings]) -> Iterator[Fault]:
    """Yield a fault for each path, and for each item of a list, that is invalid by itself."""
    for index, settings in enumerate(routes):
        place: Place = ("proxy", "routes", index)
        try:
            PathPattern(settings.path, prefix=True)
        except ValueError as error:
            yield Fault((*place, "path"), sentence(error))
        for key, compile_item in _LISTS.items():
            yield from item_problems((*place, key), getattr(settings, key) or (), compile_item)


def compiled_routes(routes: Sequence[RouteSettings], keys: KeySettings) -> tuple[dict[int, Route], list[Fault]]:
    """Return the routes by their index, without invalid ones, and the faults of all routes."""
    compiled: dict[int, Route] = {}
    found = list(_unreachable(routes))
    for index, settings in enumerate(routes):
        place: Place = ("proxy", "routes", index)
        if settings.upstream_tls is not None and not settings.upstream.startswith("https://"):
            message = "is for https:// upstreams only. Remove the table, or use an https:// upstream."
            found.append(Fault((*place, "upstream_tls"), message, ((*place, "upstream"),)))
        try:
            compiled[index] = Route(settings, keys)
        except ValueError as error:
            cause = error.__cause__
            inner = cause.place if isinstance(cause, SettingError) else ()
            found.append(Fault((*place, *inner), sentence(cause), ((*place, "workspace"),)))
    return compiled, found


def item_problems(place: Place, items: Sequence[Any], compile_item: Callable[[Any], object]) -> Iterator[Fault]:
    """Yield a fault for each item of a list that cannot be compiled."""
    for index, item in enumerate(items):
        try:
            compile_item(item)
        except ValueError as error:
            yield Fault((*place, index), sentence(error))


def _unreachable(routes: Sequence[RouteSettings]) -> Iterator[Fault]:
    """Report routes with the name of an earlier one, and routes whose requests an earlier one receives."""
    for index, route in enumerate(routes):
        place: Place = ("proxy", "routes", index)
        for number, earlier in enumerate(routes[:index]):
            before: Place = ("proxy", "routes", number)
            if route.name == earlier.name:
                yield Fault(
                    (*place, "name"),
                    f"route number {number + 1} has the same name. Names are labels in metrics and logs, so each must "
                    "be unique.",
                    ((*before, "name"),),
                )
                break
        for number, earlier in enumerate(routes[:index]):
            outer = earlier.path.rstrip("/")
            if route.path.rstrip("/") == outer or route.path.startswith(f"{outer}/"):
                yield Fault(
                    (*place, "path"),
                    f'no request reaches this route, because route number {number + 1}, "{earlier.name}", receives '
                    f'every path below "{outer}/". Put this route before it, or give it another path.',
                    (("proxy", "routes", number, "path"),),
                )
                break
