"""Hostile heads: look-alikes, headers that steer backends, other methods, forms in bodies, odd framing of the target."""

import random
from dataclasses import replace

from tests.backends.paths import cased, encoded
from tests.backends.request import KEY_MARK, Request

_SITE_LOOK_ALIKES = (
    b"X_Site", b"x-site", b"X-SITE", b"X.Site", b"X!Site", b"X~Site", b"X-Site_", b"_X-Site", b"X--Site", b"X__Site", b"X$Site", b"X'Site",
    b"X*Site", b"X+Site", b"X^Site", b"X`Site", b"X|Site", b"X%2DSite", b"HTTP_X_SITE", b"HTTP-X-Site", b"X-Site-", b"XSite", b"X&Site", b"X#Site",
    b"X-Site ", b"X Site", b"Xsite", b"X-S%69te",
)  # fmt: skip
_SITE_VALUES = (
    b"blog", b"blog", b"blog", b"shop", b"", b"shop, blog", b"blog,shop", b"shop;blog", b"shop blog", b"SHOP", b"sh%6fp", b"shop\tblog", b'"shop"',
    b"=?utf-8?q?blog?=", b"shop\xa0", b"\xc2\xa0blog", b"shop\x00blog", b"shop,", b",shop",
)  # fmt: skip


def look_alike(rng: random.Random, request: Request) -> Request:
    """Add a header whose name some backends take for the site header."""
    field = (rng.choice(_SITE_LOOK_ALIKES), rng.choice(_SITE_VALUES))
    return _placed(rng, request, field)


def repeated_site_header(rng: random.Random, request: Request) -> Request:
    """Add the site header once more."""
    return _placed(rng, request, (rng.choice((b"X-Site", b"x-site", b"X-Site")), rng.choice(_SITE_VALUES)))


def _placed(rng: random.Random, request: Request, field: tuple[bytes, bytes]) -> Request:
    if rng.random() < 0.5:
        return request.with_fields(field)
    return replace(request, fields=(request.fields[0], field, *request.fields[1:]))


_STEERING = (
    b"SCRIPT_NAME", b"SCRIPT_NAME", b"SCRIPT_NAME", b"Script-Name", b"Script_Name", b"script_name", b"X-Script-Name", b"X_Script_Name", b"PATH_INFO",
    b"Path-Info", b"X-Path-Info", b"HTTP_SCRIPT_NAME", b"Daphne-Root-Path", b"Daphne-Root-Path", b"Daphne_Root_Path", b"Root-Path", b"X-Root-Path",
    b"X-Forwarded-Prefix", b"X-Forwarded-Prefix", b"X_Forwarded_Prefix", b"X-Forwarded-Path", b"X-Forwarded-Uri", b"X-Forwarded-Url",
    b"X-Original-URL", b"X-Original_URL", b"X-Rewrite-URL", b"X-Original-Uri", b"X-Original-Path", b"X-Rewrite-Uri", b"X-Envoy-Original-Path",
    b"X-Request-Uri", b"Request-Uri", b"REQUEST_URI", b"QUERY_STRING", b"REQUEST_METHOD", b"X-Traversal-Path", b"X-Waws-Unencoded-Url",
    b"x-middleware-subrequest", b"x-middleware-rewrite", b"x-matched-path", b"x-invoke-path", b"x-now-route-matches", b"x-astro-path", b"x-astro-locals",
    b"X-Sendfile-Type", b"X-Accel-Mapping", b"X-Accel-Redirect", b"X-Sendfile", b"X-Forwarded-Host", b"X-Host", b"X-Forwarded-Server",
    b"X-HTTP-Host-Override", b"X-Original-Host", b"Forwarded", b"X-Replaced-Path", b"X-Base-Path", b"X-Context-Path", b"X-Forwarded-Context",
    b"X-Forwarded-Scheme", b"X-Wsgi-Script-Name", b"Wsgi.Input", b"X-Url-Scheme", b"X-Proxy-Path", b"X-Ingress-Path", b"X-Mount-Path", b"X-Api-Sites",
    b"X_Api_Sites", b"X-Api-Workspace", b"X-Request-Base", b"Front-End-Https", b"X-Forwarded-App", b"X-External-Path",
)  # fmt: skip
_STEERING_VALUES = (
    b"/api/sites/shop", b"/api/sites/shop", b"/api/sites/shop", b"/static", b"/static", b"/api/sites/blog/x", b"/api/sites/blog", b"/api/reports/everything",
    b"api/sites/blog/x", b"/", b"/api", b"blog", b"site=blog", b"/api/query?site=blog", b"http://api.example.com/api/sites/blog/x", b"/api/export",
    b"/api/query", b"middleware:middleware:middleware:middleware:middleware", b"src/middleware", b"/x", b"DELETE", b"prefix=/api/sites/shop",
)  # fmt: skip
_MOUNTING = (b"SCRIPT_NAME", b"SCRIPT_NAME", b"Daphne-Root-Path", b"X-Forwarded-Prefix", b"X-Script-Name", b"script_name")
_MOUNTS = (b"/api/sites/shop", b"/api/sites/shop", b"/static", b"/static", b"/api/export", b"/api/sites/shop/x", b"/api/query")
_NESTED = (b"/api/sites/blog/report", b"/api/sites/blog/report", b"/api/reports/everything", b"/api/sites", b"/api/query?site=shop", b"/report")


