"""The origin of a request: what trusted proxies report about it, and what Sitelatch tells the upstream. No I/O."""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from proxy.http.headers import BELIEVED, Fields

ORIGIN_NAMES = BELIEVED - {b"x-request-id"}
"""The headers in which a trusted proxy says where a request came from. Without them, the proxy itself would appear to
be the client."""

UNKNOWN = "unknown"
"""A client's address if the trusted proxies do not say which it is (RFC 7239, section 6.2)."""

_MAX_HOPS = 16
"""The maximum number of trusted proxies in a row. A client can write any number of entries before theirs."""

# Frameworks build the request's URL from these headers. A proxy may pass on a client's values. Then `https://x/path?`
# in X-Forwarded-Proto, or a path after the port, replaces the path that the framework serves (CVE-2025-64525,
# CVE-2025-31137). Nothing backtracks, so each pattern takes linear time.
_COMMA = rb"[ \t]*+,[ \t]*+"
_HOST = rb"(?:[A-Za-z0-9._-]++|\[[0-9A-Fa-f:.]++\])(?>(?::[0-9]{1,5}+)?)"


# A pair of `Forwarded` (RFC 7239 §4). Some parsers accept spaces and more quotes there, and then find a different host.
# So only values that all parsers read in the same way are kept. Proxies often write ports and addresses unquoted.
_NODE = rb"[A-Za-z0-9._~:\[\]-]++"
_PAIR = rb'(?>[Hh][Oo][Ss][Tt]=(?:%b|"%b")|(?![Hh][Oo][Ss][Tt]=)[A-Za-z0-9_-]++=(?:%b|"%b"))' % (
    _HOST,
    _HOST,
    _NODE,
    _NODE,
)


def _list_of(member: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"%b(?>(?:%b%b){0,%d})\Z" % (member, _COMMA, member, _MAX_HOPS - 1))


_ORIGIN_VALUES = {
    b"x-forwarded-proto": _list_of(rb"[A-Za-z]++"),
    b"x-forwarded-host": _list_of(_HOST),
    b"x-forwarded-port": _list_of(rb"[0-9]{1,5}+"),
    b"forwarded": _list_of(rb"%b(?>(?:;[ \t]*+%b)*)" % (_PAIR, _PAIR)),
}
_MAX_ORIGIN_BYTES = 2048
"""The maximum length of a value. Proxies write shorter ones, but a client may have written the beginning."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")

_HOSTLESS = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
_ORIGIN_LINES = _HOSTLESS + b"X-Forwarded-Host: %b\r\n"

_MAX_HOP_BYTES = 64
"""An IPv6 address in brackets with a port takes at most 53 characters."""
_HOP_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+|[0-9A-Fa-f:.]+)(?::\d+)?)\Z")
"""An address in the notation of proxies. Some add a port."""


def address_matcher(networks: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether an address is a trusted proxy's. `unix` stands for any unix socket.

    Raises ValueError on an entry that is neither an address nor a network.
    """
    trusted = [ipaddress.ip_network(network, strict=False) for network in networks if network != "unix"]
    unix = "unix" in networks

    @lru_cache(maxsize=4096)
    def is_trusted(address: str) -> bool:
        if address == "unix":
            return unix
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in trusted)

    return is_trusted


def is_plain_origin(field: tuple[bytes, bytes]) -> bool:
    """Return False if a trusted proxy's header about a request's origin contains something else, such as a path."""
    pattern = _ORIGIN_VALUES.get(field[0].lower())
    return pattern is None or (len(field[1]) <= _MAX_ORIGIN_BYTES and pattern.match(field[1]) is not None)


def forwarding_lines(
    fields: Fields, *, peer: bytes, scheme: bytes, host: bytes, request_id: bytes, trusted: bool
) -> tuple[Fields, bytes, bytes]:
    """Return the remaining fields, the new lines about the request's origin, and the request id.

    `host` is the Host header, or nothing in an HTTP/1.0 request without one.
    The peer's address is appended to a trusted proxy's X-Forwarded-For. The proxy's X-Forwarded-Proto, X-Forwarded-Host
    and X-Request-Id are kept.
    """
    if not trusted:
        lines = b"X-Request-Id: %b\r\n%b" % (request_id, origin_lines(peer=peer, scheme=scheme, host=host))
        return fields, lines, request_id
    rest: Fields = []
    through: list[bytes] = []
    seen: set[bytes] = set()
    for field in fields:
        lower = field[0].lower()
        if lower == b"x-forwarded-for":
            through.append(field[1])
        elif lower == b"x-request-id":
            if _REQUEST_ID.match(field[1]):
                request_id = field[1]
        else:
            seen.add(lower)
            rest.append(field)
    lines = b"X-Request-Id: %b\r\nX-Forwarded-For: %b\r\n" % (request_id, b", ".join([*through, peer]))
    if b"x-forwarded-proto" not in seen:
        lines += b"X-Forwarded-Proto: %b\r\n" % scheme
    if host and b"x-forwarded-host" not in seen:
        lines += b"X-Forwarded-Host: %b\r\n" % host
    return rest, lines, request_id


def origin_lines(*, peer: bytes, scheme: bytes, host: bytes) -> bytes:
    """Return the lines about the origin of a request that no trusted proxy forwarded."""
    return _ORIGIN_LINES % (peer, scheme, host) if host else _HOSTLESS % (peer, scheme)


def client_address(fields: Iterable[tuple[bytes, bytes]], peer: str, is_trusted: Callable[[str], bool]) -> str:
    """Return the nearest address that is not a trusted proxy's, reading X-Forwarded-For from the right.

    Returns `UNKNOWN` if an entry on the way is not an address, or if there are too many entries. The address of a proxy
    must not stand for that of its client, because keys can be limited to networks.
    """
    values = [value for name, value in fields if name.lower() == b"x-forwarded-for"]
    hops = b",".join(values).rsplit(b",", _MAX_HOPS) if values else []
    too_many = len(hops) > _MAX_HOPS
    del hops[:-_MAX_HOPS]
    address = peer
    while hops and is_trusted(address):
        raw = hops.pop().strip()
        hop = _HOP_ADDRESS.match(raw.decode("latin-1")) if len(raw) <= _MAX_HOP_BYTES else None
        try:
            address = str(ipaddress.ip_address((hop[1] or hop[2]) if hop else ""))
        except ValueError:
            return UNKNOWN
    return UNKNOWN if too_many and is_trusted(address) else address
