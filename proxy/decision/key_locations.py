"""Where a request may carry its key: finding it in all of these places, and cutting it out of them. No I/O."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

from proxy.decision.api_keys import PREFIX
from proxy.decision.parameters import Finder, Name
from proxy.http.headers import FOLDED, Fields, Head, fold_name
from proxy.http.percent_encoding import decode
from proxy.refusals import AMBIGUOUS_KEY, AMBIGUOUS_REQUEST, Refused

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_SCHEME = re.compile(rb"([A-Za-z0-9-]++)[ \t]++(.*)\Z", re.DOTALL)
_KEY_IN_TWO_READINGS = AMBIGUOUS_REQUEST.because(
    "The query parameter that carries the API key stands beside `;` or `?`, at which some servers separate parameters. "
    "Separate parameters with `&`, and percent-encode other characters."
)
_MAX_COOKIE_LINES = 4
_MANY_COOKIE_LINES = AMBIGUOUS_REQUEST.because(
    f"The cookie that carries the API key stands among more than {_MAX_COOKIE_LINES} Cookie headers. Send one."
)
_HOW = (
    'write one of "header:NAME", "bearer", "basic", "cookie:NAME", "query:NAME"; '
    "a name is letters, digits, `-`, `_` and the like"
)


class KeyPlaces:
    """The configured places. They are read leniently, so that a key never slips through to the upstream."""

    __slots__ = ("_ambiguous", "_authorization", "_cookies", "_headers", "_noticed", "_queries", "_watched", "names")

    def __init__(self, places: Sequence[str], watched: Mapping[bytes, int] | None = None) -> None:
        """Raises ValueError, with what to write instead, on an invalid key location.

        `watched` has a bit for each further header (lower case) whose presence `cut` tells, as it looks at all names.
        """
        self._headers: set[bytes] = set()
        cookies: list[Name] = []
        queries: list[Name] = []
        self._authorization: set[bytes] = set()
        for place in places:
            kind, _, name = place.partition(":")
            if place in ("bearer", "basic"):
                self._authorization.add(place.encode())
            elif kind not in ("header", "cookie", "query") or not _TOKEN.match(name):
                raise ValueError(f"{place!r} is not a valid key location: {_HOW}")
            elif kind == "header":
                self._headers.add(fold_name(name.encode()))
            else:
                (cookies if kind == "cookie" else queries).append(Name(name))
        self._cookies = Finder(cookies, separators=";") if cookies else None
        self._queries = Finder(queries) if queries else None
        where = ", ".join(places)
        self._ambiguous = AMBIGUOUS_KEY.because(
            f"This request carries more than one API key. Send one, in one of these places: {where}."
        )
        if self._headers & {b"host", b"connection", b"content-length", b"transfer-encoding", b"cookie"}:
            raise ValueError("a key cannot be in a header that HTTP itself needs: choose another, such as X-API-Key")
        if b"authorization" in self._headers and self._authorization:
            raise ValueError('"header:Authorization" is the whole field: choose it, or "bearer" and "basic"')
        self.names = frozenset(
            self._headers
            | ({b"authorization"} if self._authorization else set())
            | ({b"cookie"} if self._cookies else set())
        )
        """The headers that may hold a key, in lower case."""
        self._watched = dict(watched or {})
        self._noticed = self.names | self._watched.keys()

    def cut(self, head: Head) -> tuple[bytes | None, bytes, Fields, int]:
        """Return the key (None: there is none), target and fields without it, and the bits of the watched headers.

        Raises Refused on two different values, and where a place could be read in two ways.
        """
        values: set[bytes] = set()
        fields: Fields = []
        noticed = self._noticed
        watched = 0
        has_cookies = False
        for field in head.fields:
            name = FOLDED[field[0]]
            if name not in noticed:
                fields.append(field)
                continue
            watched |= self._watched.get(name, 0)
            has_cookies |= name == b"cookie"
            kept = self._cut_field(field, name, values)
            if kept is not None:
                fields.append(kept)
        if has_cookies and self._cookies is not None:
            fields = _cut_cookies(self._cookies, fields, values)
        for field in head.dropped:
            self._cut_field(field, FOLDED[field[0]], values)
        target = head.target
        if self._queries is not None and b"?" in target:
            target = self._cut_query(self._queries, target, values)
        values.discard(b"")
        if len(values) > 1:
            raise Refused(self._ambiguous)
        return (values.pop() if values else None), target, fields, watched

    def _cut_field(self, field: tuple[bytes, bytes], name: bytes, values: set[bytes]) -> tuple[bytes, bytes] | None:
        if name in self._headers:
            values.add(field[1])
            return None
        if name == b"authorization" and self._authorization:
            return self._cut_authorization(field, values)
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

    def _cut_query(self, finder: Finder, target: bytes, values: set[bytes]) -> bytes:
        path, _, query = target.partition(b"?")
        if finder.is_silent(query):
            return target
        kept = []
        begin = 0
        for start, end, _ in finder.find(query):
            before = query.rfind(b"&", 0, start) + 1
            after = query.find(b"&", end)
            piece = query[before : after if after >= 0 else len(query)]
            if b";" in piece or b"?" in piece.lstrip(b"?") or not piece.isascii():
                raise Refused(_KEY_IN_TWO_READINGS)
            values.add(decode(piece.partition(b"=")[2]))
            if before > begin:
                kept.append(query[begin : before - 1])
            begin = after + 1 if after >= 0 else len(query) + 1
        if not begin:
            return target
        if begin <= len(query):
            kept.append(query[begin:])
        return path + b"?" + b"&".join(kept) if kept else path


def _cut_cookies(finder: Finder, fields: Fields, values: set[bytes]) -> Fields:
    """Return the fields with the key cut out of the cookies."""
    every = [value for name, value in fields if name.lower() == b"cookie"]
    cookies = b";".join(every)
    if finder.is_silent(cookies) or not finder.find(cookies):
        return fields
    if len(every) > _MAX_COOKIE_LINES:
        raise Refused(_MANY_COOKIE_LINES)
    kept = (_cut_cookie(finder, field, values) if field[0].lower() == b"cookie" else field for field in fields)
    return [field for field in kept if field is not None]


def _cut_cookie(finder: Finder, field: tuple[bytes, bytes], values: set[bytes]) -> tuple[bytes, bytes] | None:
    raw = field[1]
    if finder.is_silent(raw):
        return field
    kept = []
    begin = 0
    for start, end, _ in finder.find(raw):
        before = raw.rfind(b";", 0, start) + 1
        after = raw.find(b";", end)
        value = raw[end : after if after >= 0 else len(raw)].removeprefix(b"=")
        values.add(decode(value.strip(b' \t"')))
        kept.append(raw[begin : before if after >= 0 else max(before - 1, begin)])
        begin = after + 1 if after >= 0 else len(raw)
    if not kept:
        return field
    rest = b"".join((*kept, raw[begin:])).strip()
    return (field[0], rest) if rest else None
