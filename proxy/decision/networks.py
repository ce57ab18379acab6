"""The networks from which a key may be used. No I/O."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED_BITS = 96
"""IPv4 addresses in IPv6 notation have this prefix: `::ffff:192.0.2.1`."""


@lru_cache(maxsize=4096)
def read_network(text: str) -> Network:
    """Return a network. Many keys have the same ones, so they share the objects. Raises ValueError.

    The result has no IPv4 addresses in IPv6 notation, and neither has an address of `read_address`.
    """
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Return a client's address, or None if it has none, as on a unix socket."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def contains(networks: Iterable[Network], address: str) -> bool:
    """Return whether a client's address is in one of the networks."""
    read = read_address(address)
    return read is not None and any(read in network for network in networks)
