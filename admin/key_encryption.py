"""Recoverable keys: API keys kept encrypted beside their digests, so that they can be shown again.

AES-256-GCM, with the API user's id as associated data: a sealed key that is copied to another user opens no more.
"""

import base64
import binascii
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 32
_NONCE_BYTES = 12
"""Random: the chance that two of 2^32 keys share one is 2^-33 (NIST SP 800-38D §8.3)."""


def new_secret() -> str:
    """Return a new secret, as the config holds it."""
    return base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError unless it is 32 bytes in Base64."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ValueError("must be 32 random bytes in Base64, as `openssl rand -base64 32` prints them.")
    return secret


def key_cipher(secret: str | None) -> "KeyCipher | None":
    """Return the safe of `admin.recoverable_keys`; without a secret there is none."""
    return None if secret is None else KeyCipher(secret)


class KeyCipher:
    """Seals keys and opens them again."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(read_secret(secret))

    def encrypt(self, user_id: UUID, key: str) -> bytes:
        """Return the key of this user, encrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key.encode("ascii"), user_id.bytes)

    def decrypt(self, user_id: UUID, sealed: bytes) -> str | None:
        """Return the key, or None where it was sealed under another secret, for another user, or was changed."""
        try:
            opened = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], user_id.bytes)
        except (InvalidTag, ValueError):
            return None
        return opened.decode("ascii")