def steering(rng: random.Random, request: Request) -> Request:
    """Add a header that moves some backend's mount point, path or query."""
    field = (rng.choice(_STEERING), rng.choice(_STEERING_VALUES))
    if rng.random() < 0.1:
        field = (cased(rng, field[0]), field[1])
    if rng.random() < 0.7:
        mount, rest = rng.choice(_MOUNTS), rng.choice(_NESTED)
        if rng.random() < 0.8:
            field = (rng.choice((field[0], rng.choice(_MOUNTING))), mount)
        query = b"&".join(filter(None, (rest.partition(b"?")[2], request.query if KEY_MARK in request.query else b"")))
        request = replace(request, target=mount + rest.partition(b"?")[0] + (b"?" + query if query else b""))
    return _placed(rng, request, field)


_OVERRIDES = (
    b"X-HTTP-Method-Override", b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override", b"X_HTTP_Method_Override", b"X-Http.Method-Override",
    b"_method", b"X-Original-Method", b"X-Forwarded-Method",
)  # fmt: skip
_OVERRIDING = (b"DELETE", b"delete", b"DELETE, GET", b"GET, DELETE", b"GET,DELETE", b" DELETE ", b"PUT", b"COPY", b"LIST", b"D%45LETE", b"DELETE;q=1")


def method_override(rng: random.Random, request: Request) -> Request:
    """Ask for another method in a header, a parameter or a form."""
    if rng.random() < 0.7:
        request = replace(request, method=rng.choice((b"POST", b"POST", b"POST", b"GET", b"PUT")))
    if rng.random() < 0.3:
        parameter = rng.choice((b"_method=DELETE", b"_method=delete", b"%5fmethod=DELETE", b"_METHOD=DELETE", b"_method[]=DELETE", b"_method=DELETE,GET"))
        return request.with_query(b"&".join(filter(None, (request.query, parameter))))
    return _placed(rng, request, (rng.choice(_OVERRIDES), rng.choice(_OVERRIDING)))


SECOND_RESOURCES = (
    b"x-amz-copy-source", b"x-amz-rename-source", b"x-goog-copy-source", b"x-ms-copy-source", b"x-ms-rename-source", b"x-oss-copy-source",
    b"x-cos-copy-source", b"x-obs-copy-source", b"x-copy-from", b"Destination", b"If", b"x-oss-symlink-target", b"X-Symlink-Target", b"x-upyun-copy-source",
)  # fmt: skip


def second_resource(rng: random.Random, request: Request) -> Request:
    """Name the other site in a header that copies from it or to it."""
    spelling = rng.choice(SECOND_RESOURCES)
    if rng.random() < 0.3:
        spelling = rng.choice((spelling.upper(), spelling.replace(b"-", b"_"), cased(rng, spelling)))
    value = rng.choice((b"/blog/secret.txt", b"http://api.example.com/api/sites/blog/x", b"/api/sites/blog/x", b"blog/x", b"<http://x/blog/> (<urn:x>)"))
    if rng.random() < 0.5:
        request = replace(request, method=rng.choice((b"PUT", b"COPY", b"MOVE")))
    return _placed(rng, request, (spelling, value))


def cookie(rng: random.Random, request: Request) -> Request:
    """Add a cookie that PHP merges into `$_REQUEST`."""
    spelling = rng.choice((b"site", b"site", b"site", b"Site", b"s%69te", b" site", b"site[]", b"site[0]", b"site.x", b"_method", b"site%00x", b"x; site", b"x, site", b"+site"))
    value = rng.choice((b"blog", b"blog", b"shop", b"bl%6fg", b"", b'"blog"', b"shop; site=blog", b"blog; site=shop", b"shop,blog", b"deleted", b"%62log"))
    name = rng.choice((b"Cookie", b"Cookie", b"Cookie", b"cookie", b"Cookie2", b"COOKIE"))
    return _placed(rng, request, (name, spelling + b"=" + value))


