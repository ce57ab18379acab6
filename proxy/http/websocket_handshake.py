"""The request and the 101 response that open a WebSocket connection (RFC 6455 §4). No I/O."""

import base64
import binascii
import hashlib

from proxy.http.headers import Fields, tokens

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def requested_key(upgrades: list[bytes], fields: Fields) -> bytes | None:
    """Return the Sec-WebSocket-Key of a valid handshake request, or None. `upgrades` are the values of Upgrade."""
    keys, versions = [], []
    for name, value in fields:
        lower = name.lower()
        if lower == b"sec-websocket-key":
            keys.append(value)
        elif lower == b"sec-websocket-version":
            versions.append(value)
    if len(keys) != 1 or versions != [b"13"] or len(upgrades) != 1 or upgrades[0].lower() != b"websocket":
        return None
    try:
        return keys[0] if len(base64.b64decode(keys[0], validate=True)) == 16 else None
    except binascii.Error:
        return None


def accepts_key(key: bytes, fields: Fields) -> bool:
    """Return whether a 101 response with these fields opens the connection requested with `key` (RFC 6455 §4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    upgrades = [value.lower() for name, value in fields if name.lower() == b"upgrade"]
    accepts = [value for name, value in fields if name.lower() == b"sec-websocket-accept"]
    options = tokens(value for name, value in fields if name.lower() == b"connection")
    return upgrades == [b"websocket"] and accepts == [accept] and b"upgrade" in options
