"""Where a request may carry its key: finding it in all of these places, and cutting it out of them. No I/O."""

import base64
import binascii
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from proxy.credentials import PREFIX
from proxy.heads import FOLDED, Fields, Head, fold_name
from proxy.refusals import AMBIGUOUS_KEY, AMBIGUOUS_REQUEST, Refused
from proxy.target import folded, means

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_SCHEME = re.compile(rb"([A-Za-z0-9-]+)[ \t]+(.*)\Z", re.DOTALL)
_HOW = (
    'write one of "header:NAME", "bearer", "basic", "cookie:NAME", "query:NAME"; '
    "a name is letters, digits, `-`, `_` and the like"
)


class KeyPlaces:
    """The configured places. They are read leniently, so that a key never slips through to the upstream."""

    __slots__ = ("_authorization", "_cookies", "_headers", "_queries", "names")

    def __init__(self, places: Iterable[str]) -> None:
        """Raises ValueError, with what to write instead, on a place that is none."""
        self._headers: set[bytes] = set()
        self._cookies: list[str] = []
        self._queries: list[str] = []
        self._authorization: set[bytes] = set()
        for place in places:
            kind, _, name = place.partition(":")
            if place in ("bearer", "basic"):
                self._authorization.add(place.encode())
            elif kind not in ("header", "cookie", "query") or not _TOKEN.match(name):
                raise ValueError(f"{place!r} is no place for a key: {_HOW}")
            elif kind == "header":
                self._headers.add(fold_name(name.encode()))
            else:
                (self._cookies if kind == "cookie" else self._queries).append(folded(name))
        if self._headers & {b"host", b"connection", b"content-length", b"transfer-encoding", b"cookie"}:
            raise ValueError("a key cannot be in a header that HTTP itself needs: choose another, such as X-API-Key")
        if b"authorization" in self._headers and self._authorization:
            raise ValueError('"header:Authorization" is the whole field: choose it, or "bearer" and "basic"')
        self.names = frozenset(
            self._headers
            | ({b"authorization"} if self._authorization else set())
            | ({b"cookie"} if self._cookies else set())
        )
        """The headers that are looked at, in lower case."""

    def cut(self, head: Head) -> tuple[bytes | None, bytes, Fields]:
        """Return the key (None: there is none), and target and fields without it in any place.

        Raises Refused on two different values, and where a place could be read in two ways.
        """
        values: set[bytes] = set()
        fields: Fields = []
        names = self.names
        for field in head.fields:
            if FOLDED[field[0]] not in names:
                fields.append(field)
            elif (kept := self._cut_field(field, values)) is not None:
                fields.append(kept)
        target = head.target
        if self._queries and b"?" in target:
            target = self._cut_query(target, values)
        values.discard(b"")
        if len(values) > 1:
            raise Refused(AMBIGUOUS_KEY)
        return (values.pop() if values else None), target, fields

    def _cut_field(self, field: tuple[bytes, bytes], values: set[bytes]) -> tuple[bytes, bytes] | None:
        name = FOLDED[field[0]]
        if name in self._headers:
            values.add(field[1])
            return None
        if name == b"authorization" and self._authorization:
            return self._cut_authorization(field, values)
        if name == b"cookie" and self._cookies:
            return self._cut_cookie(field, values)
        return field

    def _cut_authorization(self, field: tuple[bytes, bytes], values: set[bytes]) -> tuple[bytes, bytes] | None:
        scheme = _SCHEME.match(field[1])
        if scheme is None and field[1].startswith(PREFIX.encode()):
            values.add(field[1])  # a key without a scheme is meant as one, and must not go on
            return None
        if scheme is None or scheme[1].lower() not in self._authorization:
            return field  # another scheme is the upstream's
        if scheme[1].lower() == b"bearer":
            values.add(scheme[2])
        else:
            try:
                # RFC 7617: user name, colon, password. The key is the user name, as Stripe has it.
                values.add(base64.b64decode(scheme[2], validate=True).partition(b":")[0])
            except binascii.Error:
                values.add(scheme[2])  # no key, but meant as one
        return None

    def _cut_cookie(self, field: tuple[bytes, bytes], values: set[bytes]) -> tuple[bytes, bytes] | None:
        kept = []
        for pair in field[1].split(b";"):
            name, _, value = pair.partition(b"=")
            if any(means(name.strip(), cookie) for cookie in self._cookies):
                values.add(unquote_to_bytes(value.strip(b' \t"')))
            else:
                kept.append(pair)
        if len(kept) == field[1].count(b";") + 1:
            return field
        rest = b";".join(kept).strip()
        return (field[0], rest) if rest else None

    def _cut_query(self, target: bytes, values: set[bytes]) -> bytes:
        path, _, query = target.partition(b"?")
        kept = []
        pieces = query.split(b"&")
        for piece in pieces:
            parts = [part.partition(b"=") for part in piece.split(b";")]
            if any(means(name, wanted) for name, _, _ in parts for wanted in self._queries):
                if len(parts) > 1:
                    raise Refused(AMBIGUOUS_REQUEST)  # to some the key ends at `;`
                values.add(unquote_to_bytes(parts[0][2]))
            else:
                kept.append(piece)
        if len(kept) == len(pieces):
            return target
        return path + b"?" + b"&".join(kept) if kept else path
