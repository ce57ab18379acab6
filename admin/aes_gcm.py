"""AES-256-GCM with the API user's id as associated data: a ciphertext copied to another user cannot be decrypted."""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
"""Nonces are random: among 2^32 keys, two share one with a probability of 2^-33 (NIST SP 800-38D §8.3)."""


class AesGcm:
    """Encrypts and decrypts API keys."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)

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
