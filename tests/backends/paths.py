"""Hostile paths: another site after the allowed one, parameters in the path, and paths that no rule covers."""

import random

from tests.backends.request import Request

_ENCODED_TIMES = (1, 1, 1, 2, 2, 3)


def encoded(rng: random.Random, text: bytes, share: float = 1.0, depth: int | None = None) -> bytes:
    """Percent-encode a share of the characters in `text`, each one to three times."""
    found = b""
    for byte in text:
        if rng.random() < share:
            times = depth if depth is not None else rng.choice(_ENCODED_TIMES)
            escape = b"%%%02X" % byte if rng.random() < 0.5 else b"%%%02x" % byte
            for _ in range(times - 1):
                escape = escape.replace(b"%", b"%25")
            found += escape
        else:
            found += bytes([byte])
    return found


def cased(rng: random.Random, text: bytes) -> bytes:
    """Change the case of `text`."""
    return rng.choice((text.upper(), text.title(), text.swapcase(), text[:1].upper() + text[1:]))


def spelled(rng: random.Random, text: bytes) -> bytes:
    """Return `text` unchanged, partly encoded, or in another case."""
    choice = rng.random()
    if choice < 0.4:
        return text
    if choice < 0.75:
        return encoded(rng, text, rng.choice((0.2, 0.5, 1.0)))
    return cased(rng, text)


_UPS = (
    b"..", b"%2e%2e", b".%2e", b"%2e.", b"%252e%252e", b"%25252e%25252e", b"..;", b"..;x=1", b"..%3b", b"..%00",
    b"..%20", b"%c0%ae%c0%ae", b"%e0%80%ae%e0%80%ae", b"%uff0e%uff0e", b"%u002e%u002e", b"%ef%bc%8e%ef%bc%8e",
    b"...", b"....", b".", b"%2e", b".;", b"", b";", b";x", b";..", b"%3b..", b"..%09", b"..%0d", b"..\\..",
    b"%2e%2e%5c", b"..%c0%af", b".%FF.", b"%FF..", b"..%FF", b".%C2%AD.", b"%E2%80%A5", b"%EF%B8%B0",
)  # fmt: skip
_SLASHES = (
    b"/", b"/", b"/", b"/", b"//", b"///", b"%2f", b"%2F", b"%252f", b"%25252F", b"\\", b"%5c", b"%255c",
    b"%c0%af", b"%u002f", b"%uff0f", b"%ef%bc%8f", b"/%2f", b"%2f/", b"/;/", b";/", b"/.;/", b"%3b/", b"%00/",
    b"/%00", b"%0a/", b"%0d%0a", b"/./", b"%e2%88%95", b"%c1%9c",
)  # fmt: skip
_TAILS = (
    b"report", b"x", b"api/sites/blog/report", b"sites/blog/report", b"blog/report", b"blog",
    b"api/reports/everything", b"static/x", b"api/query", b"api/sites", b"api/export/csv", b"index.php",
    b"api/lookup", b"?", b"#", b"@blog", b"http://blog/", b"*", b"x.json", b"index.php/api/sites/blog/x",
    b"rest.php",
)  # fmt: skip
_STARTS = (
    b"/api/sites/shop", b"/api/sites/shop", b"/api/sites/shop", b"/api/sites/blog", b"/api/sites/shop,blog",
    b"/api/sites/shop;blog", b"/api/sites/shop;site=blog", b"/api/sites/;/shop", b"/api/sites//shop",
    b"//api/sites/shop", b"/api//sites/shop", b"/api/sites/*", b"/api/sites/shop%00blog",
    b"/api/sites/shop%0ablog", b"/api/sites/shop%20", b"/api/sites/shop+blog", b"/api/sites/sh%6fp",
    b"/api/sites/shop.json", b"/api/sites/%62log", b"/api/sites/%2562log", b"/api/sites/blog%2f..%2fshop",
    b"/api/query", b"/api/export", b"/api/export/csv", b"/api/lookup", b"/static", b"/static/app.js", b"/api",
    b"", b"/api/sites", b"/./api/sites/shop", b"/x/../api/sites/shop", b"/index.php/api/sites/shop",
    b"/api/sites/shop/..%2f..", b"/api/si%FFtes/blog", b"/%C3api/sites/blog", b"/api/sites/bl%E2%80og",
    b"/api/sites/%EF%BB%BFshop", b"/api/si%25FFtes/blog", b"/api/sites%FF", b"/api/%FF/sites/blog",
    b"/api/sites/shop%FF", b"/api/s%C3%ADtes/blog", b"/api/%EF%BD%93ites/blog", b"/api/sites/shop.",
    b"/api/sites/shop%2e", b"/api/sites/shop%C2%A0", b"/api/sites/shop::$DATA", b"/api/sites/shop:80",
    b"/api/sites/(A(x))/blog", b"/(S(x))/api/sites/blog", b"/api/sites/~shop",
)  # fmt: skip

