"""The format of API keys, and the digest that is stored instead of them. No I/O.

A key is `slk_`, 32 base62 characters (190 bits) from `secrets`, and 6 base62 characters of the CRC-32 of everything
before them. The prefix lets secret scanners find keys. The checksum detects mistyped and made-up keys without a lookup.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "slk_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_FORMAT = re.compile(rb"slk_[0-9A-Za-z]{%d}\Z" % (_SECRET_LENGTH + _CHECKSUM_LENGTH))


def new_key() -> str:
    """Return a new API key."""
    unchecked = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return unchecked + _checksum(unchecked.encode()).decode()


def well_formed(key: bytes) -> bool:
    """Return whether a key has the format and checksum of Sitelatch's own keys."""
    return _FORMAT.match(key) is not None and key[-_CHECKSUM_LENGTH:] == _checksum(key[:-_CHECKSUM_LENGTH])


def _checksum(unchecked: bytes) -> bytes:
    number = zlib.crc32(unchecked)
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.encode()


def digest(key: bytes) -> bytes:
    """Return the SHA-256 of a key, which the database and the cache store instead of the key.

    A slow password hash is not needed, because keys are too random to guess.
    """
    return hashlib.sha256(key).digest()


def hint(key: str) -> str:
    """Return a key shortened for display, such as `slk_ab12…wxyz`. A short key is hidden completely."""
    return f"{key[: len(PREFIX) + 4]}…{key[-4:]}" if len(key) >= 24 else "…"
