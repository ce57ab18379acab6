"""Encryption of recoverable API keys, which are stored so that admins can reveal them later."""

import base64
import binascii
import os
from importlib import import_module
from typing import Protocol
from uuid import UUID

SECRET_BYTES = 32


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


class KeyCipher(Protocol):
    """Encrypts and decrypts API keys. `admin.aes_gcm.AesGcm` documents each method."""

    def encrypt(self, user_id: UUID, key: str) -> bytes: ...
    def decrypt(self, user_id: UUID, sealed: bytes) -> str | None: ...


def key_cipher(secret: str | None) -> KeyCipher | None:
    """Return the cipher for `admin.recoverable_keys`, or None if it is not set.

    The cryptography package takes 5 MB of memory, so it is imported only if it is needed.
    """
    if secret is None:
        return None
    cipher: KeyCipher = import_module("admin.aes_gcm").AesGcm(read_secret(secret))
    return cipher
