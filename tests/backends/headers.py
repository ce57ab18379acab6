"""Hostile headers: look-alikes of the site header, and headers that steer backends or name a second resource."""

import random
from dataclasses import replace

from tests.backends.paths import cased
from tests.backends.request import KEY_MARK, Request
from tests.backends.rulesets import DOMAIN

_SITE_LOOK_ALIKES = (
    b"X_Site", b"x-site", b"X-SITE", b"X.Site", b"X!Site", b"X~Site", b"X-Site_", b"_X-Site", b"X--Site",
    b"X__Site", b"X$Site", b"X'Site", b"X*Site", b"X+Site", b"X^Site", b"X`Site", b"X|Site", b"X%2DSite",
    b"HTTP_X_SITE", b"HTTP-X-Site", b"X-Site-", b"XSite", b"X&Site", b"X#Site", b"X-Site ", b"X Site", b"Xsite",
    b"X-S%69te",
)  # fmt: skip
_SITE_VALUES = (
    b"blog", b"blog", b"blog", b"shop", b"", b"shop, blog", b"blog,shop", b"shop;blog", b"shop blog", b"SHOP",
    b"sh%6fp", b"shop\tblog", b'"shop"', b"=?utf-8?q?blog?=", b"shop\xa0", b"\xc2\xa0blog", b"shop\x00blog",
    b"shop,", b",shop",
)  # fmt: skip


def look_alike(rng: random.Random, request: Request) -> Request:
    """Add a header that some backends treat as the site header."""
    field = (rng.choice(_SITE_LOOK_ALIKES), rng.choice(_SITE_VALUES))
    return placed(rng, request, field)


def repeated_site_header(rng: random.Random, request: Request) -> Request:
    """Add the site header again."""
    return placed(rng, request, (rng.choice((b"X-Site", b"x-site", b"X-Site")), rng.choice(_SITE_VALUES)))


def placed(rng: random.Random, request: Request, field: tuple[bytes, bytes]) -> Request:
    if rng.random() < 0.5:
        return request.with_fields(field)
    return replace(request, fields=(request.fields[0], field, *request.fields[1:]))


_STEERING = (
    b"SCRIPT_NAME", b"SCRIPT_NAME", b"SCRIPT_NAME", b"Script-Name", b"Script_Name", b"script_name",
    b"X-Script-Name", b"X_Script_Name", b"PATH_INFO", b"Path-Info", b"X-Path-Info", b"HTTP_SCRIPT_NAME",
    b"Daphne-Root-Path", b"Daphne-Root-Path", b"Daphne_Root_Path", b"Root-Path", b"X-Root-Path",
    b"X-Forwarded-Prefix", b"X-Forwarded-Prefix", b"X_Forwarded_Prefix", b"X-Forwarded-Path",
    b"X-Forwarded-Uri", b"X-Forwarded-Url", b"X-Original-URL", b"X-Original_URL", b"X-Rewrite-URL",
    b"X-Original-Uri", b"X-Original-Path", b"X-Rewrite-Uri", b"X-Envoy-Original-Path", b"X-Request-Uri",
    b"Request-Uri", b"REQUEST_URI", b"QUERY_STRING", b"REQUEST_METHOD", b"X-Traversal-Path",
    b"X-Waws-Unencoded-Url", b"x-middleware-subrequest", b"x-middleware-rewrite", b"x-matched-path",
    b"x-invoke-path", b"x-now-route-matches", b"x-astro-path", b"x-astro-locals", b"X-Sendfile-Type",
    b"X-Accel-Mapping", b"X-Accel-Redirect", b"X-Sendfile", b"X-Forwarded-Host", b"X-Host",
    b"X-Forwarded-Server", b"X-HTTP-Host-Override", b"X-Original-Host", b"Forwarded", b"X-Replaced-Path",
    b"X-Base-Path", b"X-Context-Path", b"X-Forwarded-Context", b"X-Forwarded-Scheme", b"X-Wsgi-Script-Name",
    b"Wsgi.Input", b"X-Url-Scheme", b"X-Proxy-Path", b"X-Ingress-Path", b"X-Mount-Path", b"X-Api-Sites",
    b"X_Api_Sites", b"X-Api-Workspace", b"X-Request-Base", b"Front-End-Https", b"X-Forwarded-App",
    b"X-External-Path", b"Next-Url", b"X-SvelteKit-Pathname", b"X-OpenNext-Initial-Url", b"Dapr-App-Id",
)  # fmt: skip
_STEERING_VALUES = (
    b"/api/sites/shop", b"/api/sites/shop", b"/api/sites/shop", b"/static", b"/static", b"/api/sites/blog/x",
    b"/api/sites/blog", b"/api/reports/everything", b"api/sites/blog/x", b"/", b"/api", b"blog", b"site=blog",
    b"/api/query?site=blog", b"http://api.example.com/api/sites/blog/x", b"/api/export", b"/api/query",
    b"middleware:middleware:middleware:middleware:middleware", b"src/middleware", b"/x", b"DELETE",
    b"prefix=/api/sites/shop", b"host =blog.example.com", b'host=""blog.example.com', b"for=1;Host =blog.example.com",
)  # fmt: skip
_MOUNTING = (
    b"SCRIPT_NAME",
    b"SCRIPT_NAME",
    b"Daphne-Root-Path",
    b"X-Forwarded-Prefix",
    b"X-Script-Name",
    b"script_name",
)
_MOUNTS = (
    b"/api/sites/shop",
    b"/api/sites/shop",
    b"/static",
    b"/static",
    b"/api/export",
    b"/api/sites/shop/x",
    b"/api/query",
)
_NESTED = (
    b"/api/sites/blog/report",
    b"/api/sites/blog/report",
    b"/api/reports/everything",
    b"/api/sites",
    b"/api/query?site=shop",
    b"/report",
)


