"""Rules for keys that other programs have created. No I/O."""

import base64
import binascii
import itertools
import re
from hashlib import sha256
from typing import Final

from proxy.decision.api_keys import PREFIX, digest, well_formed

_LEAST_LENGTH: Final = 20
_LEAST_CHARACTERS: Final = 6
_LEAST_STEPS: Final = 6
_SENDABLE: Final = re.compile(r"[!-~]{1,1000}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_OF_NOTHING: Final = sha256(b"").digest()
_SHOWN: Final = 4


def key_fault(key: str, *, allow_weak: bool) -> str | None:
    """Return a sentence if a key cannot be imported. It never quotes the key."""
    if not _SENDABLE.fullmatch(key):
        return "A key must have 1 to 1,000 printable ASCII characters without spaces, because it is sent in a header."
    if key.startswith(PREFIX) and not well_formed(key.encode()):
        return "The key begins with `slk_`, but its checksum is wrong. It was mistyped or cut off."
    if not allow_weak and is_weak(key):
        return (
            f"The key is shorter than {_LEAST_LENGTH} characters, or has too little variety. Anyone with its SHA-256 "
            "can guess it. Give its holder a new key, or add --allow-weak."
        )
    return None


def is_weak(key: str) -> bool:
    """Return whether a key is short, repeats itself, or counts up or down.

    A check cannot prove that a key is random. This one finds only keys that certainly are not.
    """
    if len(key) < _LEAST_LENGTH:
        return True
    steps = {ord(second) - ord(first) for first, second in itertools.pairwise(key)}
    repeats_itself = key in (key + key)[1:-1]
    return repeats_itself or len(set(key)) < _LEAST_CHARACTERS or len(steps) < _LEAST_STEPS


def read_sha256(text: str) -> bytes:
    """Return the digest in a text: hex or Base64, perhaps after `sha256:`. Raises ValueError with a sentence."""
    text = text.removeprefix("sha256:").removeprefix("sha256-")
    try:
        if _HEX.fullmatch(text):
            found = bytes.fromhex(text)
        else:
            standard = text.rstrip("=").replace("-", "+").replace("_", "/")
            found = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != len(_OF_NOTHING):
        raise ValueError("A SHA-256 must have 64 hexadecimal digits, or be 32 bytes in Base64.")
    if found == _OF_NOTHING:
        raise ValueError("This is the SHA-256 of an empty text, so it belongs to no key.")
    return found


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key."""
    return digest(key.encode("ascii"))


def key_hint(key: str) -> str:
    """Return a key shortened for display. A key in a foreign format is shortened more."""
    shown = _SHOWN + (len(PREFIX) if key.startswith(PREFIX) else 0)
    return f"{key[:shown]}…{key[-_SHOWN:]}" if len(key) >= 24 else "…"


def digest_hint(sha256: bytes) -> str:
    """Return the hint of a key that is known only by its SHA-256."""
    return f"sha256:{sha256.hex()[:_SHOWN]}…{sha256.hex()[-_SHOWN:]}"
