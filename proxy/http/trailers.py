"""Drops trailer fields of a response that are not safe to forward. No I/O.

A recipient may merge trailers into header fields that it has already acted on. RFC 9110 §6.5.1 therefore forbids
trailers that a recipient needs before the content, and lists the classes below. For the comparison, odd characters in
names are read as `-`, as in CGI and PHP.
"""

from proxy.http.headers import Fields, fold_name

_FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"trailer", b"connection", b"keep-alive", b"upgrade", b"status"}
)
"""Fields that determine where the message ends, whether the connection stays open, and (in CGI) the status."""

_ROUTING = frozenset({b"host", b"location", b"refresh", b"alt-svc", b"forwarded", b"proxy"})
"""Fields that determine where this request or the next one is sent."""

_MODIFIERS = frozenset({b"expect", b"max-forwards", b"pragma", b"range", b"te"})
"""Fields that change what a request means. Names that begin with `if-` do too."""

_AUTHENTICATION = frozenset({b"authorization", b"www-authenticate", b"set-cookie", b"set-cookie2", b"cookie"})
"""Fields that authenticate. Names that begin with `proxy-` do too. Authentication-Info may be a trailer."""

_CONTROLS = frozenset(
    {
        b"age",
        b"cache-control",
        b"clear-site-data",
        b"date",
        b"expires",
        b"retry-after",
        b"surrogate-control",
        b"vary",
        b"warning",
    }
)
"""Fields that control caches: how long a response may be stored, for whom, and what a client clears. Names that end in
`-cache-control` (RFC 9213) do too, each for one kind of cache.
"""

_CONTENT = frozenset(
    {
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-location",
        b"content-range",
        b"content-type",
        b"x-content-type-options",
    }
)
"""Fields that say how to interpret the content. Content-Digest and Content-MD5 are not listed, because a checksum is
useful after the content."""

_POLICIES = frozenset({b"permissions-policy", b"referrer-policy", b"strict-transport-security", b"x-frame-options"})
"""Fields that say what a browser allows a page to do. Names with some of the prefixes below do too."""

_DROPPED = _FRAMING | _ROUTING | _MODIFIERS | _AUTHENTICATION | _CONTROLS | _CONTENT | _POLICIES
_DROPPED_PREFIXES = (
    b"if-",
    b"proxy-",
    b"access-control-",
    b"content-security-policy",
    b"cross-origin-",
    b"x-accel-",
    b"x-api-",  # the identity of the API user
    b"x-forwarded-",
    b"x-sendfile",
)


def forwarded_trailers(trailers: Fields) -> Fields:
    """Return the trailers that are safe to forward."""
    return [field for field in trailers if not _is_dropped(field[0])]


def announced_trailers(value: bytes) -> bytes:
    """Return the value of a `Trailer` field without the names that are not forwarded. It may be empty."""
    names = [name.strip(b" \t") for name in value.split(b",")]
    dropped = [name for name in names if not name or _is_dropped(name)]
    return b", ".join(name for name in names if name and not _is_dropped(name)) if dropped else value


def _is_dropped(name: bytes) -> bool:
    folded = fold_name(name)
    return folded in _DROPPED or folded.startswith(_DROPPED_PREFIXES) or folded.endswith(b"-cache-control")
