"""Encryption of recoverable keys: only the same secret and the same user decrypt them."""

import base64
from uuid import UUID

import pytest

from admin.key_encryption import KeyCipher, key_cipher, new_secret, read_secret
from proxy.decision.api_keys import new_key

ADA, BEN = UUID(int=1), UUID(int=2)


def new_cipher() -> KeyCipher:
    cipher = key_cipher(new_secret())
    assert cipher is not None
    return cipher


def test_an_encrypted_key_decrypts_to_itself() -> None:
    cipher, key = new_cipher(), new_key()
    sealed = cipher.encrypt(ADA, key)
    assert cipher.decrypt(ADA, sealed) == key
    assert key.encode() not in sealed
    assert cipher.encrypt(ADA, key) != sealed


def test_a_foreign_or_modified_ciphertext_does_not_decrypt() -> None:
    cipher, key = new_cipher(), new_key()
    sealed = cipher.encrypt(ADA, key)
    assert cipher.decrypt(BEN, sealed) is None
    assert new_cipher().decrypt(ADA, sealed) is None
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert cipher.decrypt(ADA, bytes(changed)) is None
    for length in range(len(sealed)):
        assert cipher.decrypt(ADA, sealed[:length]) is None


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x",
        "hunter2",
        "0" * 64,
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        "ä" * 44,
    ],
)
def test_a_secret_is_32_bytes_in_base64(secret: str) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        read_secret(secret)


def test_there_is_no_cipher_without_a_secret() -> None:
    assert key_cipher(None) is None
    assert key_cipher(new_secret()) is not None
