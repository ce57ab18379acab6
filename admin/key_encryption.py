"""Encryption of recoverable API keys, which are stored so that admins can reveal them later.

AES-256-GCM with the API user's id as associated data: a ciphertext copied to another user cannot be decrypted.
"""

import base64
import binascii
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 32
_NONCE_BYTES = 12
"""Nonces are random: among 2^32 keys, two share one with a probability of 2^-33 (NIST SP 800-38D §8.3)."""


def new_secret() -> str:
    """Return a new secret in the form that the configuration takes."""
    return base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError if it is not 32 bytes in Base64."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ValueError("must be 32 random bytes in Base64, as `openssl rand -base64 32` prints them.")
    return secret


def key_cipher(secret: str | None) -> "KeyCipher | None":
    """Return the cipher for `admin.recoverable_keys`, or None if it is not set."""
    return None if secret is None else KeyCipher(secret)


class KeyCipher:
    """Encrypts and decrypts API keys."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(read_secret(secret))

    def encrypt(self, user_id: UUID, key: str) -> bytes:
        """Return the ciphertext of this user's key."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key.encode("ascii"), user_id.bytes)

    def decrypt(self, user_id: UUID, sealed: bytes) -> str | None:
        """Return the key, or None if it was encrypted with another secret or for another user, or was modified."""
        try:
            key = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], user_id.bytes)
        except (InvalidTag, ValueError):
            return None
        return key.decode("ascii")
