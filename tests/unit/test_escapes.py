"""Percent-decoding."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.escapes import unquote

_PIECES = st.sampled_from(
    [b"%", b"2", b"5", b"%25", b"%41", b"%aF", b"\\", b"x41", b"\\x41", b"u0041", b"\n", b"\xff", b"+"]
)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"", b""),
        (b"/plain", b"/plain"),
        (b"%41%e9%2F", b"A\xe9/"),
        (b"%2541", b"%41"),
        (b"%%34%31", b"%41"),  # the first one begins no escape, and what follows is not read again
        (b"%2%35", b"%25"),
        (b"%", b"%"),
        (b"100%", b"100%"),
        (b"%zz%4", b"%zz%4"),
        (b"\\x41\\n\\", b"\\x41\\n\\"),
        (b"\\%41\\%0a", b"\\A\\\n"),
        (b"\xc3\xa9%C3%A9\n", b"\xc3\xa9\xc3\xa9\n"),
    ],
)
def test_unquote(raw: bytes, decoded: bytes) -> None:
    assert unquote(raw) == decoded


@given(st.lists(st.one_of(_PIECES, st.binary(max_size=3)), max_size=30).map(b"".join))
def test_unquote_decodes_as_the_standard_library_does(raw: bytes) -> None:
    assert unquote(raw) == unquote_to_bytes(raw)
