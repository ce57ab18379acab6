"""The conditions that an API user can have: methods, networks and limits for the use of its keys. No I/O."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from admin.problems import Fault, Invalid
from proxy.decision.networks import read_network
from proxy.setting_values import check_method
from proxy.settings import MAX_BURST, MAX_PER_DAY, MAX_PER_SECOND, MIN_PER_SECOND

READ_ONLY: Final = ("GET", "HEAD", "OPTIONS")
"""The methods of a read-only key (RFC 9110 §9.2.1), without TRACE, which is never forwarded."""
MAX_METHODS: Final = 50
MAX_NETWORKS: Final = 100
"""Each request with the key is compared with all of them."""


def check_methods(methods: Sequence[str] | None) -> list[str] | None:
    """Return the methods, each once. Raises Invalid."""
    if methods is None:
        return None
    _check_count("methods", methods, MAX_METHODS)
    faults = []
    for place, method in enumerate(methods):
        try:
            check_method(method)
        except ValueError as error:
            faults.append(Fault(("methods", place), f"{error}."))
    if faults:
        raise Invalid.of(faults)
    return list(dict.fromkeys(methods))


def check_networks(networks: Sequence[str] | None) -> list[str] | None:
    """Return the networks in CIDR notation, each once. Raises Invalid."""
    if networks is None:
        return None
    _check_count("networks", networks, MAX_NETWORKS)
    faults = []
    read = []
    for place, text in enumerate(networks):
        try:
            read.append(str(read_network(text.strip())))
        except ValueError:
            faults.append(Fault(("networks", place), _network_fault(text)))
    if faults:
        raise Invalid.of(faults)
    return list(dict.fromkeys(read))


def check_limits(requests_per_second: float | None, burst: int | None, requests_per_day: int | None) -> None:
    """Raise Invalid unless these can be the limits of an API user."""
    _check_limit("requests_per_day", requests_per_day, 1, MAX_PER_DAY, _OF_ROUTE)
    if requests_per_second is not None and not MIN_PER_SECOND <= requests_per_second <= MAX_PER_SECOND:
        raise Invalid.at(
            "requests_per_second",
            detail=f"Give a number from {MIN_PER_SECOND:f} to {MAX_PER_SECOND:,}, or null {_OF_ROUTE}.",
        )
    if burst is not None and requests_per_second is None:
        raise Invalid.at("burst", detail="A burst needs requests_per_second.")
    _check_limit("burst", burst, 1, MAX_BURST, "for a second's worth")


_OF_ROUTE = "for the limit of the route"


def _check_limit(field: str, limit: int | None, least: int, most: int, without: str) -> None:
    if limit is not None and not least <= limit <= most:
        raise Invalid.at(field, detail=f"Give a number from {least} to {most:,}, or null {without}.")


def _check_count(field: str, listed: Sequence[str], most: int) -> None:
    if not 1 <= len(listed) <= most:
        raise Invalid.at(field, detail=f"List 1 to {most} {field}, or give null for no limit.")


def _network_fault(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return f'"{text}" is not a network. Write an address or a network, such as 192.0.2.0/24 or 2001:db8::/32.'
    return f'"{text}" is an address inside the network {meant}. Write {meant}, or the address alone.'
