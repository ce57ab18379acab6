"""The examples and challenges that each kind of key location shows to people and clients. No I/O."""

import base64
from typing import NamedTuple

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


def challenge_without_scheme(place: str, name: str) -> str:
    """Return a challenge for a location that no registered scheme describes. `place` is OpenAPI's `in`."""
    return f'ApiKey realm="{REALM}", in="{place}", name="{name}"'
