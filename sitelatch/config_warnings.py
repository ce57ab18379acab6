"""What a config says that is allowed and probably not meant. `check-config` prints it. No I/O."""

import json

from proxy.http.cors import FORWARDED_PREFLIGHTS_WARNING
from proxy.settings import HeaderRule, QueryRule, RouteSettings
from sitelatch.config import Config


def advice(config: Config) -> list[str]:
    """Return one warning, with the line to write instead, for each thing that is probably not meant."""
    return [warning for route in config.proxy.routes for warning in _of_route(route)]


def _of_route(route: RouteSettings) -> list[str]:
    where = f'[[proxy.routes]] "{route.name}"'
    warnings = []
    named_elsewhere = any(isinstance(rule, str) and rule.startswith(("path:", "host:")) for rule in route.sites)
    if named_elsewhere or route.path == "/":
        for rule in route.sites:
            scoped = _scoped(rule, route.path)
            if scoped is not None:
                warnings.append(
                    f"{where} sites: {_written(rule)} counts on every path of the route, also where your API does not "
                    "read it, so a request that adds it passes there with any key for that site. Say where your API "
                    f"reads it: {scoped}."
                )
    if route.preflight == "pass":
        warnings.append(f"{where} preflight: {FORWARDED_PREFLIGHTS_WARNING}")
    return warnings


def _scoped(rule: str | QueryRule | HeaderRule, route_path: str) -> str | None:
    """Return a query or header rule as it is written with a scope, or None for other rules and those that have one."""
    if isinstance(rule, str):
        kind, _, name = rule.partition(":")
        return f'{{ {kind} = {json.dumps(name)}, paths = ["/…"] }}' if kind in ("query", "header") else None
    if rule.paths is not None and not any(_covers(path, route_path) for path in rule.paths):
        return None
    return f'{_written(rule.model_copy(update={"paths": None})).removesuffix(" }")}, paths = ["/…"] }}'


def _covers(path: str, route_path: str) -> bool:
    """Tell whether a path of a rule holds every path of the route."""
    return path.endswith("/**") and f"{route_path.rstrip('/')}/".startswith(path.removesuffix("**"))


def _written(rule: str | QueryRule | HeaderRule) -> str:
    if isinstance(rule, str):
        return json.dumps(rule)
    given = rule.model_dump(exclude_defaults=True, mode="json")
    pairs = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    return f"{{ {pairs} }}"
