"""Message heads as values, and how this proxy handles each header field. No I/O.

llhttp has parsed the fields, so names are tokens, and values contain no line folding, bare CR, LF or NUL.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]
"""Header fields in order of arrival. Names keep their spelling. Values are without surrounding white space."""


@dataclass(slots=True)
class Head:
    """A request head. `minor` is the 0 or 1 of HTTP/1.x.

    The request parser returns a head with all fields and the target as it arrived. `clean_request` returns one without
    hop-by-hop fields and with a target in origin form (RFC 9112 §3.2.1), as the decision and the upstream see it.
    """

    method: bytes
    target: bytes
    fields: Fields
    has_body: bool = False
    dropped: Fields = field(default_factory=list)
    """Fields that are not forwarded because of odd characters in their names. The decision looks for keys in them."""
    minor: int = 1
    received: int = 0
    """How many fields arrived, including those that are in neither list. Reading each of them took time."""
    websocket: bool = False
    """Whether the request asks for a WebSocket connection."""

    def with_fields(self, fields: Fields) -> "Head":
        """Return the head with other fields."""
        return Head(
            self.method,
            self.target,
            fields,
            self.has_body,
            self.dropped,
            self.minor,
            self.received,
            self.websocket,
        )

    @property
    def origin(self) -> bytes:
        """The `Origin`, or nothing if the head has none or more than one."""
        origins = [value for name, value in self.fields if name.lower() == b"origin"]
        return origins[0] if len(origins) == 1 else b""


# How this proxy handles a field. PLAIN fields are forwarded unchanged. hop_by_hop.py handles the other kinds.
PLAIN = 0
CONNECTION = 1
HOP = 2
HOST = 3
CONTENT_LENGTH = 4
TRANSFER_ENCODING = 5
EXPECT = 6
UPGRADE = 7
FORWARDING = 8
NEVER = 9
MALFORMED = 10
ODD = 11
TRAILER = 12

REQUEST_KINDS = {
    b"connection": CONNECTION,
    # RFC 9110 §7.6.1. Keep-Alive and Proxy-Connection are older than these rules, and Connection often omits them.
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
    b"trailer": HOP,  # request trailers are dropped, so they must not be announced
    b"proxy-authorization": HOP,
    b"proxy-authenticate": HOP,
    b"proxy": HOP,  # CGI turns it into the environment variable HTTP_PROXY (httpoxy, CVE-2016-5385)
    b"http2-settings": HOP,  # belongs to `Upgrade: h2c`, which would carry requests past the decision
    b"upgrade": UPGRADE,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    # The origin of the request. These fields are forwarded only from trusted proxies.
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-forwarded-host": FORWARDING,
    b"x-forwarded-port": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": FORWARDING,
    # The identity of the API user, which only Sitelatch sets.
    b"x-api-user-id": NEVER,
    b"x-api-workspace": NEVER,
    b"x-api-sites": NEVER,
}
BELIEVED = frozenset(name for name, kind in REQUEST_KINDS.items() if kind == FORWARDING)
"""The headers that a trusted proxy may set. Other headers about the origin are always dropped."""

_RESPONSE_KINDS = {
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authenticate": HOP,
    b"te": HOP,
    b"trailer": TRAILER,
    b"upgrade": UPGRADE,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
}


_FOLD = bytes(byte if chr(byte).isalnum() and byte < 0x80 else 0x2D for byte in range(256)).lower()


def fold_name(name: bytes) -> bytes:
    """Return a field's name as CGI, WSGI and PHP see it: in lowercase, with every odd character read as `-`."""
    return name.translate(_FOLD)


def _kind_of_response_field(name: bytes) -> int:
    return _RESPONSE_KINDS.get(name.lower(), PLAIN)


_MAX_CACHED_NAME_BYTES = 64
"""Longer names are not cached, because clients choose names, and 4,096 cached names could take 32 KiB each."""


class Spellings(dict[bytes, int]):
    """The kind of each field name, cached by spelling: one dict lookup instead of `lower()` on the hot path.

    Clients choose spellings, so the cache is bounded. It is cleared when it is full, so invented names do not stay.
    """

    BOUND = 4096

    def __init__(self, kind: Callable[[bytes], int]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: bytes) -> int:
        kind = self._kind(name)
        if len(name) <= _MAX_CACHED_NAME_BYTES:
            if len(self) >= self.BOUND:
                self.clear()
            self[name] = kind
        return kind


class FoldedNames(dict[bytes, bytes]):
    """The result of `fold_name` for each field name, cached by spelling, and bounded like `Spellings`."""

    def __missing__(self, name: bytes) -> bytes:
        folded = fold_name(name)
        if len(name) <= _MAX_CACHED_NAME_BYTES:
            if len(self) >= Spellings.BOUND:
                self.clear()
            self[name] = folded
        return folded


FOLDED = FoldedNames()
RESPONSE_SPELLINGS = Spellings(_kind_of_response_field)


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """Return the members of a comma-separated list field, in lowercase (RFC 9110 §5.6.1)."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")} - {b""}


def without(fields: Fields, names: AbstractSet[bytes]) -> Fields:
    """Return the fields except those in `names` (lowercase)."""
    return [field for field in fields if field[0].lower() not in names]
