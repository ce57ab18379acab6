"""Every way in which a backend might read a request's head (docs/decision.md), found by trying everything.

It shares no code with the proxy, so a disagreement shows that one of them is wrong. Transformations of whole paths are
applied in every order until nothing new appears.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Transformation = Callable[[bytes], bytes]

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def decoded(text: bytes) -> bytes:
    """Return `text` after one round of percent-decoding. Invalid escapes stay as they are."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text)


def rounds(text: bytes) -> Iterator[bytes]:
    """Yield `text` after zero, one, two and more rounds of decoding, until nothing changes."""
    yield text
    while (further := decoded(text)) != text:
        yield further
        text = further


def closure(start: bytes, transformations: Iterable[Transformation]) -> frozenset[bytes]:
    """Return every result of the transformations on `start`, in any order, any number of times."""
    steps = tuple(transformations)
    found, new = {start}, [start]
    while new:
        text = new.pop()
        for step in steps:
            after = step(text)
            if after not in found:
                found.add(after)
                new.append(after)
    return frozenset(found)


# Paths.


def without_params(path: bytes) -> bytes:
    """`/a;x=1/b;y` is read as `/a/b` (servlets)."""
    return b"/".join(segment.split(b";")[0] for segment in path.split(b"/"))


def merged(path: bytes) -> bytes:
    """`//a///b` is read as `/a/b` (nginx, Apache, Go)."""
    return re.sub(rb"/+", b"/", path)


def utf_8(text: bytes) -> bytes:
    """`/a\xffb` is read as `/ab` (Bottle)."""
    return text.decode(errors="ignore").encode()


def paths(path: bytes) -> frozenset[bytes]:
    """Return every path that results from `path` by decoding, dropping something and merging slashes in some order."""
    return closure(path, (decoded, without_params, merged, utf_8))


def splits(path: bytes) -> frozenset[tuple[bytes, ...]]:
    """Return every list of segments that some reading gives. A reader decodes at least once, before or after splitting.

    Parameters may be dropped, and slashes merged, before or after splitting too.
    """
    raw = closure(path, (without_params, merged))
    wholes = frozenset[bytes]().union(*(paths(decoded(whole)) for whole in raw))
    new = [tuple(map(decoded, whole.split(b"/")[1:])) for whole in raw]
    new += [tuple(whole.split(b"/")[1:]) for whole in wholes]
    found: set[tuple[bytes, ...]] = set()
    while new:
        segments = new.pop()
        if segments not in found:
            found.add(segments)
            new.append(tuple(segment.split(b";")[0] for segment in segments))
            new.append(tuple(map(decoded, segments)))
            new.append(tuple(map(utf_8, segments)))
            new.append((*filter(None, segments[:-1]), *segments[-1:]))
    return frozenset(found)


def literal(path: bytes) -> tuple[bytes, ...]:
    """Return the segments by RFC 3986: split first, then decoded once."""
    return tuple(decoded(segment) for segment in path.split(b"/")[1:])