_TYPE_NAMES = (b"Content-Type", b"Content-Type", b"Content-Type", b"Content_Type", b"Content.Type", b"content-type", b"Content--Type", b"CONTENT_TYPE", b"Content-Type_")
_TYPES = (
    b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded", b"APPLICATION/X-WWW-FORM-URLENCODED", b"application/x-www-form-urlencoded; charset=utf-7",
    b"multipart/form-data; boundary=b", b"multipart/mixed; boundary=b", b"text/plain", b"text/plain", b"application/json", b"", b"x", b"application/x-url-encoded",
    b"application/x-www-form-urlencoded,text/plain", b"text/plain, application/x-www-form-urlencoded", b"application/x-www-form-urlencoded\tx", b";application/x-www-form-urlencoded",
    b"multipart/form-data;boundary=b;x=\xff", b"application/x-www-form_urlencoded", b"application/*", b"multipart/", b'"application/x-www-form-urlencoded"',
    b"application / x-www-form-urlencoded", b"application/vnd.api+json",
)  # fmt: skip
_FORMS = (
    b"site=blog", b"site=blog&x=1", b"site%5B%5D=blog", b"_method=DELETE", b"site=blog&_method=DELETE",
    b'--b\r\nContent-Disposition: form-data; name="site"\r\n\r\nblog\r\n--b--\r\n',
    b"--b\r\nContent-Disposition: form-data; name=site\r\n\r\nblog\r\n--b--\r\n",
)  # fmt: skip


def form_body(rng: random.Random, request: Request) -> Request:
    """Send a form, under a Content-Type that some do not see, or under none."""
    fields = tuple(pair for pair in request.fields if pair[0].lower() != b"content-type")
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
        fields = (*fields, (rng.choice(_TYPE_NAMES), rng.choice(_TYPES)))
    method = rng.choice((b"POST", b"POST", b"POST", b"PUT", b"PATCH", b"GET", b"DELETE", b"OPTIONS"))
    return replace(request, method=method, fields=fields, body=rng.choice(_FORMS), chunked=rng.random() < 0.3)


_METHODS = (
    b"COPY", b"MOVE", b"PROPFIND", b"PROPPATCH", b"MKCOL", b"LOCK", b"REPORT", b"SEARCH", b"LIST", b"QUERY", b"PURGE", b"LINK", b"TRACE", b"get", b"Get", b"DELETE",
    b"BREW", b"PATCH", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"M-SEARCH", b"SOURCE", b"REBIND", b"ACL", b"delete",
)  # fmt: skip


def method(rng: random.Random, request: Request) -> Request:
    """Use another method."""
    return replace(request, method=rng.choice(_METHODS))


_LISTED = (
    b"X-Site", b"x-site", b"X_Site", b"Host", b"Content-Length", b"Transfer-Encoding", b"Cookie", b"X-API-Key", b"Authorization", b"Content-Type", b"close", b"keep-alive",
    b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Request-Id", b"Upgrade", b"TE", b"X-Whatever", b"Accept", b"X-HTTP-Method-Override", b"SCRIPT_NAME", b"X-Api-Sites",
)  # fmt: skip


def connection(rng: random.Random, request: Request) -> Request:
    """List headers in Connection, or use one of its relatives."""
    choice = rng.random()
    if choice < 0.7:
        listed = b", ".join(rng.choice(_LISTED) for _ in range(rng.choice((1, 1, 2))))
        return _placed(rng, request, (rng.choice((b"Connection", b"Connection", b"Proxy-Connection", b"Keep-Alive")), listed))
    if choice < 0.85:
        field = rng.choice(((b"TE", b"trailers"), (b"Trailer", b"X-Site"), (b"Expect", b"100-continue"), (b"Upgrade", b"h2c"), (b"Transfer_Encoding", b"chunked")))
        return _placed(rng, request, field)
    return _placed(rng, request, (rng.choice((b"Content_Length", b"Content-Length", b"Transfer-Encoding")), rng.choice((b"0", b"5", b"identity", b"chunked"))))


def host(rng: random.Random, request: Request) -> Request:
    """Send another Host, or an absolute target beside it."""
    choice = rng.random()
    rest = tuple(pair for pair in request.fields if pair[0].lower() != b"host")
    if choice < 0.4:
        authority = rng.choice((b"api.example.com", b"api.example.com", b"API.example.com", b"api.example.com:80", b"blog.example.com", b"u@api.example.com", b"api.example.com."))
        scheme = rng.choice((b"http", b"http", b"https", b"HTTP"))
        return replace(request, target=scheme + b"://" + authority + request.target)
    value = rng.choice((b"api.example.com.", b"api.example.com:80", b"blog.example.com", b"api.example.com/api/sites/blog", b"[::1]", b"", b"a b", b"api.example.com, blog", b"api.example.com?site=blog"))
    more = ((b"Host", b"api.example.com"),) if rng.random() < 0.2 else ()
    return replace(request, fields=((b"Host", value), *more, *rest))


def version(rng: random.Random, request: Request) -> Request:
    """Speak another version of HTTP, or an odd form of target."""
    choice = rng.random()
    if choice < 0.6:
        return replace(request, version=rng.choice((b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0")))
    if choice < 0.8:
        return replace(request, target=request.target + rng.choice((b"#", b"#site=blog", b" x", b"?", b"\t", b"%", b"\xc3\xa9", b"\x00", b"|", b"{}", b'"')))
    return replace(request, target=encoded(rng, request.target, 0.1))
