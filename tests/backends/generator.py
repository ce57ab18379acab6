"""A seeded generator of hostile requests: ordinary requests, changed in up to three dimensions.

Each dimension is a function that returns a changed copy of a request. All random choices come from one `random.Random`,
so that a seed gives the same requests on every machine.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.backends import framing, headers, methods, paths, queries
from tests.backends.request import KEY_MARK, Request
from tests.backends.rulesets import (
    ARRAYS,
    COOKIE_KEY,
    DOMAIN,
    FORMS,
    HOSTS,
    METHODS,
    OPEN,
    QUERY_KEY,
    RULE_SETS,
    SCOPED,
    TEMPLATES,
    TRUSTED,
    UNDERSCORES,
)

ORDINARY_SHARE = 0.15
KEYLESS_SHARE = 0.3
"""The share of requests for public paths that carry no key."""

_RULES = (
    (OPEN.name,) * 4
    + (SCOPED.name,) * 4
    + (
        COOKIE_KEY.name,
        QUERY_KEY.name,
        TRUSTED.name,
        UNDERSCORES.name,
        METHODS.name,
        HOSTS.name,
        HOSTS.name,
        ARRAYS.name,
        TEMPLATES.name,
        FORMS.name,
    )
)

_BY_PATH = (
    b"/api/sites/shop/report",
    b"/api/sites/shop/a/b.json?from=2024-01-01&limit=10",
    b"/api/sites/shop/search?q=caf%C3%A9+noir&filter%5Bday%5D=mon",
    b"/api/sites/shop/files/AT%26T.csv",
    b"/api/sites/shop/files/what%3F.html?v=1",
)
_BY_QUERY = (
    b"/api/query?site=shop",
    b"/api/query?metric=visits&site=shop&period=day",
    b"/api/export/csv?site=shop&columns=a,b",
)
_BY_HEADER = b"/api/lookup?ip=192.0.2.1"
_BY_HOST = (b"/v1/visits?from=2024-01-01", b"/v1/pages", b"/api/sites/shop/report")
_PUBLIC = (b"/static/app.js", b"/static/css/site.css?v=3")

_HOST = (b"Host", b"api.example.com")
_SITE_HOSTS = [host % DOMAIN.encode() for host in (b"shop.%b", b"shop.%b", b"Shop.%b:8080", b"shop.%b:80")]
_USUAL = (
    ((b"User-Agent", b"python-requests/2.32.3"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip, deflate")),
    ((b"User-Agent", b"curl/8.5.0"), (b"Accept", b"application/json")),
    (),
)


def _plain(rng: random.Random, rules: str) -> Request:
    """Return an ordinary request for `shop` with its key."""
    where = rng.random()
    fields = [_HOST, *rng.choice(_USUAL)]
    if rules in (ARRAYS.name, TEMPLATES.name):
        where *= 0.8
    if rules == HOSTS.name:
        target, host = rng.choice(_BY_HOST), rng.choice(_SITE_HOSTS)
        fields[0] = (b"Host", host)
        if rng.random() < 0.5:
            fields.append((b"X-Forwarded-Host", host))
    elif where < 0.45 or rules == FORMS.name:
        target = rng.choice(_BY_PATH)
    elif where < 0.8:
        target = rng.choice(_BY_QUERY)
    else:
        target = _BY_HEADER
        fields.append((b"X-Site", b"shop"))
    method, body = b"GET", b""
    if rng.random() < 0.2:
        method = rng.choice((b"POST", b"PUT", b"PATCH"))
        body = b'{"from":"2024-01-01"}'
        fields.append((b"Content-Type", b"application/json"))
    elif rng.random() < 0.1:
        method = rng.choice((b"HEAD", b"OPTIONS"))
    request = Request(rules, method, target, fields=tuple(fields), body=body, chunked=bool(body) and rng.random() < 0.3)
    return _keyed(rng, request)


def _public(rng: random.Random) -> Request:
    """Return an ordinary request for a public path, usually without a key."""
    request = Request(SCOPED.name, b"GET", rng.choice(_PUBLIC), fields=(_HOST, *rng.choice(_USUAL)))
    return request if rng.random() < KEYLESS_SHARE else _keyed(rng, request)


_ARRAY_SPELLINGS = (b"site[]=", b"site%5B%5D=", b"site[0]=", b"site=")
_TEMPLATE_SPELLINGS = (b"site=eq.shop", b"site=in.(shop)", b"site=in.%28shop%29")
_HOSTILE_TEMPLATE_SPELLINGS = (b"site=in.(shop,blog)", b"site=eq.eq.blog", b"site=in.(shop)&site=eq.blog")


def _respelled(rng: random.Random, request: Request) -> Request:
    """Return the request with the site spelled as the rule set expects it."""
    query = request.query
    if request.rules == ARRAYS.name:
        query = query.replace(b"site=", rng.choice(_ARRAY_SPELLINGS))
    elif request.rules == TEMPLATES.name:
        spellings = _TEMPLATE_SPELLINGS
        if not request.ordinary and rng.random() < 0.2:
            spellings = _HOSTILE_TEMPLATE_SPELLINGS
        query = query.replace(b"site=shop", rng.choice(spellings)).replace(b"site=blog", b"site=eq.blog")
    return request if query == request.query else request.with_query(query)


def _keyed(rng: random.Random, request: Request) -> Request:
    """Add the key in a key location of the rule set."""
    if request.rules == COOKIE_KEY.name:
        cookie = rng.choice((b"key=%b", b"theme=dark; key=%b", b"key=%b; lang=en"))
        return request.with_fields((b"Cookie", cookie % KEY_MARK))
    if request.rules == QUERY_KEY.name:
        query = request.query
        key = b"api_key=" + KEY_MARK
        return request.with_query(b"&".join(filter(None, rng.choice(((key, query), (query, key))))))
    if rng.random() < 0.3 and b"header:" not in request.rules.encode():
        return request.with_fields((b"Authorization", b"Bearer " + KEY_MARK))
    return request.with_fields((b"X-API-Key", KEY_MARK))


Dimension = Callable[[random.Random, Request], Request]

DIMENSIONS: tuple[tuple[Dimension, int], ...] = (
    (paths.hostile_path, 6),
    (paths.parameter_in_path, 4),
    (paths.uncovered_path, 3),
    (queries.hostile_query, 8),
    (queries.superfluous_query, 3),
    (headers.look_alike, 3),
    (headers.repeated_site_header, 2),
    (headers.steering, 6),
    (methods.method_override, 2),
    (headers.second_resource, 1),
    (headers.cookie, 2),
    (headers.forwarded_host, 1),
    (methods.form_body, 3),
    (methods.method, 2),
    (framing.connection, 2),
    (framing.host, 1),
    (framing.version, 1),
)
"""The dimensions with their weights."""

_FUNCTIONS = [dimension for dimension, _ in DIMENSIONS]
_WEIGHTS = [weight for _, weight in DIMENSIONS]


def requests(seed: str) -> Iterator[Request]:
    """Yield an endless sequence of requests, which depends only on the seed."""
    rng = random.Random(seed)
    while True:
        rules = rng.choice(_RULES)
        plain = _public(rng) if rules == SCOPED.name and rng.random() < 0.25 else _plain(rng, rules)
        if rng.random() < ORDINARY_SHARE:
            yield _respelled(rng, replace(plain, ordinary=True))
            continue
        request = headers.forwarded_host(rng, plain) if rules == HOSTS.name and rng.random() < 0.5 else plain
        for dimension in rng.choices(_FUNCTIONS, _WEIGHTS, k=rng.choice((1, 1, 2, 2, 3))):
            request = dimension(rng, request)
        if len(request.target) < 2000 and len(request.fields) < 60:
            yield _respelled(rng, request)


assert set(_RULES) == set(RULE_SETS)
