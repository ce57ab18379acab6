"""The kinds of key locations: how each reads and removes a key, shows an example, and asks for a key. No I/O.

To add a kind, add one class to KEY_LOCATIONS. `explain`, the admin page, the integrators' guide and the error messages
get everything from these classes.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from proxy.decision.api_keys import PREFIX
from proxy.decision.parameter_finder import Finder, Found
from proxy.decision.parameter_names import Name
from proxy.decision.pieces import Pieces
from proxy.http.headers import Fields, fold_name
from proxy.http.percent_encoding import decode
from proxy.http.request_header_names import why_never_forwarded
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_SCHEME = re.compile(rb"([A-Za-z0-9-]++)[ \t]++(.*)\Z", re.DOTALL)
_KEY_IN_TWO_READINGS = AMBIGUOUS_REQUEST.because(
    "The query parameter that carries the API key is next to `;` or `?`, where some servers separate parameters. "
    "Separate parameters with `&`, and percent-encode other characters."
)
_RAW_KEY = AMBIGUOUS_REQUEST.because(
    "The query parameter that carries the API key contains bytes outside ASCII. Send the key as it was issued."
)
_LONG_VALUE = 1024
_LONG_ENCODED_KEY = AMBIGUOUS_REQUEST.because(
    f"The query parameter or cookie that carries the API key has a value of more than {_LONG_VALUE} bytes that "
    "contains `%`. Send the key as it was issued."
)
_MAX_COOKIE_LINES = 4
_MANY_COOKIE_LINES = AMBIGUOUS_REQUEST.because(
    f"The cookie that carries the API key is among more than {_MAX_COOKIE_LINES} Cookie headers. Send only one."
)

Field = tuple[bytes, bytes]


REALM = "api"
"""The realm in challenges (RFC 9110 §11.5)."""


class KeyExample(NamedTuple):
    """Where a request carries its key. `{key}` stands for the key, `{basic}` for its Basic credentials in base64."""

    header: tuple[str, str] | None = None
    """A header's name and value."""
    parameter: tuple[str, str] | None = None
    """A query parameter's name and value."""


def with_key(value: str, key: bytes) -> bytes:
    """Return the value of an example with this key."""
    return value.encode().replace(b"{key}", key).replace(b"{basic}", base64.b64encode(key + b":"))


class HeaderKey:
    """A header whose entire value is the key."""

    form: ClassVar[str] = "header:NAME"

    def __init__(self, name: str) -> None:
        self.name = name
        self.field = fold_name(name.encode())
        """The header that carries the key, in lowercase."""
        self.place = f"the header `{name}`"

    def describe(self) -> str:
        return f"as the header `{self.name}`"

    def example(self) -> KeyExample:
        return KeyExample(header=(self.name, "{key}"))

    def challenge(self) -> str:
        return _challenge_without_scheme("header", self.name)

    def read(self, field: Field, keys: set[bytes]) -> Field | None:
        """Add the key in a field to `keys`. Return the field, or None if it must not be forwarded. Hot."""
        keys.add(field[1])
        return None


class _AuthorizationKey:
    """A key in Authorization, after a scheme. Credentials with other schemes are for the upstream, and are kept."""

    field: ClassVar[bytes] = b"authorization"
    place: ClassVar[str] = "the header `Authorization`"
    scheme: ClassVar[bytes]

    def __init__(self, name: str) -> None:
        """`name` is always empty: the config names only the scheme."""

    def read(self, field: Field, keys: set[bytes]) -> Field | None:
        """Add the key in a field to `keys`. Return the field, or None if it must not be forwarded. Hot."""
        scheme = _SCHEME.match(field[1])
        if scheme is None and field[1].startswith(PREFIX.encode()):
            keys.add(field[1])  # probably a key sent without the scheme by mistake, so it must not be forwarded
            return None
        if scheme is None or scheme[1].lower() != self.scheme:
            return field
        keys.add(self.key_in(scheme[2]))
        return None

    def key_in(self, credentials: bytes) -> bytes:
        """Return the key in the scheme's credentials."""
        return credentials


