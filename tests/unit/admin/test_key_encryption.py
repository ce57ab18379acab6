"""Keys that can be shown again: opened by the same secret for the same user, and by nothing else."""

import base64
from uuid import UUID

import pytest

from admin.key_encryption import Safe, new_secret, read_secret, safe_for
from proxy.decision.api_keys import new_key

ADA, BEN = UUID(int=1), UUID(int=2)


def test_a_key_comes_out_as_it_went_in() -> None:
    safe, key = Safe(new_secret()), new_key()
    sealed = safe.seal(ADA, key)
    assert safe.open(ADA, sealed) == key
    assert key.encode() not in sealed
    assert safe.seal(ADA, key) != sealed


def test_a_sealed_key_opens_for_nobody_else_under_no_other_secret_and_unchanged_only() -> None:
    safe, key = Safe(new_secret()), new_key()
    sealed = safe.seal(ADA, key)
    assert safe.open(BEN, sealed) is None
    assert Safe(new_secret()).open(ADA, sealed) is None
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert safe.open(ADA, bytes(changed)) is None
    for length in range(len(sealed)):
        assert safe.open(ADA, sealed[:length]) is None


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


def test_without_a_secret_there_is_no_safe() -> None:
    assert safe_for(None) is None
    assert safe_for(new_secret()) is not None
