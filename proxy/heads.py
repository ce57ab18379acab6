"""Heads: what of a message's fields is for us, what goes on, and the bytes that go on. No I/O.

llhttp has parsed them: names are tokens, values are without folding, bare CR, LF or NUL. Heads are always written
anew from what was parsed, never passed on as raw bytes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Fields = list[tuple[bytes, bytes]]
"""Header fields in the order they came, names as spelt, values without outer white space."""


@dataclass(slots=True)
class Head:
    """One request's head as the decision sees it. `target` is as it came (RFC 9112 §3.2)."""

    method: bytes
    target: bytes
    fields: Fields
    has_body: bool = False
    dropped: Sequence[tuple[bytes, bytes]] = ()
    """Fields whose names are not forwarded, in which keys and look-alikes of site headers are looked for."""


# What a field is to us. PLAIN goes on as it came; of the others each is dealt with where it says.
PLAIN = 0
CONNECTION = 1
HOP = 2
HOST = 3
CONTENT_LENGTH = 4
TRANSFER_ENCODING = 5
EXPECT = 6
UPGRADE = 7
FORWARDING = 8
OURS = 9
MALFORMED = 10

_REQUEST_KINDS = {
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
    # Who the client says it came through; only a trusted proxy is believed.
    b"forwarded": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": FORWARDING,
    # Who we say it is, and paths that some servers take instead of the target (IIS, Symfony, Envoy).
    b"x-api-user-id": OURS,
    b"x-api-workspace": OURS,
    b"x-api-sites": OURS,
    b"x-original-url": OURS,
    b"x-rewrite-url": OURS,
    b"x-original-uri": OURS,
    b"x-envoy-original-path": OURS,
}
SET_BY_US = frozenset(name for name, kind in _REQUEST_KINDS.items() if kind in (FORWARDING, OURS))

_ANSWER_KINDS = {
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authenticate": HOP,
    b"te": HOP,
    b"upgrade": UPGRADE,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
}


_ODD = re.compile(rb"[^a-z0-9]")


def fold_name(name: bytes) -> bytes:
    """Return a field's name as CGI, WSGI and PHP know it: they read `_`, and some all odd characters, as `-`."""
    return _ODD.sub(b"-", name.lower())


def _kind_of_request_field(name: bytes) -> int:
    lower = name.lower()
    kind = _REQUEST_KINDS.get(lower)
    if kind is not None:
        return kind
    # CGI, WSGI and PHP read `_` as `-` (CVE-2025-64484): what we set or drop must be dropped in that spelling too,
    # and framing in that spelling is framing to some.
    folded = fold_name(name)
    if folded.startswith(b"x-forwarded-"):
        return FORWARDING if lower == folded else OURS
    kind = _REQUEST_KINDS.get(folded, PLAIN)
    if kind in (CONTENT_LENGTH, TRANSFER_ENCODING):
        return MALFORMED
    return OURS if kind in (FORWARDING, OURS) else HOP if kind == HOP else PLAIN


def _kind_of_answer_field(name: bytes) -> int:
    return _ANSWER_KINDS.get(name.lower(), PLAIN)


_REMEMBERED_BYTES = 64
"""Longer names are not remembered: clients choose them, and 4,096 of 32 KiB would stay for good."""


class Spellings(dict[bytes, int]):
    """Field names as spelt to their kind: one dict look-up instead of `lower()` on the hot path.

    Clients choose spellings, so it is bounded: past the bound new spellings are worked out each time.
    """

    BOUND = 4096

    def __init__(self, *, answers: bool = False) -> None:
        super().__init__()
        self._kind = _kind_of_answer_field if answers else _kind_of_request_field

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
REQUEST_SPELLINGS = Spellings()
ANSWER_SPELLINGS = Spellings(answers=True)


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """Return the members of a comma-separated list field, in lower case (RFC 9110 §5.6.1)."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")} - {b""}


def without(fields: Fields, names: set[bytes]) -> Fields:
    """Return the fields but those of `names` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def render(start: bytes, fields: Fields, end: bytes) -> bytes:
    """Return a head's bytes: start line, fields as they came, then `end` (whole lines of our own)."""
    return b"%b\r\n%b%b\r\n" % (start, b"".join([name + b": " + value + b"\r\n" for name, value in fields]), end)