class BearerKey(_AuthorizationKey):
    """A bearer token (RFC 6750 §2.1)."""

    form: ClassVar[str] = "bearer"
    scheme: ClassVar[bytes] = b"bearer"

    def describe(self) -> str:
        return "as `Authorization: Bearer KEY`"

    def example(self) -> KeyExample:
        return KeyExample(header=("Authorization", "Bearer {key}"))

    def challenge(self) -> str:
        return f'Bearer realm="{REALM}"'


class BasicKey(_AuthorizationKey):
    """The user name of HTTP Basic authentication (RFC 7617), as in Stripe's API."""

    form: ClassVar[str] = "basic"
    scheme: ClassVar[bytes] = b"basic"

    def describe(self) -> str:
        return "as the user name of HTTP Basic, with an empty password"

    def example(self) -> KeyExample:
        return KeyExample(header=("Authorization", "Basic {basic}"))

    def challenge(self) -> str:
        return f'Basic realm="{REALM}"'

    def key_in(self, credentials: bytes) -> bytes:
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[0]
        except binascii.Error:
            return credentials  # not valid base64, but it was sent as a key


class CookieKey:
    """A cookie."""

    form: ClassVar[str] = "cookie:NAME"

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = f"the cookie `{name}`"

    def describe(self) -> str:
        return f"as the cookie `{self.name}`"

    def example(self) -> KeyExample:
        return KeyExample(header=("Cookie", f"{self.name}={{key}}"))

    def challenge(self) -> str:
        return _challenge_without_scheme("cookie", self.name)

    @staticmethod
    def read(finder: Finder, fields: Fields, keys: set[bytes]) -> Fields:
        """Return the fields without the cookies that `finder` finds, and add their values to `keys`."""
        every = [value for name, value in fields if name.lower() == b"cookie"]
        cookies = b";".join(every)
        found = _found_in(cookies, finder)
        if not found:
            return fields
        if len(every) > _MAX_COOKIE_LINES:
            raise Refused(_MANY_COOKIE_LINES)
        kept: Fields = []
        for field in fields:
            rest: Field | None = field
            if field[0].lower() == b"cookie":
                rest = _without_cookies(field, found if len(every) == 1 else _found_in(field[1], finder), keys)
            if rest is not None:
                kept.append(rest)
        return kept


class QueryKey:
    """A query parameter."""

    form: ClassVar[str] = "query:NAME"

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = f"the query parameter `{name}`"

    def describe(self) -> str:
        return f"as the query parameter `{self.name}`"

    def example(self) -> KeyExample:
        return KeyExample(parameter=(self.name, "{key}"))

    def challenge(self) -> str:
        return _challenge_without_scheme("query", self.name)

    @staticmethod
    def read(finder: Finder, target: bytes, keys: set[bytes]) -> tuple[bytes, Pieces | None]:
        """Return a target without the parameters that `finder` finds, and add their values to `keys`.

        Also return the pieces of the whole query, or None if it was not split. Raises Refused if servers disagree on
        where the parameter ends.
        """
        path, _, query = target.partition(b"?")
        if finder.is_silent(query):
            return target, None
        pieces = finder.split(query)
        kept = []
        begin = 0
        for start, end, _ in finder.find(pieces):
            before = query.rfind(b"&", 0, start) + 1
            after = query.find(b"&", end)
            piece = query[before : after if after >= 0 else len(query)]
            if b";" in piece or b"?" in piece.lstrip(b"?"):
                raise Refused(_KEY_IN_TWO_READINGS)
            if not piece.isascii():
                raise Refused(_RAW_KEY)
            keys.add(_decoded(piece.partition(b"=")[2]))
            if before > begin:
                kept.append(query[begin : before - 1])
            begin = after + 1 if after >= 0 else len(query) + 1
        if not begin:
            return target, pieces
        if begin <= len(query):
            kept.append(query[begin:])
        return (path + b"?" + b"&".join(kept) if kept else path), pieces


