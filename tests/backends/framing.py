"""Changes to the framing of a request: Connection, Host, the form of the target, and the version."""

import random
from dataclasses import replace

from tests.backends.headers import placed
from tests.backends.paths import encoded
from tests.backends.request import Request

_LISTED = (
    b"X-Site", b"x-site", b"X_Site", b"Host", b"Content-Length", b"Transfer-Encoding", b"Cookie", b"X-API-Key",
    b"Authorization", b"Content-Type", b"close", b"keep-alive", b"X-Forwarded-For", b"X-Forwarded-Host",
    b"X-Request-Id", b"Upgrade", b"TE", b"X-Whatever", b"Accept", b"X-HTTP-Method-Override", b"SCRIPT_NAME",
    b"X-Api-Sites",
)  # fmt: skip
_HOP_BY_HOP = (
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Site"),
    (b"Expect", b"100-continue"),
    (b"Upgrade", b"h2c"),
    (b"Transfer_Encoding", b"chunked"),
)
_FRAMING = (
    (b"Content_Length", b"0"),
    (b"Content-Length", b"9"),
    (b"Content-Length", b"0"),
    (b"Transfer-Encoding", b"identity"),
)


def connection(rng: random.Random, request: Request) -> Request:
    """List headers in Connection, or add another hop-by-hop or framing header."""
    choice = rng.random()
    if choice < 0.7:
        listed = b", ".join(rng.choice(_LISTED) for _ in range(rng.choice((1, 1, 2))))
        return placed(
            rng, request, (rng.choice((b"Connection", b"Connection", b"Proxy-Connection", b"Keep-Alive")), listed)
        )
    if choice < 0.85:
        return placed(rng, request, rng.choice(_HOP_BY_HOP))
    framed = replace(request, method=rng.choice((b"GET", b"POST")), body=b"site=blog", chunked=rng.random() < 0.5)
    return placed(rng, framed, rng.choice(_FRAMING))


_HOSTS = (
    b"api.example.com.", b"api.example.com:80", b"blog.example.com", b"api.example.com/api/sites/blog",
    b"[::1]", b"", b"a b", b"api.example.com, blog", b"api.example.com?site=blog",
)  # fmt: skip

_AUTHORITIES = (
    b"api.example.com",
    b"api.example.com",
    b"API.example.com",
    b"api.example.com:80",
    b"blog.example.com",
    b"u@api.example.com",
    b"api.example.com.",
)


def host(rng: random.Random, request: Request) -> Request:
    """Change the Host header, or add an absolute target."""
    choice = rng.random()
    rest = tuple(pair for pair in request.fields if pair[0].lower() != b"host")
    if choice < 0.4:
        authority = rng.choice(_AUTHORITIES)
        scheme = rng.choice((b"http", b"http", b"https", b"HTTP"))
        return replace(request, target=scheme + b"://" + authority + request.target)
    value = rng.choice(_HOSTS)
    more = ((b"Host", b"api.example.com"),) if rng.random() < 0.2 else ()
    return replace(request, fields=((b"Host", value), *more, *rest))


_VERSIONS = (b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0")


_TARGET_ENDS = (
    b"#", b"#site=blog", b" x", b"?", b"\t", b"%", b"\xc3\xa9", b"\x00", b"|", b"{}", b'"',
)  # fmt: skip


def version(rng: random.Random, request: Request) -> Request:
    """Use another HTTP version, or an unusual target."""
    choice = rng.random()
    if choice < 0.6:
        return replace(request, version=rng.choice(_VERSIONS))
    if choice < 0.8:
        return replace(request, target=request.target + rng.choice(_TARGET_ENDS))
    return replace(request, target=encoded(rng, request.target, 0.1))
