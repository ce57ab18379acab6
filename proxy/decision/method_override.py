"""Request headers and query parameters that make frameworks override the method in the request line. No I/O.

A test compares these rows with the table in docs/backends.md. A parameter called `method` is not listed, because
Matomo and many RPC interfaces use it for other things.
"""

import itertools
from typing import NamedTuple

from proxy.decision.parameter_names import Name
from proxy.decision.queries import Query
from proxy.http.headers import Fields, Spellings, fold_name
from proxy.http.known_headers import Certainty


class MethodOverride(NamedTuple):
    """One row. `name` is in lowercase; the other columns are those of `known_headers.KnownHeader`."""

    name: str
    software: str
    source: str
    certainty: Certainty


_EXPRESS = "https://expressjs.com/en/resources/middleware/method-override.html"
_SERVICESTACK = "ServiceStack/ServiceStack:ServiceStack/src/ServiceStack/HttpRequestExtensions.cs"
_PLACK = "plack/plack-middleware-methodoverride:lib/Plack/Middleware/MethodOverride.pm"
_PARAM_MINER = "PortSwigger/param-miner:resources/headers"

# fmt: off
OVERRIDE_HEADERS = tuple(
    MethodOverride(*row)
    for row in (
        ("x-http-method-override", "Rack, Rails, Symfony, Laravel, Yii, WordPress", "rack/rack:lib/rack/method_override.rb", "verified"),
        ("x-http-method", "OData, SharePoint, PHP applications", "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-odata/", "documented"),
        ("x-method-override", "Express method-override", _EXPRESS, "documented"),
        ("x-tunneled-method", "Perl clients of Catalyst and Plack", _PLACK, "reported"),
        ("x-ajax-real-method", "PHP applications", _PARAM_MINER, "reported"),
        ("real-method", "PHP applications", _PARAM_MINER, "reported"),
        ("request-method", "CGI (as REQUEST_METHOD)", _PARAM_MINER, "reported"),
    )
)

OVERRIDE_PARAMETERS = tuple(
    MethodOverride(*row)
    for row in (
        ("_method", "Rails, Laravel, Symfony, Spring, WordPress, CakePHP, Express", "symfony/http-foundation:Request.php", "verified"),
        ("x-http-method-override", "ServiceStack, Firebase Realtime Database", _SERVICESTACK, "verified"),
        ("x-http-method", "Express method-override", _EXPRESS, "reported"),
        ("x-method-override", "Express method-override", _EXPRESS, "reported"),
        ("x-tunneled-method", "Plack, Catalyst", _PLACK, "verified"),
        ("_httpmethod", "Salesforce REST API", "https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/", "verified"),
        ("$httpmethod", "Google APIs", "public clients of Google APIs send it", "reported"),
    )
)
# fmt: on

_NAMES = frozenset(row.name.encode() for row in OVERRIDE_HEADERS)
NO_METHODS: frozenset[bytes] = frozenset()
OVERRIDE_NAMES = frozenset(Name(row.name) for row in OVERRIDE_PARAMETERS)
_OVERRIDES = Spellings(lambda name: fold_name(name) in _NAMES)


def overrides_method(name: bytes) -> bool:
    """Return whether a header with this name, in any spelling, overrides the method."""
    return bool(_OVERRIDES[name])


TOO_MANY_METHODS = b"?"
"""Stands for the methods of an overlong list. It is not a token, so no route can list it."""
MOST_BYTES = 256


def overriding_methods(fields: Fields) -> frozenset[bytes]:
    """Return the methods, in uppercase, that any part of any method-override header names. Hot."""
    values = [value for name, value in fields if _OVERRIDES[name]]
    if not values:
        return NO_METHODS
    return methods_in(b",".join(values))


def methods_in(value: bytes) -> frozenset[bytes]:
    """Return the methods, in uppercase, that any part of an overriding header or parameter names."""
    if len(value) > MOST_BYTES:
        return frozenset({TOO_MANY_METHODS})
    return frozenset(part.strip().upper() for part in value.split(b",")) - {b""}


def overriding_methods_in(query: Query) -> frozenset[bytes]:
    """Return the methods, in uppercase, that any overriding parameter of a query names."""
    if OVERRIDE_NAMES.isdisjoint(query.meant):
        return NO_METHODS
    methods: set[bytes] = set()
    for parameter in itertools.chain.from_iterable(query.splits):
        if OVERRIDE_NAMES.isdisjoint(parameter.meant):
            continue
        if len(parameter.value) > MOST_BYTES:
            return frozenset({TOO_MANY_METHODS})
        for value in query.readings_of(parameter.value).every():
            methods |= methods_in(value.encode("utf-8", "replace"))
    return frozenset(methods)
