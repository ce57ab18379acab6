"""Ordinary requests that need a special config, and those that were refused before it existed."""

from dataclasses import replace

from tests.traffic.shape import Shape, family

PATH = "path:/api/sites/{site}/**"

SPACES = family(
    "an id with a space, as form encoders write it",
    "psf/requests docs/user/quickstart.rst, encode/httpx httpx/_urlparse.py, "
    "https://url.spec.whatwg.org/#urlencoded-serializing (URLSearchParams)",
    ("query:site",),
    ["/api/data?site=my+shop", "/api/data?a=1&site=my+shop&b=x+y", "/api/data?site=my%20shop"],
    sites=("my shop",),
)

RAW_UTF_8 = family(
    "raw UTF-8 in a value that no rule reads",
    "curl/curl docs/cmdline-opts/globoff.md and https://url.spec.whatwg.org/#query-state (curl sends the URL as typed)",
    (PATH, {"query": "site", "paths": ["/api/data"]}),
    ["/api/sites/shop/search?q=café", "/api/sites/shop/search?q=日本語&page=2", "/api/data?site=shop&q=naïve+☃"],
)

HOSTS = [
    *family(
        "an id with capitals behind a host rule",
        "RFC 9110 §4.2.3 (a host is compared without case)",
        ("host:{site}.api.example.com",),
        [("/v1/visits", "Host: Shop.api.example.com"), ("/v1/pages", "Host: SHOP.API.EXAMPLE.COM:8080")],
        sites=("Shop",),
    ),
    *(
        replace(shape, host="shop.data.example.com")
        for shape in family(
            "a host name with its final dot",
            "RFC 3986 §3.2.2 (the rightmost label may be followed by one dot)",
            ("host:{site}.data.example.com",),
            [("/v1/visits", "Host: shop.data.example.com.")],
        )
    ),
]

TEMPLATES = family(
    "PostgREST, one site or a list of them",
    "PostgREST/postgrest docs/references/api/tables_views.rst (eq, in)",
    ({"query": "site_id", "templates": ["eq.{site}", "in.({site})"], "separator": ","},),
    [
        ("/stats?site_id=eq.shop&select=*,pages(*)", ("shop",)),
        ("/stats?site_id=in.(shop,42)&order=day.desc", ("shop", "42")),
        ("/stats?site_id=in.%28shop%2C42%29&limit=10", ("shop", "42")),
    ],
)

ARRAYS = family(
    "a parameter as an array",
    "ljharb/qs README.md (arrayFormat), https://www.php.net/manual/en/faq.html.php#faq.html.arrays, "
    "rack/rack lib/rack/query_parser.rb",
    ({"query": "site", "array": True},),
    [
        "/api/data?site[]=shop&site[]=42",
        "/api/data?site%5B%5D=shop&site%5B%5D=42",
        "/api/data?site[0]=shop&site[1]=42",
        "/api/data?site%5B0%5D=shop&site%5B1%5D=42&page=2",
    ],
    sites=("shop", "42"),
)

SEMICOLONS = [
    *family(
        "a semicolon in a value",
        "https://url.spec.whatwg.org/#urlencoded-parsing (only & separates) and RFC 3986 §2.2 (; is a sub-delimiter)",
        ("query:site",),
        ["/api/data?site=shop&q=a;b", "/api/data?site=shop&sort=name;asc&q=a;c=1"],
    ),
    *family(
        "a semicolon where the rule's parameter names no other site",
        "https://url.spec.whatwg.org/#urlencoded-parsing (only & separates) and RFC 3986 §2.2 (; is a sub-delimiter)",
        (PATH, {"query": "site", "paths": ["/api/query"]}),
        ["/api/sites/shop/x?site=shop;a=1", "/api/sites/shop/x?q=a;site"],
    ),
]

CONNECTION = [
    *(
        replace(shape, dropped=("X-Trace-Hint", "X-Request-Id"))
        for shape in family(
            "a Connection header that names something harmless, or what Sitelatch sets anyway",
            "RFC 9110 §7.6.1",
            (PATH,),
            [
                ("/api/sites/shop/x", "Connection: close, X-Trace-Hint", "X-Trace-Hint: 1"),
                ("/api/sites/shop/y", "Connection: keep-alive, X-Request-Id", "X-Request-Id: 9a4371a1"),
                ("/api/sites/shop/z", "Connection: X-Forwarded-For", "X-Forwarded-For: 203.0.113.7"),
            ],
        )
    ),
]

