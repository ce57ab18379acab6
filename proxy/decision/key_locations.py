"""The kinds of key locations: how each reads and removes a key, shows an example, and asks for a key. No I/O.

To add a kind, add one class to KEY_LOCATIONS. `explain`, the admin page, the integrators' guide and the error messages
get everything from these classes.
"""

import re
from collections.abc import Sequence

from proxy.decision.header_keys import AuthorizationKey, BasicKey, BearerKey, HeaderKey
from proxy.decision.parameter_keys import CookieKey, QueryKey
from proxy.decision.parameter_names import Name
from proxy.http.request_header_names import why_never_forwarded

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")

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
    schemes = [location for location in locations if isinstance(location, AuthorizationKey)]
    schemes.sort(key=lambda location: location.scheme)
    lines = dict.fromkeys(location.challenge() for location in schemes or locations)
    return b"".join(b"WWW-Authenticate: %b\r\n" % line.encode() for line in lines)


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
