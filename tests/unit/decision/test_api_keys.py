"""The format, digest and hint of API keys."""

import zlib

import pytest

from proxy.decision.api_keys import digest, hint, new_key, well_formed


def test_new_keys_are_well_formed_and_differ() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 42 and well_formed(key.encode()) for key in keys)


def test_the_checksum_is_the_crc_of_everything_before_it() -> None:
    key = new_key()
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for character in key[-6:]:
        number = number * 62 + alphabet.index(character)
    assert number == zlib.crc32(key[:-6].encode())


def test_any_changed_character_breaks_the_checksum() -> None:
    key = new_key().encode()
    for at in range(len(key)):
        other = b"A" if key[at : at + 1] != b"A" else b"B"
        assert not well_formed(key[:at] + other + key[at + 1 :])


@pytest.mark.parametrize("garbage", [b"", b"slk_", b"x" * 42, b"slk_" + b"0" * 38, b"slk_" + b"\xff" * 38])
def test_other_text_is_not_a_well_formed_key(garbage: bytes) -> None:
    assert not well_formed(garbage)


def test_a_key_with_trailing_bytes_is_not_well_formed() -> None:
    key = new_key().encode()
    assert not well_formed(key + b"\n")
    assert not well_formed(key + b"0")
    assert not well_formed(b" " + key)


def test_a_digest_is_sha_256() -> None:
    assert digest(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_hint_shows_the_first_eight_and_last_four_characters_unless_the_key_is_short() -> None:
    assert hint("slk_ab12" + "x" * 30 + "wxyz") == "slk_ab12…wxyz"
    assert hint("short") == "…"