_HOSTILE_PATH_X = (0, 1, 1, 2, 2, 3, 4)


def hostile_path(rng: random.Random, request: Request) -> Request:
    """Replace the path with a random sequence of starts, parent segments, slashes and tails."""
    path = rng.choice(_STARTS)
    if rng.random() < 0.25:
        path = b"/".join(spelled(rng, segment) for segment in path.split(b"/"))
    for _ in range(rng.choice(_HOSTILE_PATH_X)):
        path += rng.choice(_SLASHES)
        path += rng.choice(_UPS) if rng.random() < 0.45 else rng.choice(_TAILS)
    if rng.random() < 0.1:
        path = b"".join(encoded(rng, bytes([byte]), 0.15) if byte != 0x2F else b"/" for byte in path)
    return request.with_path(path or b"/")


_MARKS = (b"&", b"?", b"#", b";")
_INJECTED = (
    b"site=blog", b"site", b"site[]=blog", b"Site=blog", b"s%69te=blog", b"%73ite=blog", b"q=/api/sites/blog/x",
    b"q=api/sites/blog/x", b"site=shop", b"rest=x", b"_method=DELETE", b"x=1&site=blog", b"site%3dblog",
    b"site=bl%6fg", b"rest=..%2f..&site=blog", b"+site=blog", b"%20site=blog", b"site%00=blog", b"api_key=x",
    b"site=shop&site=blog", b"site.x=blog", b"site_=blog",
)  # fmt: skip
_ENDS = (
    b"", b"", b"", b"%26z=", b"%26", b"&z=1", b"%3fz=1", b"/x", b"%23", b".json",
)  # fmt: skip


def parameter_in_path(rng: random.Random, request: Request) -> Request:
    """Add a parameter to the path after an `&`, `?`, `#` or `;`, encoded or raw."""
    path = request.path
    for _ in range(rng.choice((1, 1, 2))):
        mark = rng.choice(_MARKS)
        if rng.random() < 0.85:
            mark = encoded(rng, mark)
        injected = rng.choice(_INJECTED)
        if rng.random() < 0.3:
            injected = encoded(rng, injected, rng.choice((0.1, 0.3, 1.0)), rng.choice((1, 2)))
        path += rng.choice((b"", b"", b"/x", b"/")) + mark + injected
    return request.with_path(path + rng.choice(_ENDS))


_UNCOVERED = (
    b"/api/sites", b"/api/sites/", b"/api/reports/everything", b"/index.php/api/sites/blog/x",
    b"/api/sites/blog", b"/api/query/", b"/api/query.json", b"/api/Query", b"/API/QUERY", b"/api/export",
    b"/api/exports/x", b"/api//query", b"/api/query;x", b"/api/lookup/", b"/api/query/../reports/everything",
    b"/api/export/../reports/everything", b"/api/export/%2e%2e/reports/everything",
    b"/api/export/..%2freports/everything", b"/api/export/x/../../reports/everything",
    b"/api/query%2f..%2freports%2feverything", b"/api/query/..;/reports/everything",
    b"/api/reports/everything;/../../query", b"/api/reports/everything%3f/../query", b"/api/%71uery",

    b"/api/que%2572y", b"/api/que%FFry", b"/api/%EF%BB%BFquery",
    b"/api/reports/%FFeverything", b"/static/%FF../api/reports/everything",
    b"/static/../api/reports/everything", b"/static/..%2fapi%2freports/everything",
    b"/static/..;/api/reports/everything", b"/static//../api/sites/blog/x", b"/static/%2e%2e/api/sites/blog/x",
    b"/", b"/api",
)  # fmt: skip


def uncovered_path(rng: random.Random, request: Request) -> Request:
    """Use a path that no site rule covers, or that looks like a covered one, and name the allowed site elsewhere."""
    changed = request.with_path(rng.choice(_UNCOVERED))
    if rng.random() < 0.5 and b"site=" not in changed.query:
        return changed.with_query(b"&".join(filter(None, (changed.query, b"site=shop"))))
    return changed.with_fields((b"X-Site", b"shop"))