def steering(rng: random.Random, request: Request) -> Request:
    """Add a header that changes the mount point, path or query in some backends."""
    field = (rng.choice(_STEERING), rng.choice(_STEERING_VALUES))
    if rng.random() < 0.1:
        field = (cased(rng, field[0]), field[1])
    if rng.random() < 0.7:
        mount, rest = rng.choice(_MOUNTS), rng.choice(_NESTED)
        if rng.random() < 0.8:
            field = (rng.choice((field[0], rng.choice(_MOUNTING))), mount)
        query = b"&".join(filter(None, (rest.partition(b"?")[2], request.query if KEY_MARK in request.query else b"")))
        request = replace(request, target=mount + rest.partition(b"?")[0] + (b"?" + query if query else b""))
    return placed(rng, request, field)


_RESOURCES = (b"/blog/secret.txt", b"http://api.example.com/api/sites/blog/x", b"/api/sites/blog/x", b"blog/x")
_IF = (
    b"<http://x/blog/> (<urn:x>)", b"(<urn:x>) </blog/> (Not <DAV:no-lock>)", b"</blog/x>(<urn:x>)", b"(<urn:x>)",
    b'(<urn:x> ["e"]) (Not <DAV:no-lock>)',
)  # fmt: skip
SECOND_RESOURCES = (
    *(
        (name, _RESOURCES)
        for name in (
            b"x-amz-copy-source", b"x-amz-rename-source", b"x-goog-copy-source", b"x-ms-copy-source",
            b"x-ms-rename-source", b"x-oss-copy-source", b"x-cos-copy-source", b"x-obs-copy-source", b"x-copy-from",
            b"Destination", b"x-oss-symlink-target", b"X-Symlink-Target", b"x-upyun-copy-source",
        )
    ),
    (b"If", _IF),
    (b"Source", (*_RESOURCES, b"web")),
    (b"Upload-Concat", (b"final;/files/a /files/b", b"Final;/blog/x", b"partial")),
)  # fmt: skip
"""Headers that copy from or to another site, with values."""


