"""Hostile queries: names, values and separators that backends parse in different ways."""

import random

from tests.backends.paths import cased, encoded
from tests.backends.request import Request

_BEFORE = (
    b"", b"", b"", b"", b"+", b"%20", b"%09", b"%0a", b"?", b"%3f", b"&", b"=", b"%00", b"[", b"%5b", b"]",
    b".", b"_", b"%c2%a0", b"%ef%bb%bf", b"amp;", b"%26", b"#", b"%23", b"x[", b"-",
    b"%FF", b"%E2%80%8B", b"%01", b"%7F", b"%C2%AD", b"$", b"@", b"/", b"%27", b"(", b"{", b"!",
)  # fmt: skip
_AFTER = (
    b"", b"", b"", b"", b"", b"[]", b"[0]", b"[1]", b"[x]", b"[", b"]", b"%5b%5d", b"%5B0%5D", b"%255b%255d",
    b".", b".x", b"+", b"%20", b"%00", b"%00x", b"%2500", b"_", b"[][]", b"[x][y]", b"[site]", b"%0a", b"%09",
    b"%c2%a0", b"[__proto__]", b".0", b"-", b"%2e", b"%5b", b"%5d", b"%c0%80",
    b"%FF", b"%E2%80%8B", b"%01", b"%C2%AD", b"%", b"$", b"*", b"~", b"%2f", b"'", b")", b",", b"|", b"%1b",
    b":utf8", b":list", b":method", b"%3autf8", b":",
)  # fmt: skip
_NAMES = (
    b"site", b"site", b"site", b"site", b"site", b"sites", b"_method", b"q", b"api_key", b"x", b"s", b"siteId",
    b"rest", b"rest_route", b"nxtPsite", b":method", b"../../blog/report:method", b"CamelHttpPath",
    b"_url", b"_charset_", b"__sugar_url",
)  # fmt: skip
_VALUES = (
    b"blog", b"blog", b"blog", b"shop", b"shop", b"", b"sh%6fp", b"bl%6fg", b"%62log", b"%2562log", b"BLOG",
    b"Shop", b"shop,blog", b"shop%2cblog", b"shop%00blog", b"shop%00", b"shop%20", b"+shop", b"shop+",
    b"blog%00shop", b"?site=blog", b"%3fsite=blog", b"x;site=blog", b"x%3bsite=blog", b"x%26site=blog",
    b"x&site=blog", b"x#site=blog", b"x%23site=blog", b"a=b", b"shop&site", b"shop=blog", b"/api/sites/blog/x",
    b"api/sites/blog/x", b"%", b"%zz", b"%u0062log", b"%c3%a9", b"shop%0a", b"shop%0d%0ax", b"[blog]", b"{}",
    b'"blog"', b"shop%2f", b"DELETE", b"shop%c0%80", b"%ef%bd%82log", b"shop;blog", b"shop|blog", b"1", b"*",
    b"all",
)  # fmt: skip
_SEPARATORS = (
    b"&", b"&", b"&", b"&", b"&", b";", b"?", b"&&", b"&amp;", b"%26", b"%3b", b"#", b"&?", b"??", b",",
    b"%253b", b"%0a", b"|", b"&;",
)  # fmt: skip


def name(rng: random.Random) -> bytes:
    """Return a parameter name, possibly in a spelling that only some backends recognize."""
    text = rng.choice(_NAMES)
    choice = rng.random()
    if choice < 0.2:
        text = encoded(rng, text, rng.choice((0.25, 0.5, 1.0)))
    elif choice < 0.3:
        text = cased(rng, text)
    elif choice < 0.35:
        # The long s, a dotless and a dotted i, and a full-width s.
        text = rng.choice(
            (b"%c5%bfite", b"s%c4%b1te", b"s%c4%b0te", b"%ef%bd%93ite", b"%uff53ite", b"s%FFite", b"s%ite", b"si%01te")
        )
    if rng.random() < 0.45:
        text = rng.choice(_BEFORE) + text + rng.choice(_AFTER)
    return text


def _pair(rng: random.Random) -> bytes:
    choice = rng.random()
    if choice < 0.08:
        return name(rng)
    equals = b"=" if choice < 0.9 else rng.choice((b"%3d", b"==", b"=%3d", b" =".strip(), b"%253d", b"=&="))
    value = rng.choice(_VALUES)
    if rng.random() < 0.1:
        value = encoded(rng, value, 0.5)
    return name(rng) + equals + value


_HOSTILE_QUERY_PIECES = (1, 1, 2, 2, 3, 4)


def hostile_query(rng: random.Random, request: Request) -> Request:
    """Add parameters before or after the query, or replace it."""
    pieces = [_pair(rng) for _ in range(rng.choice(_HOSTILE_QUERY_PIECES))]
    if request.query and rng.random() < 0.75:
        pieces.insert(rng.choice((0, len(pieces))), request.query)
    elif rng.random() < 0.5:
        pieces.insert(rng.choice((0, len(pieces))), b"site=shop")
    query = pieces[0]
    for piece in pieces[1:]:
        query += rng.choice(_SEPARATORS) + piece
    if rng.random() < 0.02:
        query = b"&".join([b"a=1"] * rng.choice((99, 100, 255, 256, 300))) + b"&" + query
    return request.with_query(query)


_SUPERFLUOUS_QUERY_MORE = (
    b"site=shop", b"site=shop", b"site=blog", b"site=", b"site", b"site[]=shop", b"s%69te=shop", b"Site=shop",
    b"filter[site]=blog",
)  # fmt: skip


def superfluous_query(rng: random.Random, request: Request) -> Request:
    """Name the allowed site again, or name another site in a parameter that a rule may not read."""
    more = rng.choice(_SUPERFLUOUS_QUERY_MORE)
    query = request.query
    return request.with_query(b"&".join(filter(None, rng.choice(((more, query), (query, more))))))
