"""Expensive heads, as data. Each grows in one dimension, and is the worst of its kind that was found.

A row is a beginning, a unit that is repeated, and an end. `python -m tests.cost.search` searches for more.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.cost.heads import HEAD_ROOM, MAX_FIELDS, SITE, TARGET_ROOM, Mix, Part, Shape, fill


@dataclass(frozen=True)
class Case:
    """Heads of one kind in every size. `build` takes the size in bytes."""

    dimension: str
    name: str
    build: Callable[[int], Shape]
    largest: int


IN_QUOTES = b"/Sites('"

# (beginning, unit, end): repeated in the path.
PATHS: list[tuple[bytes, bytes, bytes]] = [
    (b"/x%c3%a9", b";;;;%25;", b""),  # 184 ms (issue 8)
    (b"/", b";", b""),  # 37 ms (issue 8)
    (SITE, b";", b""),
    (SITE, b";a", b""),
    (SITE, b";a=b/", b"x"),
    (SITE, b"a;b/", b""),
    (SITE, b"%3b", b""),
    (SITE, b"%253b", b""),
    (SITE, b"%25253b", b""),
    (SITE, b"%25;", b""),
    (SITE, b"%2525;", b""),
    (SITE, b";%25", b""),
    (SITE, b";%252e", b""),
    (SITE, b";a%25252541", b""),
    (SITE, b"a/", b""),
    (SITE, b"a//", b""),
    (SITE, b"/", b""),
    (SITE, b"a", b""),
    (SITE, b"A.", b""),
    (SITE, b"~", b""),
    (SITE, b"a%2f", b""),
    (SITE, b"a%252f", b""),
    (SITE, b"a%25252f", b""),
    (SITE, b"a%2525252f", b""),
    (SITE, b"%41", b""),
    (SITE, b"%2541", b""),
    (SITE, b"%252541", b""),
    (SITE, b"%25252541", b""),
    (SITE, b"%2525252541", b""),
    (SITE, b"%25", b""),
    (SITE, b"%2525", b""),
    (SITE, b"%252525", b""),
    (SITE, b"%25", b"41"),  # the whole path is one escape, as deep as it is long
    (SITE, b"25", b"41"),
    (SITE + b"%", b"25", b"41"),
    (SITE, b"%u0041", b""),
    (SITE, b"%25u0041", b""),
    (SITE, b"%u25", b""),
    (SITE, b"%c3%a9", b""),
    (SITE, b"%25c3%25a9", b""),
    (SITE + b"a", b"%cc%81", b""),  # one letter with many accents
    (SITE + b"a", b"%cc%b4%cc%81", b""),  # accents that NFKC must sort
    (SITE + b"a", b"%25cc%25b4%25cc%2581", b""),
    (SITE, b"%ef%b7%ba", b""),  # U+FDFA: eighteen letters after NFKC
    (SITE, b"%ef%bc%a1", b""),
    (SITE, b"%e1%84%80%e1%85%a1%e1%86%a8", b""),
    (SITE, b"%f0%9d%94%b8", b""),
    (SITE, b"%e2%84%ab/", b""),
    (SITE, b"%ff", b""),
    (SITE, b"%25ff;", b""),
    (SITE, b"&", b""),
    (SITE, b"%26", b""),
    (SITE, b"%2526", b""),
    (SITE, b"%26a", b""),
    (SITE, b"%3fa", b""),
    (SITE, b"%3f", b""),
    (SITE, b"%253f%2526", b""),
    (SITE, b"%23", b""),
    (SITE, b"%26site", b""),
    (SITE, b"%26a{n}=b", b""),
    (SITE, b"%2526a{n}=b", b""),
    (SITE, b"%26site=shop", b""),
    (SITE, b"%3fsite=shop%26", b""),
    (SITE, b"%26[+%25252561{n}]", b""),
    (SITE, b"%3b%26%3f", b""),
    (SITE, b"+", b""),
    (SITE, b"=", b""),
    (SITE, b"api/sites/shop/", b""),
    (SITE, b"sites%2fshop/", b""),
    (b"/", b"api/sites/", b"shop/x"),
    (b"/", b"api%2fsites%2fshop/", b""),
    (b"/api/sites/", b"a", b"/x"),
    (b"/api/sites/", b"%c5%bf", b"/x"),
    (b"/api/sites/", b"%c4%b0", b"/x"),
    (IN_QUOTES + b"shop", b"')", b""),
    (IN_QUOTES + b"shop", b"'", b")"),
    (IN_QUOTES + b"shop')/", b"Sites('shop')/", b""),
    (IN_QUOTES + b"shop", b"%27)", b""),
    (b"/static/", b"1/", b""),
    (b"/static/1/", b"a;/", b""),
    (b"/static/1/", b"%2561;/", b""),
    (b"/api/sites/shop/table1", b"/a;%2561", b""),
    (b"/export/", b"shop.json", b""),
    (b"/export/shop", b".json", b"x"),
    (b"/x", b"/%2561;/", b""),
    (b"/x%c3%a9", b"//%2561;", b""),
    (b"/X", b"/%2541;//", b""),
]

# (beginning, unit, end): repeated in the query.
QUERIES: list[tuple[bytes, bytes, bytes]] = [
    (b"", b"[+%25252561{x}];", b""),  # 63 to 208 ms (issue 8)
    (b"", b"[+%25252561N];", b""),
    (b"", b"[+%25252561{n}];", b""),
    (b"", b"[+%25252561{n}]&", b""),
    (b"", b"&", b""),
    (b"", b";", b""),
    (b"", b"?", b""),
    (b"", b"=", b""),
    (b"", b"+", b""),
    (b"", b"a&", b""),
    (b"", b"a;", b""),
    (b"", b"a=b&", b""),
    (b"", b"a=b;", b""),
    (b"", b"a?b=c?", b""),
    (b"", b"%3f", b""),
    (b"", b"%26a=b", b""),
    (b"", b"%3ba=b", b""),
    (b"", b"p{n}=1&", b""),
    (b"", b"p{n}=1;", b""),
    (b"", b"%70{n}=1&", b""),
    (b"", b"%2570{n}=1&", b""),
    (b"", b"%252570{n}&", b""),
    (b"", b"%25252570{n}&", b""),
    (b"", b"%2525252570{n}&", b""),
    (b"", b"+%252570.{n}?", b""),
    (b"", b"%u0070{n}&", b""),
    (b"", b"%c3%a9{n}&", b""),
    (b"", b"%ff{n}&", b""),
    (b"", b"%00{n}&", b""),
    (b"", b".{n}&", b""),
    (b"", b"?{n}&", b""),
    (b"", b"??site&", b""),
    (b"", b"[{n}&", b""),
    (b"", b"]{n}&", b""),
    (b"", b"a[{n}]&", b""),
    (b"", b"site=shop&", b""),
    (b"", b"site=shop;", b""),
    (b"", b"site=shop?", b""),
    (b"", b"site=s{n}&", b""),
    (b"", b"site=s{n}%2b+&", b""),
    (b"", b"site=%2573{n}&", b""),
    (b"", b"site=%25252573+{n}&", b""),
    (b"", b"Site=shop&", b""),
    (b"", b"s%69te=shop&", b""),
    (b"", b"s%2569te=s{n}&", b""),
    (b"", b"sit%252565=s{n}+&", b""),
    (b"", b"site[]=shop&", b""),
    (b"", b"site[{n}]=shop&", b""),
    (b"", b"site%255b{n}%255d=shop&", b""),
    (b"", b"site{n}=shop&", b""),
    (b"", b"sit{n}=shop&", b""),
    (b"", b"]site=shop&", b""),
    (b"", b"[site]=shop&", b""),
    (b"", b"%5Bsite%5D=s{n}&", b""),
    (b"", b"+site=shop&", b""),
    (b"", b"%20site=shop&", b""),
    (b"", b"site%00=shop&", b""),
    (b"", b"?site=shop&", b""),
    (b"", b"site&", b""),
    (b"", b"site;", b""),
    (b"site=", b"a", b""),
    (b"site=", b"+", b""),
    (b"site=a", b"+b", b""),
    (b"site=", b"%2b", b""),
    (b"site=", b"%252b", b""),
    (b"site=", b"%25252541", b""),
    (b"site=", b"%c3%a9", b""),
    (b"site=a", b"%cc%b4%cc%81", b""),
    (b"site=1&" + fill(b"site2573{n}&", 3800), b"%ff~%cc%b4%cc%81", b""),  # many names, and a long one outside ASCII
    (b"site=1&" + fill(b"a{n}&", 3800), b"%c3%a9", b""),
    (b"site=1&" + fill(b"site2573{n}&", 3800), b"site:DidsTE%2bexport,%5caid52clookup+", b""),
    (b"site=1&" + fill(b"site2573{n}&", 7700), b"a", b""),
    (b"%41=1&site=1&", b"site{n}&", b""),
    (b"site=", b"{n},", b""),
    (b"site=", b"?", b""),
    (b"site=", b"%3fsite=", b""),
    (b"idSite=", b"{n},", b"1"),
    (b"idSite=", b",", b"1"),
    (b"idSite=", b"{n}+,", b"1"),
    (b"idSite=", b"{n}%2c", b"1"),
    (b"idSite=", b"{n}%252c+", b"1"),
    (b"idSite=", b"{n}%25252c+", b"1"),
    (b"idSite=", b"all,", b"all"),
    (b"", b"idSite=1,2&", b""),
    (b"", b"idSite={n},a&", b""),
    (b"", b"idsite={n}+&", b""),
    (b"filter[site]=in.(", b"{n},", b"1)"),
    (b"filter[site]=in.(", b")", b""),
    (b"filter[site]=", b"in.(", b")"),
    (b"", b"filter[site]=in.(a{n},b)&", b""),
    (b"", b"filter%5Bsite%5D=in.(a{n})&", b""),
    (b"", b"filter%255Bsite=in.(a{n})&", b""),
    (b"", b"filter=in.({n})&", b""),
    (b"", b"filter[a]=in.({n})&", b""),
    (b"", b"filter[", b"site]=a"),
    (b"", b"filter.site={n}&", b""),
    (b"filter", b"[a]", b"=b"),
    (b"filter", b"[", b"=b"),
    (b"", b"[", b"=b"),
    (b"", b"]", b"=b"),
    (b"", b"[]", b"=b"),
    (b"", b"[a]", b"=b"),
    (b"site", b"[a]", b"=b"),
    (b"site", b".a", b"=b"),
    (b"", b"%5b", b"=b"),
    (b"", b"%255b+", b"=b"),
    (b"", b"%2525255b+", b"=b"),
    (b"", b"%25", b"=b"),
    (b"", b"%2525", b"=b"),
    (b"a=", b"%25", b"41"),
    (b"a=", b"%25252541", b""),
    (b"a=", b"a", b""),
    (b"", b"a", b"=b"),
    (b"", b"_method=a{n}&", b""),
    (b"", b"_method=%25252544{n}+&", b""),
    (b"", b"_method=DELETE&", b""),
    (b"_method=", b"a,", b"DELETE"),
    (b"_method=", b"a%252c+", b"DELETE"),
    (b"", b"_METHOD=+%2525{n}&", b""),
    (b"", b"urls{n}&", b""),
    (b"", b"%24apply{n}&", b""),
    (b"", b"api_key=a{n}&", b""),
    (b"", b"api_key=%25{n}&", b""),
    (b"", b"api_key;", b""),
    (b"", b"api%5fkey{n}=a&", b""),
    (b"", b"api%252525fkey{n}=a&", b""),
    (b"", b"Api+Key={n}&", b""),
    (b"", b"api_ke{n}=a&", b""),
    (b"api_key=", b"%25", b""),
    (b"api_key=", b"a", b""),
    (b"", b"token=&", b""),
    (b"", b"[+%252525{n}].token;", b""),
    (b"", b"ab=cd;", b"site_id=shop"),
    (b"", b"p{n}=1;", b"site_id=shop"),  # used to cost as much as 38 plain heads: a step of Python for each piece
    (b"", b"p{n};", b"a=b;site_id=shop"),
    (b"p%41;", b"p{n};", b"a=b;site_id=shop"),
    (b"", b"site%00s%2f", b""),
    (b"site%00%c3%a9;", b"S%ef%b7%ba%81{x};", b""),  # used to cost 65 plain heads: str.translate is slow outside ASCII
    (b"site%00%c3%a9", b"S%ef%b7%ba%81", b""),
]

# (beginning, unit, end): repeated in one Cookie field.
COOKIES: list[tuple[bytes, bytes, bytes]] = [
    (b"api_key=", b"%%==", b";"),
    (b"a=", b"Site&", b"b"),
    (b"a", b"Site&", b"=%41"),
    (b"", b"[+%25252561N]; ", b""),  # 158 ms (issue 8)
    (b"", b"[+%25252561{n}]; ", b""),
    (b"", b"[+%25252561{n}]=a;", b""),
    (b"", b";", b""),
    (b"", b"a;", b""),
    (b"", b"a=b; ", b""),
    (b"", b"n{n}=v; ", b""),
    (b"", b"%6e{n}=v; ", b""),
    (b"", b"%25256e{n}+; ", b""),
    (b"", b"api_key=a; ", b""),
    (b"", b"api_key=a{n}; ", b""),
    (b"", b"api_key=%25{n}; ", b""),
    (b"", b"api%255fkey{n}=a; ", b""),
    (b"", b"Api.Key={n};", b""),
    (b"", b"api_ke{n}=a; ", b""),
    (b"api_key=", b"%25", b""),
    (b"api_key=", b'"', b""),
    (b"", b"site=shop; ", b""),
    (b"", b"site=s{n}; ", b""),
    (b"", b"site=%25252573+{n}; ", b""),
    (b"", b"s%2569te=s{n}; ", b""),
    (b"", b"site[{n}]=+; ", b""),
    (b"", b"idSite={n}; ", b""),
    (b"idSite=", b"{n},", b"1"),
    (b"site=", b"+%2525", b""),
    (b"site=", b"%c3%a9", b""),
    (b"", b"filter[site]=in.({n}); ", b""),
    (b"", b"filter%255bsite{n}; ", b""),
    (b"", b"[a]", b"=b"),
    (b"", b"[", b"=b"),
    (b"", b"%255b+", b"=b"),
    (b"", b"=", b""),
    (b"", b",", b""),
    (b"", b"a,site=s{n},", b""),
    (b"", b"a", b""),
    (b"a=", b" ", b"b"),
    (b"", b"\xc3\xa9{n}=\xcc\x81;", b""),
]

# (name, beginning, unit, end): repeated in one field's value.
VALUES: list[tuple[bytes, bytes, bytes, bytes]] = [
    (b"X-Site", b"", b"a", b""),
    (b"X-Site", b"", b"{n},", b"1"),
    (b"X-Site", b"", b"{n} , ", b"1"),
    (b"X-Site", b"", b",", b"1"),
    (b"X-Site", b"", b"shop,", b"shop"),
    (b"X-Site", b"", b"\xc3\xa9", b""),
    (b"X-Site", b"a", b"\xcc\xb4\xcc\x81", b""),
    (b"X-Site", b"", b"\xff", b""),
    (b"X-Site", b"", b"%25", b""),
    (b"X_Site", b"", b"{n},", b"1"),
    (b"X-Forwarded-For", b"", b"192.0.2.1,", b"192.0.2.1"),
    (b"X-Forwarded-For", b"", b"192.0.2.{x}, ", b"192.0.2.1"),
    (b"X-Forwarded-For", b"", b"[::ffff:192.0.2.1]:80,", b"192.0.2.1"),
    (b"X-Forwarded-For", b"", b"::ffff:192.0.2.1,", b"192.0.2.1"),
    (b"X-Forwarded-For", b"", b",", b""),
    (b"X-Forwarded-For", b"", b"1", b""),
    (b"X-Forwarded-For", b"", b":", b""),
    (b"X-Forwarded-For", b"", b"1.", b""),
    (b"X-Forwarded-Host", b"", b"shop.api.example.com,", b"shop.api.example.com"),
    (b"X-Forwarded-Host", b"", b"s{n}.api.example.com,", b"a"),
    (b"X-Forwarded-Host", b"", b":1", b"x"),
    (b"X-Forwarded-Host", b"", b".api.example.com", b"x"),
    (b"X-Forwarded-Proto", b"", b"https,", b"https"),
    (b"X-Forwarded-Prefix", b"", b"/a", b""),
    (b"X-Request-Id", b"", b"a", b""),
    (b"X-Real-IP", b"", b"192.0.2.1,", b"1"),
    (b"Forwarded", b"", b"for=192.0.2.1;host=shop.api.example.com,", b"by=x"),
    (b"Forwarded", b"", b"host=a{n}.api.example.com,", b"by=x"),
    (b"Forwarded", b"", b"host=", b""),
    (b"Forwarded", b"", b"host= ", b";"),
    (b"Forwarded", b"host=", b" ", b";"),
    (b"Forwarded", b"", b'host="', b""),
    (b"Forwarded", b"", b";", b""),
    (b"Connection", b"", b"a{n},", b"close"),
    (b"Connection", b"", b"a,", b"close"),
    (b"Connection", b"", b"close,", b"close"),
    (b"Connection", b"", b",", b"close"),
    (b"Connection", b"", b"x_{n}, ", b"close"),
    (b"Connection", b"", b"a", b""),
    (b"Connection", b"upgrade,", b"a{n},", b"x"),
    (b"Upgrade", b"", b"websocket,", b"h2c"),
    (b"Upgrade", b"", b"a", b""),
    (b"TE", b"", b"trailers,", b"x"),
    (b"Trailer", b"", b"a{n},", b"x"),
    (b"Keep-Alive", b"", b"timeout=5,", b"x"),
    (b"Transfer-Encoding", b"", b"chunked,", b"chunked"),
    (b"Content-Length", b"", b"0", b""),
    (b"Content-Length", b"", b"1,", b"1"),
    (b"Expect", b"", b"100-continue,", b"x"),
    (b"Authorization", b"Bearer ", b"a", b""),
    (b"Authorization", b"Bearer", b" ", b"a"),
    (b"Authorization", b"Basic ", b"QUFB", b"Og=="),
    (b"Authorization", b"Basic ", b"OjpB", b""),
    (b"Authorization", b"Basic ", b"=", b""),
    (b"Authorization", b"", b"a", b""),
    (b"Authorization", b"", b"a ", b"a"),
    (b"Authorization", b"", b"slk_", b""),
    (b"Authorization", b"a", b"\t", b"\x80"),
    (b"X-API-Key", b"", b"slk_a", b""),
    (b"X-HTTP-Method-Override", b"", b"GET,", b"GET"),
    (b"X-HTTP-Method-Override", b"", b"A{n}, ", b"DELETE"),
    (b"X-HTTP-Method-Override", b"", b",", b"DELETE"),
    (b"X-HTTP-Method-Override", b"", b"a", b""),
    (b"Content-Type", b"", b"text/plain,", b"a/b"),
    (b"Content-Type", b"", b"a{n}/b; c=d, ", b"a/b"),
    (b"Content-Type", b"", b"multipart", b""),
    (b"Content-Type", b"text/plain", b" ;", b""),
    (b"Accept", b"", b"a", b""),
    (b"Accept", b"", b"text/{n};q=0.1,", b"*/*"),
    (b"Origin", b"https://", b"a.", b"example"),
    (b"Access-Control-Request-Headers", b"", b"x-{n},", b"x-a"),
    (b"If", b"", b"</{n}> ([{n}]) ", b""),
    (b"Destination", b"http://h/", b"a%2525/", b""),
    (b"Referer", b"", b"%2525", b""),
]

# (name, value): repeated as fields of their own.
FIELDS: list[tuple[bytes, bytes]] = [
    (b"A{n}", b"b"),
    (b"A_{n}", b"b"),
    (b"A.{n}", b"b"),
    (b"Accept", b"a"),
    (b"X-Site", b"shop"),
    (b"X-Site", b"s{n}"),
    (b"X_Site", b"shop"),
    (b"X.Site{n}", b"shop"),
    (b"X-Forwarded-A{n}", b"b"),
    (b"X_Forwarded_A{n}", b"b"),
    (b"X-Forwarded-For", b"192.0.2.1"),
    (b"X-Forwarded-Host", b"shop.api.example.com"),
    (b"Forwarded", b"host=shop.api.example.com"),
    (b"X-API-Key", b"slk_a"),
    (b"X-API-Key", b"slk_a{n}"),
    (b"Authorization", b"Bearer slk_a"),
    (b"Authorization", b"Basic QUE6{n}"),
    (b"Cookie", b"[+%252525{n}]; api_key=a{n}"),
    (b"Cookie", b"site=s{n}"),
    (b"Connection", b"x-a{n}"),
    (b"Connection", b"upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"X-HTTP-Method-Override", b"GET"),
    (b"X-HTTP-Method-Override", b"A{n}"),
    (b"X-Method-Override", b"A{n}, B, C"),
    (b"Content-Type", b"text/plain{n}"),
    (b"Content-Length", b"0"),
    (b"Expect", b"100-continue"),
    (b"X-Request-Id", b"a{n}"),
    (b"Origin", b"https://a{n}.example"),
]


# Heads that a shortcut nearly reads. A part is not plain at its last byte, so a shortcut does its work in vain
# (plain_requests.py, plain_claims.py, plain_paths.py and parameter_finder.py).
NEARLY_PLAIN: list[Mix] = [
    Mix({"value": Part(b"", (b"b ",), b"b\x80", 7000)}, b"A{n}", 28),  # in every field
    Mix({"value": Part(b"", (b"b",), b"\t", 2000)}, b"A_{n}", 28),
    Mix({"value": Part(b"", (b"~",), b"\x80", 7900)}, b"X-API-Key", 1),
    Mix({"value": Part(b"", (b"9",), b"", 7900)}, b"Content-Length", 1, method=b"POST"),
    Mix({"value": Part(b"shop.", (b"a.",), b"-", 7900)}, b"Host", 1),
    Mix({"path": Part(SITE, (b"a",), b"\x80", 7800)}),
    Mix({"path": Part(SITE, (b"a/",), b".x", 230)}),
    Mix({"path": Part(SITE, (b"a/",), b"%41", 230)}),
    Mix({"path": Part(IN_QUOTES, (b"')",), b"x", 230)}),
    Mix({"path": Part(b"/static/", (b"1/",), b"/", 230)}),
    Mix({"query": Part(b"", (b"a=b&",), b"\xc3\xa9", 500)}),
    Mix({"query": Part(b"", (b"a{n}=b& ",), b"%", 500)}),
    Mix({"query": Part(b"", (b"sit=b&",), b"site=a&site=b", 480)}),
    Mix({"query": Part(b"site=", (b"a",), b"%", 490)}),
    Mix({"query": Part(b"site=a&", (b"sites=&",), b"site", 480)}),
    Mix({"query": Part(b"", (b"-",), b"+", 510)}),
    Mix({"cookies": Part(b"", (b"a=b; ",), b"%", 500)}),
    Mix({"cookies": Part(b"", (b"api_ke=b; ",), b"api_key", 490)}),
    Mix(
        {
            "path": Part(SITE, (b"a/",), b".x", 230),
            "query": Part(b"", (b"sit{n}=b&",), b"site=a&site=b", 240),
            "cookies": Part(b"", (b"c{n}=b; ",), b"%", 490),
            "value": Part(b"", (b"b ",), b"b\x80", 6000),
        },
        b"A{n}",
        27,
    ),
]

# Heads that are expensive in several parts at once, just within the limits.
MIXES: list[Mix] = [
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"//%2561;",), b"", 250),
            "query": Part(
                b"site=",
                (b"%25252541%55DELETEp%20sit.0pag=[%u00", b"%filter[sit-2b"),
                b"x-tUNnele%2564-method%ff=+;;",
                237,
            ),
            "cookies": Part(
                b"",
                (b"_httpmEt%68%256fd[x]=slk_a;", b"x-tunneled-%255bx-h%u0074tp-%u006detho%25252564-%6%u006%c3%a"),
                b"",
                200,
            ),
            "value": Part(b"Basic ", (b"QUFB", b"%%5chost=\\"), b"Og==", 5400),
        },
        b"If",
        46,
        method=b"PROPFIND",
    ),
    Mix(
        {
            "path": Part(SITE, (b"%ff",), b"", 4000),
            "query": Part(b"", (b"a%5B{n}%5D&",), b"", 3800),
            "cookies": Part(b"", (b"%6e{n}=v; ",), b"", 2800),
            "value": Part(b"b"),
        },
        b"A{n}",
        85,
    ),
    Mix(
        {
            "path": Part(SITE, (b"a%2f",), b"", 4000),
            "query": Part(b"", (b"site=s{n}&",), b"", 3800),
            "cookies": Part(b"", (b"n{n}=v; ",), b"", 2800),
        },
    ),
    Mix(
        {
            "query": Part(b"", (b"ids[]=s{n}&",), b"", 3800),
            "cookies": Part(b"", (b"n{n}=v; ",), b"", 2800),
            "value": Part(b"", (b"{n},",), b"60", 170),
        }
    ),
    Mix(
        {
            "query": Part(b"", (b"_method=%25252544{n}+&",), b"", 3800),
            "cookies": Part(b"", (b"%256e{n}=v; ",), b"", 2800),
            "value": Part(b"", (b"{n},",), b"60", 170),
        }
    ),
    # The search found the following.
    Mix(
        {
            "query": Part(
                b"",
                (b"(idSitesite_json%20in.(%3b", b"LE%u0041TE?%3ite:(", b"{x}1{x}shopapi_key%0a"),
                b"site]=a",
                TARGET_ROOM,
            )
        },
        method=b"POST",
    ),
    Mix({"query": Part(b"", (b"site%00%c3%a9", b"api70{n}&"), b"", TARGET_ROOM)}),
    Mix({"query": Part(b"", (b"%26_4",), b"", TARGET_ROOM)}),
    Mix(
        {
            "query": Part(b"", (b"eq.Sitex-http%3f-%%00/ids[]0065thod-overr%2eide[x]", b"%2fa*"), b"", 7900),
            "path": Part(
                b"/api/sites/shop/", (b"%2541;ids[{n}{n}%252525//", b"%2f%ef%bcsitjson%8f%255"), b"ids[{n}]", 604
            ),
        }
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"1/%a2c",), b"%ef%bc%8f%3dlookupexporteq.", 7900),
            "query": Part(b"filter[site]=in.(", (b"filt%u0065&&", b"_met%idSite568o%2bd%&"), b"", 4000),
            "cookies": Part(b"", (b"p$httpmetho%00%c5%bf%41%2_ht{x}526",), b"", 200),
            "value": Part(b"", (b"\xff", b"$"), b"", 23100),
        },
        b"X-Site",
        1,
        method=b"LIST",
    ),
    Mix(
        {
            "query": Part(
                b"idsite{x}=%25&;",
                (b"site[]=shopSite&", b"x-tunfilterneled-method&", b"allslk{x}_afilter[site]%26"),
                b"",
                200,
            ),
            "cookies": Part(b"", (b"si%20=%;",), b"", 200),
            "path": Part(
                b"/api/sites/shop/",
                (b"sites%ef%bc%8f%41site_%252urls541id", b"%ef%bcid%20a1%c5%25252f%bf"),
                b"%26token%5b;idSite",
                1000,
            ),
            "value": Part(b"", (b"shop%25252541. api.example.com,api_key",), b"shop.api.example.com", 31000),
        },
        b"Content-Type",
        1,
        method=b"LIST",
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/", (b"i_key", b"DELETE%2525'3drows%%ef%ids%%2525ef%b7%ids[]", b"%25252541"), b"", 7900
            ),
            "value": Part(b"", (b"iidSiteds[192.0.{", b"in%3bef%bc%8f,."), b"1", 5985),
            "cookies": Part(b"", (b"x-ht%252574p-method-override%ff=/;",), b"", 400),
        },
        b"X-Internal-{n}",
        92,
    ),
    Mix(
        {
            "query": Part(b"%255bs%c.a&", (b"lTe*r", b"filr=\xc3\xa9&"), b"=b", 7110),
            "value": Part(b"", (b"1ids[{n}])expo%252525rt%", b"mpar%fft"), b"", 1500),
            "path": Part(b"/api/sites/shop/", (b"a%25%252f25252f",), b"", 1000),
        },
        b"Content-Type",
        1,
        method=b"POST",
    ),
    Mix(
        {
            "query": Part(b"", (b"%3d", b"urlax-http-m%u0065thod-overridella;"), b"", 7900),
            "path": Part(b"/api/sites/shop/", (b"%e2=%84%ab",), b"", 4000),
            "cookies": Part(b"", (b"site=%2%26252573+{n}; ",), b"", 200),
        },
        method=b"LIST",
    ),
    Mix(
        {
            "cookies": Part(b"", (b"%5bsite[{n}]hot=41",), b"", 31000),
            "path": Part(b"/api/sites/shop/", (b"//%2561;",), b"", 250),
            "query": Part(b"site=", (b"%25252541%255bp%20sit.0pagE[%u00", b"%-2b"), b"", 200),
        }
    ),
    Mix(
        {
            "query": Part(b"", (b"site&&",), b"", 283),
            "path": Part(b"/api/sites/shop/", (b"a%cc%ba%81", b"apiids[]ids[{n}]%c5%bf"), b"/x", 7900),
            "cookies": Part(
                b"", (b"xa0068eq.me%74Hod-%u00,6fv%u0065r%252572ide=A,;api_key", b"[+%25252561{n}]"), b"", 200
            ),
            "value": Part(b"", (b"192.0.2.1,",), b"192.0.2.1", 3600),
        },
        b"X-Forwarded-Host",
        1,
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"%Aapi", b"%25'41=Ssisitete"), b"", 7900),
            "cookies": Part(b"", (b"25252561{n}]=a;",), b"", 2100),
            "value": Part(b"Basic ", (b"eOjpB",), b"", 4000),
        },
        b"X-Forwarded-{n}",
        1,
        method=b"POST",
    ),
    Mix(
        {
            "query": Part(
                b"", (b"%2eapi%u005fkEy.a;;", b"filTerDELETE%ffx-http-method%%2ex-tunneled-method%253d"), b"", 6320
            ),
            "value": Part(b"", (b"</{n}> urls[{n}rows]) ", b",%253bslk_%253b\xcc\x81"), b"", 1000),
            "path": Part(b"/api/sites/shop/", (b"%26a%25252f{n}=DELETids[]E",), b"", 7900),
            "cookies": Part(b"", (b"[+%25252561N]; ",), b"", 4000),
        },
        b"X-Internal-{n}",
        92,
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"idSiteA/5%bf", b"%ef%bc%8f"), b"json%2b", 7900),
            "value": Part(b"", (b"%sitea{n},",), b"close", 1000),
        },
        b"Connection",
        1,
    ),
    Mix(
        {
            "query": Part(b"", (b"%5Bsite%5D=s{n}&",), b"", 7110),
            "path": Part(b"/api/sites/shop/", (b"+site_id",), b"", 7505),
        }
    ),
    Mix(
        {
            "value": Part(b"", (b"site", b"for=192.0.2.1;hot=shop.api.example.com,"), b"by=x", 14725),
            "path": Part(b"/api/sites/shop/", (b"%ef%bc%8f",), b"", 6320),
            "cookies": Part(b"", (b"api%255fkey{n}=a; ",), b"", 1000),
        },
        b"X-Forwarded-{n}",
        92,
        method=b"LIST",
    ),
    Mix(
        {
            "cookies": Part(b"", (b"%te=x%25eort\t", b"ilter%55bsite{n}"), b"", 31000),
            "query": Part(b"", (b"site=s{n}&",), b"", 200),
        },
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"sh%25%41op%ef%bc%8fidSiteidSite%ef%bc%8f",), b"", 6320),
            "cookies": Part(b"", (b"%25256e{n%c3%a9,}+; ",), b"", 2835),
        },
        method=b"POST",
    ),
    Mix(
        {
            "query": Part(b"site", (b"[a]%25252541", b"%25+%", b"%u0024ht%u007pmethod=eq.{n}"), b"=b", 855),
            "path": Part(b"/api/sites/shop/", (b"A,a?%u00ids", b";arow5252541"), b"", 356),
        }
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"%25252541", b"%26a%ef*%b7%b1a{%0an}%2525254152525=b"), b"", 7900),
            "cookies": Part(b"", (b"filteR=%ff;", b","), b"", 3800),
        },
        method=b"HEAD",
    ),
    Mix(
        {
            "query": Part(b"site=", (b"%61",), b"", 3950),
            "path": Part(b"/x/", (b"sites%2fsh%ff/",), b"", 7900),
            "value": Part(b"", (b"?{n}",), b"1", 4000),
        },
        b"X-Internal-{n}",
        2,
        method=b"DELETE",
    ),
    Mix({"query": Part(b"", (b"stati%0ap%26b", b"%2e+", b"filter.site=\xc3\xa9n}&"), b"", 7900)}, method=b"POST"),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"%ef%bc%8f*",), b"", 7900),
            "cookies": Part(
                b"",
                (b"Api_%e2%84%aaEy[[[[==;", b"%u0041%20", b"ap[]i_k%ef%b7%baey%25sites69%64s%5b{n}%5d=%25{n}"),
                b"",
                1375,
            ),
        }
    ),
    Mix(
        {
            "cookies": Part(b"%23a%u0070i_key{x}eq.host=", (b"%2%252525",), b"", 31000),
            "query": Part(b"", (b"site=s{n}%2b+&", b"%0atoken={n}%2c;;"), b"", 200),
        }
    ),
    Mix(
        {
            "value": Part(b"host=", (b"rowsallsfilter",), b";", 31000),
            "query": Part(b"", (b"urls{n}&", b"+_m%u0065thod]%ef%b7%ba_httpmethod%0a%5b:"), b"", 1000),
            "path": Part(b"/api/sites/shop/", (b"%3b%26%3f",), b"", 140),
        },
        b"Cookie",
        10,
        method=b"HEAD",
    ),
    Mix(
        {
            "query": Part(b"", (b"site%255b{n}%in.(255d=shop&",), b"", 1100),
            "path": Part(SITE, (b"%ff",), b"", 200),
            "value": Part(b"", (b"x_{n}, ",), b"close", 1000),
        },
        b"Connection",
        method=b"DELETE",
    ),
    Mix(
        {
            "query": Part(b"Filter[sIte]", (b"[a]%25252541", b"id%c5%bf[{n}]=%u0041&;", b"%25+%"), b"=b", 940),
            "path": Part(SITE, (b"urlsqin.(ue%2526te(", b";arowsite5252541"), b"+", 198),
            "value": Part(b"", (b"a{n}/b; c=d, ",), b"a/b", 31000),
        },
        b"Content-Type",
    ),
    Mix({"path": Part(b"/", (b"api%2fsites%2fshop/",), b"", 7900)}),
    Mix(
        {
            "value": Part(b"", (b"\xff",), b"", 31000),
            "path": Part(SITE, (b"sites%2fshop/%2525%253b2541", b"ids[]ids(staticDELETE"), b"", 200),
            "query": Part(b"site=", (b"+",), b"", 200),
        },
        b"X-Site",
        46,
    ),
    Mix(
        {"path": Part(SITE, (b"%e2=%84%ab",), b"", 7900), "value": Part(b"", (b"?{n}",), b"1", 200)},
        b"X-Internal-{n}",
        MAX_FIELDS,
    ),
    Mix(
        {
            "cookies": Part(
                b"$apply=\xc3\xa9;", (b"Api_%e2%84%aaEy[[[[=p%2=;", b"%u0filter041%255btoken%20~"), b"", 1875
            ),
            "value": Part(b"", (b"si;?",), b"", 1200),
            "query": Part(b"", (b"_methodfil%lookuper=in.({n});;", b"%2570{n}=1&"), b"", 210),
        },
        b"X-Acme-{n}",
        MAX_FIELDS,
        method=b"DELETE",
    ),
    Mix(
        {
            "cookies": Part(b"", (b"%+252525=",), b"", 31000),
            "path": Part(
                b"/api/sites/shop/", (b"%2541;ids[{n}{n}%252525//", b"%2f%ef%bcsitjson%8f%255"), b"ids[{n}]", 288
            ),
        }
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"a%ef%bc%8f%2f",), b"", 7900),
            "query": Part(b"site=", (b"%c3%{n}X-tunnelshope%2564-metho%u0064%a9", b"%ff&;"), b"", 1050),
            "value": Part(b"", (b"19%cc%b4%cc%812.0.2.1,",), b"192.0.2.1", 1000),
        },
        b"X-Acme-{n}",
        92,
        method=b"DELETE",
    ),
    Mix({"query": Part(b"", (b"f%252569Lter[s%u0{n}%252574e?site=x&", b"page%0a;;?page[%73i%7ae%5d{x}"), b")", 1155)}),
    Mix(
        {
            "cookies": Part(
                b"site=",
                (b"DELETE{n}%2c%5bfilter[site]DELETEidSite", b"token", b"{n},slk_a%25__PATH_.ost=252htt%3dpmEthod"),
                b"",
                31000,
            ),
            "path": Part(b"/api/sites/shop/", (b"*/idSite$", b"1a"), b"41", 103),
            "query": Part(b"", (b";%2541%255%252f%25", b"tOken[[[[&"), b"site_id=shop", 180),
        },
        method=b"POST",
    ),
    Mix(
        {
            "cookies": Part(
                b"f%2569lt%25252565r[%c5%bfite]=%26site=x;",
                (
                    b"[x-http-met%5b[{n}]d-ov{n}pall%_[ttpmethodf%525256c,",
                    b'\\%2%%%2\xff52f2si53"',
                    b"%3%255bseq.%u0[{nto%e2%84%ex-TunneLed-%u006dethodn]e_id$%2",
                ),
                b"%2526%u0069d%c5%bf%ff={n}%2c;",
                876,
            ),
            "path": Part(
                b"/api/sites/shop/",
                (b"ids[{n}]ids[]idSite{x}&", b"lookupi%2525%252525n.(]%23%2b", b"-%ef%bc%8f%DELETE5"),
                b"",
                765,
            ),
            "query": Part(b"$httpMeThod&", (b"[{n}&%2c", b"x-http-method-override&"), b"", 2625),
            "value": Part(b"", (b"trailers,",), b"x", 6000),
        },
        b"TE",
        1,
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/",
                (
                    b"/fidin-f%b7%ba,{x}sic%23%bf",
                    b"%ff%23d%ef%bc%8f",
                    b"lourlo)p%25i+%25%252525]n.%5b(%2f]=%23siteallssitsite(_+&:",
                ),
                b"%5b+lookup",
                514,
            ),
            "value": Part(b" ", (b"{x}", b"*%ef%bc%2c%8f%41", b"(0041%c3%a9bquery"), b"site:_method", 31000),
            "cookies": Part(b"api_key=", (b"_%%u0041u0068t%2574p%25met%u0068%u006f%u0064=%;",), b"", 220),
            "query": Part(b"filter[site]=", (b"%25252541in.lookup", b"token%20ids[x]"), b")", 210),
        },
        b"X-Forwarded-{n}",
        1,
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/",
                (b"%efb+a)DrowsbidsqueSin.ypi_k%25ey%ef%bc%8fide", b"sit'eids[]sexport%2e", b"[%ff"),
                b"in.((",
                4419,
            ),
            "value": Part(b"Basic ", (b"all10.2.%3", b" %shop2541%0a"), b"", 300),
        },
        b"Referer",
        10,
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/",
                (b")%cc%b4%cc%81site:apijson", b"js/2c-cc%b4eb7%ba%8125ids%ef%bc%8falidASiteap%2catea"),
                b"",
                7584,
            ),
            "query": Part(b"site=", (b"%c3%a9f%26%",), b"", 3441),
        },
        method=b"POST",
    ),
    Mix(
        {
            "path": Part(b"/api/sites/shop/", (b"a:{%ccjson%b4%cc%81eq.", b"jsnlookup{n}"), b"", 7900),
            "value": Part(b"", (b"%ef%b7static%b%2ea%c5%bf", b"{n\xff"), b"", 360),
            "query": Part(
                b"x-tunneled-meT%5b{n}%5d+-",
                (b"%%bc%8fSite{n}%{x}{x}{x}{x}2c%u0078%252dtunneled%25252d%2525",),
                b"=b",
                5688,
            ),
        },
        b"X-Acme-{n}",
        92,
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/",
                (
                    b"{$n}a%c3%a9aquerypi",
                    b"%DELETEbqueryfilter4idSitecc{n%25}%c1a9%2e%81pll$",
                    b"{qapi_keyusrowsejson+=A",
                ),
                b"",
                7110,
            ),
            "query": Part(b"", (b"A,ids[]=&",), b"", 1000),
        }
    ),
    Mix(
        {
            "path": Part(
                b"/api/sites/shop/", (b"_in.(sitelookups%cc%b4%c1%20", b"Sitejtokenson1}]in.(%41j.n"), b"", 7110
            ),
            "query": Part(b"", (b".{n}&",), b"", 7900),
        },
        method=b"DELETE",
    ),
    Mix(
        {
            "path": Part(SITE, (b"filtersitetc5%3djsonf%25", b"%ff{x}'query]"), b"%ef%bc%8f%3dlookupexporteq.", 7900),
            "cookies": Part(b"", (b"api_keys=.;",), b"", 704),
        },
        method=b"OPTIONS",
    ),
    Mix(
        {
            "path": Part(SITE, (b"filtersitetc5%3djsonf%25", b"%ff{x}'query]"), b"%ef%bc%8f%3dlookupexporteq.", 4700),
            "cookies": Part(b"", (b"api_keys=.;",), b"", 704),
        }
    ),
    Mix(
        {
            "query": Part(b"", (b":", b"%5b"), b"=%2b&", TARGET_ROOM),
            "path": Part(SITE, (b"%2f%252%265in.(", b"a%2525252f"), b"", 140),
        },
        method=b"LIST",
    ),
    Mix(
        {
            "query": Part(
                b"",
                (b"p{n}%2crowsx-tunnels%ff", b"%2f%ef%bcatokeids%23ll%00p3bbbain.({n}):i%cc%81%25te.%ffp"),
                b"",
                TARGET_ROOM,
            ),
            "path": Part(
                SITE,
                (b"eq.aids%ef%b7%ba", b"%ef%b7%ef%b7%ba%baist%2ef%bc%8fds[{n}%23site_idso%bf+%c3%a9"),
                b"%2526]Site%2e&",
                564,
            ),
            "value": Part(b"%25%23urls%2541in.(", (b"%253bS", b"\tDELETEapi"), b"", 496),
        },
        b"X-Site",
        46,
        method=b"DELETE",
    ),
    Mix({"query": Part(b"", (b"aaaaaa%c3%a9",), b"", TARGET_ROOM), "path": Part(SITE, (b"a%2541",), b"", 500)}),
    Mix({"query": Part(b"%c3%a9", (b"a&",), b"", 2000), "path": Part(SITE, (b"&%c3%bc",), b"", TARGET_ROOM)}),
    Mix({"path": Part(SITE + b"&", (b"aaa%c3%bc",), b"", TARGET_ROOM)}),
    Mix(
        {
            "query": Part(b"shop%ff%25252541", (b"&..", b"%site_id%253b={n}&"), b"", 4863),
            "path": Part(
                SITE,
                (b"D%cc%a4%cc%81rsitwsEexp1or%25252idrowsuery}]A54?", b"a1site", b"%3drow%%ef%b7%baef%queryb%0041ls"),
                b"token.&",
                1312,
            ),
            "cookies": Part(b"", (b"%0a$a{x}%2f(;",), b"", 2475),
        },
        method=b"POST",
    ),
    Mix({"query": Part(b"%61&", (b"&..",), b"", 2995)}),
    Mix({"query": Part(b"", (b":d",), b"=a", TARGET_ROOM)}),
    Mix({"query": Part(b"%61", (b":metho",), b"=a", TARGET_ROOM)}),
    Mix({"query": Part(b"", (b"%3adefault_",), b"=a", TARGET_ROOM)}),
]

_START = b"GET /api/sites/shop/x HTTP/1.1\r\nHost: a\r\n"
_END = b"\r\n\r\n"

# Whole heads of nearly 32 KB that are malformed or have too many fields. Several of them used to cost 40 to 71 plain
# heads, because all of their lines were read before the refusal.
MALFORMED: list[bytes] = [
    fill(b"\r\n", HEAD_ROOM) + _START + _END,
    _START + fill(b"a:\r\n", HEAD_ROOM) + _END,
    _START + fill(b"a{n}:\r\n", HEAD_ROOM) + _END,
    _START + fill(b"a:\n", HEAD_ROOM) + _END,
    _START + fill(b"a b:\r\n", HEAD_ROOM) + _END,
    _START + b"a: b\r\n" + fill(b" \r\n", HEAD_ROOM) + _END,
    _START + fill(b"a:\r\n", 390) + fill(b"b", HEAD_ROOM) + b"\x01: b" + _END,
    b"GET a:/ HTTP/1.1\r\nHost: a\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
    b"GET /\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
    b"LIST /?\xc3\xa9 HTTP/1.1\r\nHost: a\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
    _START + b"Transfer-Encoding: x\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
    _START + b"Content-Length: x\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
    _START + b"Upgrade: websocket\r\nConnection: upgrade\r\n" + fill(b"a:\r\n", HEAD_ROOM) + _END,
]


def cases() -> Iterator[Case]:
    """Yield every case."""
    for start, unit, end in PATHS:
        yield Case("path", _name(start, unit, end), _path(start, unit, end), TARGET_ROOM)
    for start, unit, end in QUERIES:
        yield Case("query", _name(start, unit, end), _query(start, unit, end), TARGET_ROOM)
    for start, unit, end in COOKIES:
        yield Case("cookie", _name(start, unit, end), _value(b"Cookie", start, unit, end), HEAD_ROOM)
    for name, start, unit, end in VALUES:
        yield Case("value", f"{name.decode()}: {_name(start, unit, end)}", _value(name, start, unit, end), HEAD_ROOM)
    for name, value in FIELDS:
        yield Case("fields", f"{name.decode()}: {value.decode('latin-1')}", _fields(name, value, b""), MAX_FIELDS)
        filled = HEAD_ROOM - MAX_FIELDS * (len(name) + len(value) + 10)
        yield Case("long fields", f"{name.decode()}: {value.decode('latin-1')}", _long_fields(name, value), filled)
    yield Case("host", "a.", lambda size: Shape(host=fill(b"a.", size)), HEAD_ROOM)
    yield Case("host", ".api.example.com", lambda size: Shape(host=b"a" + fill(b".api.example.com", size)), HEAD_ROOM)
    yield Case("host", "[:]", lambda size: Shape(host=b"[" + fill(b":", size) + b"]"), HEAD_ROOM)
    yield Case("host", "a:1", lambda size: Shape(host=b"a:" + fill(b"1", size)), HEAD_ROOM)
    yield Case("method", "A", lambda size: Shape(method=fill(b"A", size)), HEAD_ROOM)
    yield Case("name", "a", lambda size: Shape(fields=((fill(b"a", size), b"b"),)), HEAD_ROOM)
    yield Case("name", "a_", lambda size: Shape(fields=((fill(b"a_", size), b"b"),)), HEAD_ROOM)
    yield Case("name", "x-forwarded-", lambda size: Shape(fields=((fill(b"x-forwarded-", size), b"b"),)), HEAD_ROOM)
    yield Case("basic", "name:word", _basic, HEAD_ROOM * 3 // 4)
    yield Case("everything", "path, query, cookie and fields at once", _everything, HEAD_ROOM)
    for mix in NEARLY_PLAIN:
        yield Case("nearly plain", str(mix), _mix(mix), _SIZES)
    for mix in MIXES:
        yield Case("mix", str(mix), _mix(mix), _SIZES)


_SIZES = 64
"""A mix grows in this many steps."""


def _mix(mix: Mix) -> Callable[[int], Shape]:
    return lambda size: mix.shape(_SIZES // size)


def _name(start: bytes, unit: bytes, end: bytes) -> str:
    return f"{start.decode('latin-1')}⟨{unit.decode('latin-1')}⟩{end.decode('latin-1')}"


def _path(start: bytes, unit: bytes, end: bytes) -> Callable[[int], Shape]:
    return lambda size: Shape(target=start + fill(unit, size) + end)


def _query(start: bytes, unit: bytes, end: bytes) -> Callable[[int], Shape]:
    return lambda size: Shape(target=SITE + b"x?" + start + fill(unit, size) + end)


def _value(name: bytes, start: bytes, unit: bytes, end: bytes) -> Callable[[int], Shape]:
    """Build a field, with a body if the field is read only in requests with a body."""
    if name == b"Content-Type":
        with_body = ((b"Content-Length", b"1"),)
        return lambda size: Shape(method=b"POST", fields=((name, start + fill(unit, size) + end), *with_body))
    return lambda size: Shape(fields=((name, start + fill(unit, size) + end),))


def _fields(name: bytes, value: bytes, more: bytes) -> Callable[[int], Shape]:
    def build(count: int) -> Shape:
        numbers = (b"%d" % number for number in range(count))
        return Shape(fields=tuple((name.replace(b"{n}", n), value.replace(b"{n}", n) + more) for n in numbers))

    return build


def _long_fields(name: bytes, value: bytes) -> Callable[[int], Shape]:
    """Build as many fields as allowed, with lists in their values that share the size."""
    return lambda size: _fields(name, value, b"," + fill(b"A{n},", size // MAX_FIELDS))(MAX_FIELDS)


def _basic(size: int) -> Shape:
    value = base64.b64encode(b"slk_a:" + fill(b"a", size - 6))
    return Shape(fields=((b"Authorization", b"Basic " + value),))


def _everything(size: int) -> Shape:
    part = size // 8
    return Shape(
        target=SITE + fill(b"a%2561;/", part) + b"?" + fill(b"[+%25252561{n}];", part),
        fields=(
            (b"Cookie", fill(b"[+%25252561{n}]; ", part * 2)),
            (b"X-Site", fill(b"s{n},", part)),
            (b"X-Forwarded-For", fill(b"192.0.2.{x},", part)),
            (b"Connection", fill(b"a{n},", part) + b"close"),
            *_fields(b"A_{n}", b"b", b"")(max(1, part // 50)).fields,
        ),
    )