@dataclass(frozen=True)
class Reader:
    """The way in which a backend compares segments with its own paths."""

    caseless: bool = False
    slashes: bool = True
    """Whether a slash at the end of a path makes a difference. Many routers ignore it."""

    def known(self, segments: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return segments without those that this reader ignores at the end."""
        return segments[:-1] if not self.slashes and len(segments) > 1 and not segments[-1] else segments


STRICT = Reader()
READERS = tuple(Reader(caseless, slashes) for caseless in (False, True) for slashes in (False, True))


@dataclass(frozen=True)
class Template:
    """A `path:` rule, or a plain path if it has no `{site}`."""

    text: bytes

    def match(self, segments: tuple[bytes, ...], reader: Reader) -> bytes | None:
        """Return the site (empty for a template without one), or None if the segments do not match."""
        wanted = tuple(self.text.split(b"/")[1:])
        rest = wanted[-1] == b"**"
        if rest:
            wanted = wanted[:-1]
        else:
            wanted, segments = reader.known(wanted), reader.known(segments)
        if len(segments) < len(wanted) or (len(segments) > len(wanted) and not rest):
            return None
        site = b""
        for pattern, segment in zip(wanted, segments, strict=False):
            before, mark, after = pattern.partition(b"{site}")
            shape = re.escape(before) + (b"(.+)" + re.escape(after) if mark else b"")
            fit = re.fullmatch(shape, segment, re.DOTALL | (re.IGNORECASE if reader.caseless else 0))
            if fit is None:
                return None
            if mark:
                site = fit[1]
        return site


@dataclass(frozen=True)
class Prefixed:
    """The path settings of a route: its prefix, and its `path:` templates in order."""

    name: str
    prefix: bytes
    templates: tuple[Template, ...]

    def takes(self, segments: tuple[bytes, ...], reader: Reader) -> bool:
        """Return whether these segments are below the route's prefix."""
        wanted = tuple(part for part in self.prefix.split(b"/") if part)
        start = segments[: len(wanted)]
        if reader.caseless:
            return tuple(map(bytes.lower, start)) == tuple(map(bytes.lower, wanted))
        return start == wanted

    def site(self, segments: tuple[bytes, ...], reader: Reader) -> bytes | None:
        """Return the site that the first matching template names, or None."""
        for template in self.templates:
            site = template.match(segments, reader)
            if site is not None:
                return site
        return None


def named_by_path(
    routes: Iterable[Prefixed], segments: tuple[bytes, ...], reader: Reader
) -> tuple[str | None, bytes | None]:
    """Return the route of these segments, and the site that it finds in them."""
    for route in routes:
        if route.takes(segments, reader):
            return route.name, route.site(segments, reader)
    return None, None


def path_readings(routes: Iterable[Prefixed], path: bytes) -> frozenset[tuple[str | None, bytes | None]]:
    """Return every (route, site) that some reading of the path gives, including the literal one."""
    table = tuple(routes)
    return frozenset(
        named_by_path(table, segments, reader) for segments in splits(path) | {literal(path)} for reader in READERS
    )


def always_refused(target: bytes) -> str | None:
    """Return which rule refuses this target no matter what it names, or None."""
    if not target.startswith(b"/"):
        return "not origin form"
    if any(byte < 0x21 or byte > 0x7E for byte in target):
        return "a raw control byte, space or byte over 0x7F"
    if b"#" in target:
        return "a fragment"
    path = target.partition(b"?")[0]
    if re.search(rb"%(?![0-9A-Fa-f]{2})", path):
        return "an invalid escape in the path"
    for reading in paths(path):
        if any(byte < 0x20 or byte == 0x7F for byte in reading):
            return "an encoded control byte in the path"
        if b"\\" in reading:
            return "a backslash in the path"
        if any(segment in (b".", b"..") for segment in reading.split(b"/")):
            return "a dot segment in the path"
        if any(re.fullmatch(rb"\((?:[A-Z]\([^()]*\))+\)", segment) for segment in reading.split(b"/")):
            return "a segment that ASP.NET drops"
    return None


# Queries.


def _plus(text: bytes) -> bytes:
    return text.replace(b"+", b" ")


def _left_trimmed(text: bytes) -> bytes:
    return text.lstrip(b" ")


def _cut_at_nul(text: bytes) -> bytes:
    return text.split(b"\0")[0]


def _cut_at_bracket(text: bytes) -> bytes:
    return text.split(b"[")[0]


def _without_controls(text: bytes) -> bytes:
    return re.sub(rb"[\x01-\x08\x0e-\x1b\x7f]|%(?![0-9A-Fa-f]{2})", b"", text)


def _underscored(text: bytes) -> bytes:
    return re.sub(rb"[. \[]", b"_", text)


_ENCODED = (decoded, _plus)
_LENIENT = (_left_trimmed, _cut_at_nul, _cut_at_bracket, _underscored, _without_controls, utf_8, bytes.lower)


def names(name: bytes) -> frozenset[bytes]:
    """Return all names that a server may read in a raw parameter name, after any number of rounds of decoding."""
    return frozenset[bytes]().union(*(closure(text, _LENIENT) for text in closure(name, _ENCODED)))


def values(value: bytes) -> frozenset[bytes]:
    """Return all values that a server may read in a raw one. Every server decodes it at least once."""
    return closure(decoded(value), _ENCODED) | closure(decoded(_plus(value)), _ENCODED)


def named_by_query(query: bytes, parameter: bytes) -> frozenset[frozenset[bytes]]:
    """Return the values of `parameter` in all readings of the query: split at `&`, also at `;`, and also at `?`."""
    same = closure(parameter, (bytes.lower, _underscored))
    return frozenset(
        frozenset(
            reading
            for name, _, value in (piece.partition(b"=") for piece in re.split(separators, query) if piece)
            if names(name) & same
            for reading in values(value)
        )
        for separators in (b"&", b"[&;]", b"[&;?]")
    )


def literally_named(query: bytes, parameter: bytes) -> frozenset[bytes]:
    """Return the values of `parameter` in its literal spelling, with the query split at `&` only."""
    pairs = (piece.partition(b"=") for piece in query.split(b"&") if piece)
    return frozenset(decoded(value) for name, _, value in pairs if name == parameter)


# Headers.


def look_alikes(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> frozenset[bytes]:
    """Return the names of fields that only readers of `_` as `-` (WSGI, PHP) read as `name`."""
    every = (spelt.lower() for spelt, _ in fields)
    return frozenset(spelt for spelt in every if spelt.replace(b"_", b"-") == name.lower() != spelt)