def second_resource(rng: random.Random, request: Request) -> Request:
    """Name the other site in a header that copies from or to it."""
    spelling, values = rng.choice(SECOND_RESOURCES)
    if rng.random() < 0.3:
        spelling = rng.choice((spelling.upper(), spelling.replace(b"-", b"_"), cased(rng, spelling)))
    if rng.random() < 0.5:
        request = replace(request, method=rng.choice((b"PUT", b"COPY", b"MOVE")))
    return placed(rng, request, (spelling, rng.choice(values)))


_COOKIE_NAMES = (
    b"site", b"site", b"site", b"Site", b"s%69te", b" site", b"site[]", b"site[0]", b"site.x", b"_method",
    b"site%00x", b"x; site", b"x, site", b"+site",
)  # fmt: skip

_COOKIE_VALUE = (
    b"blog", b"blog", b"shop", b"bl%6fg", b"", b'"blog"', b"shop; site=blog", b"blog; site=shop", b"shop,blog",
    b"deleted", b"%62log",
)  # fmt: skip

_COOKIE_NAME = (b"Cookie", b"Cookie", b"Cookie", b"cookie", b"Cookie2", b"COOKIE")


def cookie(rng: random.Random, request: Request) -> Request:
    """Add a cookie that PHP merges into `$_REQUEST`."""
    spelling = rng.choice(_COOKIE_NAMES)
    value = rng.choice(_COOKIE_VALUE)
    name = rng.choice(_COOKIE_NAME)
    return placed(rng, request, (name, spelling + b"=" + value))


_FORWARDED_HOSTS = tuple(
    host.replace(b"DOMAIN", DOMAIN.encode())
    for host in (
        b"blog.DOMAIN", b"blog.DOMAIN", b"shop.DOMAIN", b"shop.DOMAIN, blog.DOMAIN", b"blog.DOMAIN,shop.DOMAIN",
        b"blog.DOMAIN:80", b"BLOG.DOMAIN", b"blog.DOMAIN.", b" blog.DOMAIN", b"shop.DOMAIN blog.DOMAIN",
        b"shop.DOMAIN;blog.DOMAIN", b'"blog.DOMAIN"', b"http://blog.DOMAIN/", b"u@blog.DOMAIN",
        b"shop.DOMAIN@blog.DOMAIN",
        b"blog.DOMAIN#.shop.DOMAIN", b"shop.DOMAIN:x@blog.DOMAIN", b"blog.DOMAIN\\.shop.DOMAIN", b"shop.DOMAIN,",
        b",blog.DOMAIN", b"bl%6fg.DOMAIN", b"blog%2eDOMAIN", b"shop.DOMAIN/../blog.DOMAIN", b"",
    )
)  # fmt: skip
_FORWARDED = (
    b"host=%b", b"Host=%b", b"host=\"%b\"", b"for=192.0.2.1;host=%b", b"for=192.0.2.1, host=%b", b"host =%b",
    b"for=\"x;host=%b\"", b"for=x;;host=%b", b"host=%b;proto=https",
    b"for=x;host=shop." + DOMAIN.encode() + b";host=%b",
    b"host=\"\\%b\"", b"host='%b'", b"host*=%b",
)  # fmt: skip
_HOST_NAMES = (
    b"X-Forwarded-Host", b"X-Forwarded-Host", b"X-Forwarded-Host", b"x-forwarded-host", b"X_Forwarded_Host", b"Host",
    b"X-Host", b"X-Original-Host", b"X-Forwarded-Server", b"X-HTTP-Host-Override", b"Proxy-Host", b"X-Real-Host",
    b"X-Forwarded-For-Host", b":authority", b"Authority", b"X-Rewrite-Host", b"X-Backend-Host", b"Forwarded-Host",
    b"X-Envoy-Original-Host", b"X-Forwarded-Authority", b"Origin-Host", b"X-Forward-Host", b"CF-Worker",
)  # fmt: skip


def forwarded_host(rng: random.Random, request: Request) -> Request:
    """Name a host in a header from which some backends take it."""
    host = rng.choice(_FORWARDED_HOSTS)
    if rng.random() < 0.35:
        return placed(rng, request, (b"Forwarded", rng.choice(_FORWARDED) % host))
    return placed(rng, request, (rng.choice(_HOST_NAMES), host))