SCOPES = [
    *family(
        "a query rule with a scope",
        "plausible/docs docs/stats-api-v1.md and ckan/ckan doc/api/index.rst (one API that names its site in two ways)",
        (PATH, {"query": "site", "paths": ["/api/query", "/api/export/**"]}, {"header": "X-Site", "paths": ["/v1/**"]}),
        [
            "/api/query?site=shop&metric=uptime",
            "/api/export/csv?site=shop",
            ("/v1/uptime", "X-Site: shop"),
            "/api/sites/shop/x?q=1",
            "/api/sites/shop/x?site=shop",
            ("POST /api/sites/shop/form", "Content-Type: application/json"),
        ],
    ),
    *family(
        "Plausible, scoped",
        "plausible/docs docs/stats-api-v1.md and sites-api.md",
        (
            {"query": "site_id", "paths": ["/api/v1/stats/**", "/api/v1/sites/goals", "/api/v1/sites/goals/**"]},
            "path:/api/v1/sites/{site}",
        ),
        [
            "/api/v1/stats/aggregate?site_id=shop&period=6mo",
            "DELETE /api/v1/sites/goals/1?site_id=shop",
            "DELETE /api/v1/sites/shop",
        ],
    ),
]

METHODS = [
    *family(
        "WebDAV",
        "RFC 4918 §9 and RFC 3253 §3.6",
        ("path:/dav/{site}/**",),
        [
            ("PROPFIND /dav/shop/reports/", "Depth: 1", "Content-Type: application/xml"),
            ("REPORT /dav/shop/calendar", "Depth: 1", "Content-Type: text/xml"),
            "MKCOL /dav/shop/new/",
            "LOCK /dav/shop/a.txt",
        ],
        methods=("GET", "PUT", "PROPFIND", "REPORT", "MKCOL", "LOCK"),
    ),
    *family(
        "LIST, QUERY and SEARCH",
        "https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#list-secrets, "
        "draft-ietf-httpbis-safe-method-w-body (QUERY), directus/docs content/ (SEARCH)",
        ("path:/v1/{site}/**",),
        ["LIST /v1/shop/metadata/", "QUERY /v1/shop/contacts", "SEARCH /v1/shop/items/posts"],
        methods=("GET", "LIST", "QUERY", "SEARCH"),
    ),
    *family(
        "CouchDB, COPY within a database",
        "apache/couchdb src/docs/src/api/document/common.rst (COPY, Destination)",
        ("path:/{site}/**",),
        [("COPY /shop/SpaghettiWithMeatballs?rev=8-6f5ad8db", "Destination: SpaghettiWithMeatballs_Italian")],
        methods=("GET", "COPY"),
        second_resource="pass",
    ),
    *family(
        "S3, a copy within a bucket",
        "boto/botocore botocore/data/s3/2006-03-01/service-2.json (CopyObject)",
        ("path:/{site}/**",),
        [("PUT /shop/copy.txt", "x-amz-copy-source: /shop/a.txt", "Content-Length: 0")],
        second_resource="pass",
    ),
]

ENCODED = family(
    "a URL as a part of the path",
    "https://web.archive.org/web/ (URLs as keys), elastic/elasticsearch-py (ids are quoted with safe=''), "
    "https://docs.gitlab.com/api/rest/#encoding",
    ("path:/{site}/**",),
    [
        "/shop/_doc/https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%26d%3De",
        "/shop/urls/https%3A%2F%2Fexample.com%2Fx%3Fa%3D1%23top=2",
    ],
    encoded_parameters="pass",
)

COOKIES = family(
    "a cookie with the name of a rule's parameter",
    "RFC 6265 §5.4",
    ("query:site",),
    [("/api/data?site=shop", "Cookie: site=blog; theme=dark")],
    cookies="ignore",
)

DROPPED = [
    *(
        replace(shape, dropped=("Accept-Profile", "X-Scope-OrgID", "client_version"))
        for shape in family(
            "headers that a route drops, and a name with an underscore",
            "PostgREST/postgrest docs/references/api/schemas.rst and grafana/loki docs/sources/operations/",
            (PATH,),
            [
                ("/api/sites/shop/x", "Accept-Profile: tenant2"),
                ("/api/sites/shop/y", "X-Scope-OrgID: other", "client_version: 7"),
            ],
            drop_headers=("Accept-Profile", "X-Scope-OrgID"),
        )
    ),
]

CORS = family(
    "requests from another origin, where Sitelatch answers the preflights",
    "https://fetch.spec.whatwg.org/#http-cors-protocol",
    (PATH,),
    [
        ("/api/sites/shop/x", "Origin: https://app.example.com"),
        ("PUT /api/sites/shop/settings", "Origin: https://app.example.com"),
    ],
    cors={"origins": ["https://app.example.com"]},
)

SHAPES: list[Shape] = [
    *SPACES,
    *RAW_UTF_8,
    *HOSTS,
    *TEMPLATES,
    *ARRAYS,
    *SEMICOLONS,
    *CONNECTION,
    *SCOPES,
    *METHODS,
    *ENCODED,
    *COOKIES,
    *DROPPED,
    *CORS,
]
