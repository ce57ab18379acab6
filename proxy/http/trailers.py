"""Which trailer fields of a response are forwarded. No I/O.

A recipient may merge trailers into header fields that it has already acted on. RFC 9110 §6.5.1 therefore forbids
trailers that a recipient needs before the content, and lists the classes below. Names are compared with odd characters
read as `-`, as CGI and PHP do.
"""

from proxy.http.headers import Fields, fold_name

_FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"trailer", b"connection", b"keep-alive", b"upgrade", b"status"}
)
"""They say where the message ends, whether its connection stays open, and, in CGI, the status."""

_ROUTING = frozenset({b"host", b"location", b"refresh", b"alt-svc", b"forwarded", b"proxy"})
"""They say where this request or the next one goes."""

_MODIFIERS = frozenset({b"expect", b"max-forwards", b"pragma", b"range", b"te"})
"""They change what a request means, as do names that begin with `if-`."""

_AUTHENTICATION = frozenset({b"authorization", b"www-authenticate", b"set-cookie", b"set-cookie2", b"cookie"})
"""They authenticate, as do names that begin with `proxy-`. Authentication-Info may be a trailer."""

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
"""They control caches: how long a response may be stored, for whom, and what a client clears. So do names that end with
`-cache-control` (RFC 9213), which address one kind of cache each.
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
"""They say how the content is read. Content-Digest and Content-MD5 are checksums, and useful at its end."""

_POLICIES = frozenset({b"permissions-policy", b"referrer-policy", b"strict-transport-security", b"x-frame-options"})
"""They say what a browser allows a page to do. So do names that begin with the prefixes below."""

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
    """Return the trailers that change neither the message nor what its recipient does with it."""
    return [field for field in trailers if not _is_dropped(field[0])]


def announced_trailers(value: bytes) -> bytes:
    """Return the value of a `Trailer` field without the names that are not forwarded. It may be empty."""
    names = [name.strip(b" \t") for name in value.split(b",")]
    dropped = [name for name in names if not name or _is_dropped(name)]
    return b", ".join(name for name in names if name and not _is_dropped(name)) if dropped else value


def _is_dropped(name: bytes) -> bool:
    folded = fold_name(name)
    return folded in _DROPPED or folded.startswith(_DROPPED_PREFIXES) or folded.endswith(b"-cache-control")
