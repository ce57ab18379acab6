"""Requests from real clients to data APIs: what they send, where that is documented, and which sites they name.

The shapes are real, but the ids are not: `shop` (or `42` for numeric ids) replaces a source's own tenant, database,
index or bucket, and `<key>` its credentials.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Lines = tuple[str, ...]

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
"""Fields that are not forwarded (RFC 9110 §7.6.1). Sitelatch writes the framing of the body itself."""
SET_BY_SITELATCH = frozenset({"forwarded", "x-real-ip", "x-request-id"})
"""Fields that Sitelatch sets itself, like X-Forwarded-*. It accepts them only from trusted proxies."""


@dataclass(frozen=True)
class Shape:
    """One request. `lines` are its header lines beyond Host, Content-Length and the key."""

    name: str
    source: str
    method: str
    target: str
    rules: tuple[Any, ...]
    sites: tuple[str, ...]
    lines: Lines = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the route that the shape needs."""
    forwarded: str | None = None
    """The forwarded target, if the key is removed from it."""
    dropped: tuple[str, ...] = ()
    """Further fields that the route does not forward."""
    host: str | None = None
    """The forwarded Host, if it differs from the received one."""
    every_site: bool = False
    """Whether it names all sites with a word, with a key for all sites of the workspace."""
    keyless: bool = False
    """Whether it passes without a key: a public path, or a preflight."""

    @property
    def carries_key(self) -> bool:
        """Return whether the shape contains the key. If not, X-API-Key is added."""
        return "<key>" in self.target or any("<key>" in line for line in self.lines)

    def wire(self, key: str) -> bytes:
        """Return the head as it is sent."""
        start = f"{self.method} {self.target.replace('<key>', key)} HTTP/1.1\r\n".encode()
        return start + b"".join(b"%b: %b\r\n" % field for field in self.fields(key)) + b"\r\n"

    def fields(self, key: str) -> list[tuple[bytes, bytes]]:
        """Return all header fields as they are sent."""
        pairs = [line.replace("<key>", key).partition(":")[::2] for line in self.lines]
        found = [(name.encode(), value.strip().encode("latin-1")) for name, value in pairs]
        if not any(name.lower() == b"host" for name, _ in found):
            found.insert(0, (b"Host", b"api.example.com"))
        if not self.carries_key and not self.keyless:
            found.append((b"X-API-Key", key.encode()))
        return found

    def fields_on(self, key: str) -> list[tuple[bytes, bytes]]:
        """Return the fields that must reach the upstream unchanged."""
        gone = HOP_BY_HOP | SET_BY_SITELATCH | {dropped.lower() for dropped in self.dropped}
        found = []
        for name, value in self.fields(key):
            lower = name.decode().lower()
            if lower in gone or lower.startswith("x-forwarded-") or key.encode() in value:
                continue
            found.append((name, self.host.encode()) if lower == "host" and self.host is not None else (name, value))
        return found


_ROW = re.compile(r"(?:([A-Z]+) )?(/\S*)\Z")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "QUERY", "SEARCH", "REPORT", "PROPFIND"})
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
BODY = "Content-Length: 2"


def family(
    name: str,
    source: str,
    rules: tuple[Any, ...],
    rows: Iterable[str | tuple[Any, ...]],
    *,
    sites: tuple[str, ...] = ("shop",),
    lines: Lines = (),
    **options: Any,
) -> list[Shape]:
    """Return the shapes of one API from one source.

    A row is "TARGET" or "METHOD TARGET". A tuple also has header lines and, if the row names other sites than the
    family, ends with a tuple of these sites. Methods with a body get two bytes of JSON unless a line says otherwise.
    """
    return [_shape(name, source, rules, row, sites, lines, options) for row in rows]


def _shape(
    name: str,
    source: str,
    rules: tuple[Any, ...],
    row: str | tuple[Any, ...],
    sites: tuple[str, ...],
    lines: Lines,
    options: Mapping[str, Any],
) -> Shape:
    request, *more = (row,) if isinstance(row, str) else row
    if more and isinstance(more[-1], tuple):
        sites = more.pop()
    parsed = _ROW.match(request)
    assert parsed is not None, f"{name}: {request!r} is not `METHOD /target`"
    method, target = parsed[1] or "GET", parsed[2]
    own = (*lines, *more)
    names = {line.partition(":")[0].lower() for line in own}
    if method in _WITH_BODY:
        if "content-type" not in names:
            own = (*own, JSON)
        if not names & {"content-length", "transfer-encoding"}:
            own = (*own, BODY)
    return Shape(f"{name}: {method} {target[:60]}", source, method, target, rules, sites, own, options)
