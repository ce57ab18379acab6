"""Key locations in a header: its whole value, or credentials in Authorization. No I/O."""

import base64
import binascii
import re
from typing import ClassVar

from proxy.decision.api_keys import PREFIX
from proxy.decision.key_examples import REALM, KeyExample, challenge_without_scheme
from proxy.http.headers import fold_name

_SCHEME = re.compile(rb"([A-Za-z0-9-]++)[ \t]++(.*)\Z", re.DOTALL)

Field = tuple[bytes, bytes]


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
        return challenge_without_scheme("header", self.name)

    def read(self, field: Field, keys: set[bytes]) -> Field | None:
        """Add the key in a field to `keys`. Return the field, or None if it must not be forwarded. Hot."""
        keys.add(field[1])
        return None


class AuthorizationKey:
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


class BearerKey(AuthorizationKey):
    """A bearer token (RFC 6750 §2.1)."""

    form: ClassVar[str] = "bearer"
    scheme: ClassVar[bytes] = b"bearer"

    def describe(self) -> str:
        return "as `Authorization: Bearer KEY`"

    def example(self) -> KeyExample:
        return KeyExample(header=("Authorization", "Bearer {key}"))

    def challenge(self) -> str:
        return f'Bearer realm="{REALM}"'


class BasicKey(AuthorizationKey):
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
