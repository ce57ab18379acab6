"""Message heads: what each header field means to this hop, and the bytes that are sent on. No I/O.

llhttp has parsed them: names are tokens, values are without folding, bare CR, LF or NUL. Heads are always written
anew from what was parsed, never passed on as raw bytes.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]
"""Header fields in the order they came, names as spelt, values without outer white space."""


@dataclass(slots=True)
class Head:
    """One request's head as the decision sees it. `target` is as it came (RFC 9112 §3.2)."""

    method: bytes
    target: bytes
    fields: Fields
    has_body: bool = False
    dropped: Fields = field(default_factory=list)
    """Fields that are not forwarded because of odd characters in their names. Keys are still looked for here."""


# What a field means to this hop. PLAIN is forwarded as it came; hops.py handles each of the others.
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
    # RFC 9110 §7.6.1. Keep-Alive and Proxy-Connection are older than Connection's rules and often go unlisted.
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
    b"trailer": HOP,  # request trailers are dropped, so none may be announced
    b"proxy-authorization": HOP,
    b"proxy-authenticate": HOP,
    b"proxy": HOP,  # to CGI it is the HTTP_PROXY of the environment (httpoxy, CVE-2016-5385)
    b"http2-settings": HOP,  # goes with `Upgrade: h2c`, which would carry requests past the decision
    b"upgrade": UPGRADE,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    # Where the request came from. Only a trusted proxy is believed.
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-forwarded-host": FORWARDING,
    b"x-forwarded-port": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": FORWARDING,
    # The identity that Sitelatch adds.
    b"x-api-user-id": NEVER,
    b"x-api-workspace": NEVER,
    b"x-api-sites": NEVER,
}
BELIEVED = frozenset(name for name, kind in REQUEST_KINDS.items() if kind == FORWARDING)
"""The headers that a trusted proxy may set. All others that tell of the original request are dropped from it too."""

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
    """Return a field's name as CGI, WSGI and PHP know it: they read `_`, and some all odd characters, as `-`."""
    return name.translate(_FOLD)


def _kind_of_response_field(name: bytes) -> int:
    return _RESPONSE_KINDS.get(name.lower(), PLAIN)


_REMEMBERED_BYTES = 64
"""Longer names are not remembered: clients choose them, and 4,096 of 32 KiB would stay for good."""


class Spellings(dict[bytes, int]):
    """Field names as spelt to their kind: one dict look-up instead of `lower()` on the hot path.

    Clients choose spellings, so it is bounded: past the bound new spellings are worked out each time.
    """

    BOUND = 4096

    def __init__(self, kind: Callable[[bytes], int]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: bytes) -> int:
        kind = self._kind(name)
        if len(self) < self.BOUND and len(name) <= _REMEMBERED_BYTES:
            self[name] = kind
        return kind


class FoldedNames(dict[bytes, bytes]):
    """Field names as spelt to what `fold_name` says. Bounded as above."""

    def __missing__(self, name: bytes) -> bytes:
        folded = fold_name(name)
        if len(self) < Spellings.BOUND and len(name) <= _REMEMBERED_BYTES:
            self[name] = folded
        return folded


FOLDED = FoldedNames()
RESPONSE_SPELLINGS = Spellings(_kind_of_response_field)


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """Return the members of a comma-separated list field, in lower case (RFC 9110 §5.6.1)."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")} - {b""}


def without(fields: Fields, names: AbstractSet[bytes]) -> Fields:
    """Return the fields but those of `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]
