"""The conditions that an API user can have: methods, networks and limits for the use of its keys. No I/O."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from admin.problems import Fault, Invalid
from proxy.decision.networks import read_network
from proxy.setting_values import check_method
from proxy.settings import MAX_BURST, MAX_PER_SECOND

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


def check_limits(requests_per_second: float | None, burst: int | None) -> None:
    """Raise Invalid unless these are the limits of an API user."""
    if requests_per_second is None:
        if burst is not None:
            raise Invalid.at("burst", detail="A burst needs requests_per_second.")
        return
    if not 0 < requests_per_second <= MAX_PER_SECOND:
        raise Invalid.at(
            "requests_per_second",
            detail=f"Give a number above 0 and up to {MAX_PER_SECOND:,}, or null for the limit of the route.",
        )
    if burst is not None and not 1 <= burst <= MAX_BURST:
        raise Invalid.at("burst", detail=f"Give a number from 1 to {MAX_BURST:,}, or null for a second's worth.")


def _check_count(field: str, listed: Sequence[str], most: int) -> None:
    if not 1 <= len(listed) <= most:
        raise Invalid.at(field, detail=f"List 1 to {most} {field}, or give null for no limit.")


def _network_fault(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return f'"{text}" is not a network. Write an address or a network, such as 192.0.2.0/24 or 2001:db8::/32.'
    return f'"{text}" is an address inside the network {meant}. Write {meant}, or the address alone.'
