"""Other methods, in the request line or as an override, and form bodies."""

import random
from dataclasses import replace

from tests.backends.headers import placed
from tests.backends.request import Request

_METHODS = (
    b"COPY", b"MOVE", b"PROPFIND", b"PROPPATCH", b"MKCOL", b"LOCK", b"REPORT", b"SEARCH", b"LIST", b"QUERY",
    b"PURGE", b"LINK", b"TRACE", b"get", b"Get", b"DELETE", b"BREW", b"PATCH", b"HEAD", b"OPTIONS", b"POST",
    b"PUT", b"M-SEARCH", b"SOURCE", b"REBIND", b"ACL", b"delete",
)  # fmt: skip


def method(rng: random.Random, request: Request) -> Request:
    """Use another method."""
    return replace(request, method=rng.choice(_METHODS))


_OVERRIDES = (
    b"X-HTTP-Method-Override", b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override",
    b"X_HTTP_Method_Override", b"X-Http.Method-Override", b"_method", b"X-Original-Method",
    b"X-Forwarded-Method",
)  # fmt: skip
_OVERRIDING = (
    b"DELETE", b"delete", b"DELETE, GET", b"GET, DELETE", b"GET,DELETE", b" DELETE ", b"PUT", b"COPY", b"LIST",
    b"D%45LETE", b"DELETE;q=1",
)  # fmt: skip

_OVERRIDE_PARAMETERS = (
    b"_method=DELETE",
    b"_method=delete",
    b"%5fmethod=DELETE",
    b"_METHOD=DELETE",
    b"_method[]=DELETE",
    b"_method=DELETE,GET",
)


def method_override(rng: random.Random, request: Request) -> Request:
    """Override the method in a header or a parameter."""
    if rng.random() < 0.7:
        request = replace(request, method=rng.choice((b"POST", b"POST", b"POST", b"GET", b"PUT")))
    if rng.random() < 0.3:
        parameter = rng.choice(_OVERRIDE_PARAMETERS)
        return request.with_query(b"&".join(filter(None, (request.query, parameter))))
    return placed(rng, request, (rng.choice(_OVERRIDES), rng.choice(_OVERRIDING)))


_TYPE_NAMES = (
    b"Content-Type", b"Content-Type", b"Content-Type", b"Content_Type", b"Content.Type", b"content-type",
    b"Content--Type", b"CONTENT_TYPE", b"Content-Type_",
)  # fmt: skip
_TYPES = (
    b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded",
    b"APPLICATION/X-WWW-FORM-URLENCODED", b"application/x-www-form-urlencoded; charset=utf-7",
    b"multipart/form-data; boundary=b", b"multipart/mixed; boundary=b", b"text/plain", b"text/plain",
    b"application/json", b"", b"x", b"application/x-url-encoded",
    b"application/x-www-form-urlencoded,text/plain", b"text/plain, application/x-www-form-urlencoded",
    b"application/x-www-form-urlencoded\tx", b";application/x-www-form-urlencoded",
    b"multipart/form-data;boundary=b;x=\xff", b"application/x-www-form_urlencoded", b"application/*",
    b"multipart/", b'"application/x-www-form-urlencoded"', b"application / x-www-form-urlencoded",
    b"application/vnd.api+json",
)  # fmt: skip
_FORMS = (
    b"site=blog", b"site=blog&x=1", b"site%5B%5D=blog", b"_method=DELETE", b"site=blog&_method=DELETE",
    b'--b\r\nContent-Disposition: form-data; name="site"\r\n\r\nblog\r\n--b--\r\n',
    b"--b\r\nContent-Disposition: form-data; name=site\r\n\r\nblog\r\n--b--\r\n",
)  # fmt: skip

_FORM_METHODS = (b"POST", b"POST", b"POST", b"PUT", b"PATCH", b"GET", b"DELETE", b"OPTIONS")


def form_body(rng: random.Random, request: Request) -> Request:
    """Send a form body, with a Content-Type that some servers do not recognize, or without one."""
    fields = tuple(pair for pair in request.fields if pair[0].lower() != b"content-type")
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
        fields = (*fields, (rng.choice(_TYPE_NAMES), rng.choice(_TYPES)))
    return replace(
        request,
        method=rng.choice(_FORM_METHODS),
        fields=fields,
        body=rng.choice(_FORMS),
        chunked=rng.random() < 0.3,
    )