FieldKey = HeaderKey | BearerKey | BasicKey
KeyLocation = FieldKey | CookieKey | QueryKey
KEY_LOCATIONS: tuple[type[KeyLocation], ...] = (HeaderKey, BearerKey, BasicKey, CookieKey, QueryKey)
"""Every kind of key location."""


def challenges(locations: Sequence[KeyLocation]) -> bytes:
    """Return the WWW-Authenticate lines of a 401: one for each authentication scheme that the locations use.

    Each challenge has a line of its own, because many clients do not parse a list of challenges. Basic comes first,
    because old clients, such as Python's urllib before 3.8, read only the first line. A response with status 401 must
    have a challenge (RFC 9110 §11.6.1), so locations without a scheme get one if there is no other. Browsers ask for a
    password only for Basic.
    """
    schemes = [location for location in locations if isinstance(location, _AuthorizationKey)]
    schemes.sort(key=lambda location: location.scheme)
    lines = dict.fromkeys(location.challenge() for location in schemes or locations)
    return b"".join(b"WWW-Authenticate: %b\r\n" % line.encode() for line in lines)


def _challenge_without_scheme(place: str, name: str) -> str:
    """Return a challenge for a location that no registered scheme describes. `place` is OpenAPI's `in`."""
    return f'ApiKey realm="{REALM}", in="{place}", name="{name}"'


def key_location(text: str) -> KeyLocation:
    """Parse a key location in the config's notation. Raises ValueError, with a message that says what to write."""
    kind, colon, name = text.partition(":")
    for location in KEY_LOCATIONS:
        form_kind, form_colon, _ = location.form.partition(":")
        if kind == form_kind and colon == form_colon and (not colon or _TOKEN.match(name)):
            made = location(name)
            if isinstance(made, FieldKey):
                _check_header(made.field, name or made.field.decode())
            return made
    forms = ", ".join(f'"{location.form}"' for location in KEY_LOCATIONS)
    raise ValueError(
        f"{text!r} is not a valid key location: write one of {forms}. "
        "A NAME consists of letters, digits, and characters like `-` and `_`"
    )


def _check_header(field: bytes, name: str) -> None:
    """Raise ValueError, with a message that says what to write instead, if the header cannot carry a key."""
    if field == b"cookie":
        raise ValueError(f'the header {name} cannot carry a key as a whole: write "cookie:NAME"')
    if why := why_never_forwarded(field.decode()):
        raise ValueError(
            f'the header {name} cannot carry a key, because {why}. Use another, such as "header:X-API-Key"'
        )


def parameter_names(locations: Sequence[KeyLocation], kind: type[CookieKey] | type[QueryKey]) -> list[Name]:
    """Return the names to look for in locations of one kind."""
    return [Name(location.name) for location in locations if isinstance(location, kind)]


def _decoded(value: bytes) -> bytes:
    """Decode a key from a query or cookie. Raises Refused on a long value with `%`, because decoding it is slow."""
    if len(value) > _LONG_VALUE and b"%" in value:
        raise Refused(_LONG_ENCODED_KEY)
    return decode(value)


def _found_in(raw: bytes, finder: Finder) -> list[Found]:
    """Return the cookies that `finder` finds."""
    return [] if finder.is_silent(raw) else finder.find(finder.split(raw))


def _without_cookies(field: Field, found: Sequence[Found], keys: set[bytes]) -> Field | None:
    """Return a Cookie field without these cookies, or None if nothing is left. Add their values to `keys`."""
    raw = field[1]
    kept = []
    begin = 0
    for start, end, _ in found:
        before = raw.rfind(b";", 0, start) + 1
        after = raw.find(b";", end)
        value = raw[end : after if after >= 0 else len(raw)].removeprefix(b"=")
        keys.add(_decoded(value.strip(b' \t"')))
        kept.append(raw[begin : before if after >= 0 else max(before - 1, begin)])
        begin = after + 1 if after >= 0 else len(raw)
    if not kept:
        return field
    rest = b"".join((*kept, raw[begin:])).strip()
    return (field[0], rest) if rest else None
