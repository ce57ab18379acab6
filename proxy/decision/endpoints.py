"""The endpoints that `public` and `refuse` list: a method and a path. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.decision.path_patterns import PathPattern
from proxy.setting_values import check_method


@dataclass(slots=True)
class Endpoint:
    """A method, or `*` for all methods, and a path."""

    method: bytes
    path: PathPattern


def endpoint(entry: str, *, refuse: bool = False) -> Endpoint:
    """Compile an entry of `public`, or of `refuse`. Raises ValueError with a message that says how to correct it.

    Rails, Grape and others serve `/api/batch.json` like `/api/batch`, so `refuse` covers both.
    """
    method, space, path = entry.partition(" ")
    if not space or not path.startswith("/"):
        raise ValueError(f'{entry!r} is not an endpoint: write "METHOD /path", such as "GET /api/health"')
    if not (refuse and method == "*"):
        check_method(method)
    pattern = PathPattern(path, formats=refuse)
    if pattern.names_site:
        raise ValueError(f"{entry!r}: an endpoint is one exact path, without {{site}}")
    return Endpoint(method.encode(), pattern)


def methods_in_every_reading(endpoints: Iterable[Endpoint], readings: list[str]) -> frozenset[bytes]:
    """Return the methods of the endpoints whose path literally equals every reading."""
    return frozenset(
        endpoint.method
        for endpoint in endpoints
        if all(endpoint.path.match(reading, lenient=False) for reading in readings)
    )


def methods_in_any_reading(endpoints: Iterable[Endpoint], readings: list[str]) -> frozenset[bytes]:
    """Return the methods of the endpoints whose path leniently matches at least one reading."""
    return frozenset(
        endpoint.method
        for endpoint in endpoints
        if any(endpoint.path.match(reading, lenient=True) for reading in readings)
    )
