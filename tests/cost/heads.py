"""Request heads as values, which cases and the search build, and their bytes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

Fields = tuple[tuple[bytes, bytes], ...]

_NUMBER = re.compile(rb"\{([nx])\}")


@dataclass(frozen=True)
class Shape:
    """A request's head without its key."""

    target: bytes = b"/api/sites/shop/report"
    fields: Fields = ()
    method: bytes = b"GET"
    host: bytes = b"shop.api.example.com"

    def head(self, key: str) -> bytes:
        """Return the head's bytes, with a key in X-API-Key unless it is empty."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"Host: " + self.host]
        if key:
            lines.append(b"X-API-Key: " + key.encode())
        lines += [name + b": " + value for name, value in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def with_fields(self, *fields: tuple[bytes, bytes]) -> "Shape":
        """Return the shape with more fields."""
        return replace(self, fields=self.fields + fields)


def fill(unit: bytes, size: int) -> bytes:
    """Repeat `unit` as often as it fits into `size` bytes, at least once.

    `{n}` in it becomes 0, 1, 2, …, and `{x}` the same in two hex digits.
    """
    if not _NUMBER.search(unit):
        return unit * max(1, size // len(unit))
    parts = [_numbered(unit, 0)]
    length = len(parts[0])
    while length < size:
        parts.append(_numbered(unit, len(parts)))
        length += len(parts[-1])
    if length > size and len(parts) > 1:
        parts.pop()
    return b"".join(parts)


def _numbered(unit: bytes, number: int) -> bytes:
    return unit.replace(b"{n}", b"%d" % number).replace(b"{x}", b"%02x" % (number % 256))


TARGET_ROOM = 7900
"""The bytes of a target that a case can fill; `limits.target_bytes` is 8192."""
HEAD_ROOM = 31000
"""The bytes of a head that a case can fill; `limits.head_bytes` is 32768."""
MAX_FIELDS = 92
"""The header fields that a case can add; `limits.head_count` is 100."""

SITE = b"/api/sites/shop/"


@dataclass(frozen=True)
class Part:
    """Units between a start and an end. Each unit is repeated in its share of `size` bytes."""

    start: bytes = b""
    units: tuple[bytes, ...] = ()
    end: bytes = b""
    size: int = 0

    def filled(self, share: int = 1) -> bytes:
        """Return the bytes in their largest size, divided by `share`."""
        size = self.size // share // max(1, len(self.units))
        return self.start + b"".join(fill(unit, size) for unit in self.units) + self.end

    def __str__(self) -> str:
        return f"Part({self.start!r}, {self.units!r}, {self.end!r}, {self.size})"


@dataclass(frozen=True)
class Mix:
    """A head of several expensive parts. Parts that are not listed are as in a plain head."""

    parts: Mapping[str, Part]
    """The parts by kind: `path`, `query`, `cookies`, and `value`, which `count` fields with this `name` share."""
    name: bytes = b"X-Site"
    count: int = 1
    method: bytes = b"GET"

    def shape(self, share: int = 1) -> Shape:
        """Return the head in its largest size, divided by `share`."""
        filled = {kind: part.filled(share) for kind, part in self.parts.items() if kind != "value"}
        target = filled.get("path", SITE + b"x")
        if "query" in filled:
            target += b"?" + filled["query"]
        fields = [(b"Cookie", filled["cookies"])] if "cookies" in filled else []
        if "value" in self.parts:
            value = self.parts["value"].filled(share * self.count)
            numbers = range(max(1, self.count // share))
            fields += [(self.name.replace(b"{n}", b"%d" % number), value) for number in numbers]
        return Shape(method=self.method, target=target[:_LONGEST_TARGET], fields=tuple(fields))

    def with_part(self, kind: str, part: Part) -> "Mix":
        """Return the mix with this part."""
        return replace(self, parts={**self.parts, kind: part})

    def without_part(self, kind: str) -> "Mix":
        """Return the mix without the part of this kind."""
        return replace(self, parts={each: part for each, part in self.parts.items() if each != kind})

    def __str__(self) -> str:
        parts = ", ".join(f'"{kind}": {part}' for kind, part in self.parts.items())
        fields = f", {self.name!r}, {self.count}" if "value" in self.parts else ""
        method = f", method={self.method!r}" if self.method != b"GET" else ""
        return f"Mix({{{parts}}}{fields}{method})"


_LONGEST_TARGET = 8190

PLAIN = Shape(
    target=b"/api/sites/shop/report?from=2026-01-01",
    fields=((b"User-Agent", b" curl/8.5.0"), (b"Accept", b"*/*")),
)
"""The head of an ordinary client, with which others are compared: about 235,000 instructions with the rules of
`config.example.toml`, up to the decision, with its connection and its log line. Because of the second space before a
value, it takes the full way: the shortcut for repeated heads does not read it. Hostile heads take the full way too, as
they differ. With one space, it takes the shortcut, and costs 127,000 instructions."""
