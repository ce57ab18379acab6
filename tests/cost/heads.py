"""Request heads as values, which cases and the search build, and their bytes."""

import re
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


PLAIN = Shape(
    target=b"/api/sites/shop/report?from=2026-01-01",
    fields=((b"User-Agent", b"curl/8.5.0"), (b"Accept", b"*/*")),
)
"""The head of an ordinary client, with which others are compared."""
