"""Targets are split, decoded and read in every way."""

import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision.path_parameters import holds_parameter
from proxy.decision.path_readings import read_path
from proxy.decision.target import split
from proxy.http.percent_encoding import decode, rounds
from proxy.refusals import Refused

ESCAPES = st.lists(
    st.sampled_from(
        [b"\\", b"u0041", b"%", b"2", b"5", b"=", b"3D", b"%3D", b"%25", b"\n", b"\r", b"_", b"\0", b"\xff", b"G", b" "]
    )
).map(b"".join)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"", b""),
        (b"/plain", b"/plain"),
        (b"%41%e9%2F", b"A\xe9/"),
        (b"%2541", b"%41"),
        (b"%%34%31", b"%41"),  # the first `%` does not begin an escape, and decoding does not start over
        (b"%2%35", b"%25"),
        (b"%", b"%"),
        (b"100%", b"100%"),
        (b"%zz%4", b"%zz%4"),
        (b"\\x41\\n\\", b"\\x41\\n\\"),
        (b"\\%41\\%0a", b"\\A\\\n"),
        (b"\xc3\xa9%C3%A9\n", b"\xc3\xa9\xc3\xa9\n"),
    ],
)
def test_percent_escapes_are_decoded_once(raw: bytes, decoded: bytes) -> None:
    assert decode(raw) == decoded


@given(ESCAPES | st.binary())
def test_decoding_agrees_with_the_standard_library(raw: bytes) -> None:
    assert decode(raw) == unquote_to_bytes(raw)


def test_repeated_encoding_is_decoded_up_to_a_bound() -> None:
    assert rounds(b"%25252e") == [b"%25252e", b"%252e", b"%2e", b"."]
    with pytest.raises(Refused):
        rounds(b"%" + b"25" * 3000 + b"41")


def test_the_literal_reading_of_a_path_comes_first() -> None:
    assert read_path(b"/a/b%2Fc").split[0] == "\0a\0b/c"
    assert "\0a\0b\0c" in read_path(b"/a/b%2Fc").split
    assert read_path(b"/a/b").split == ["\0a\0b"]


@pytest.mark.parametrize("template", ["/a/{}", "/a/..{}b", "/a/.{}/b", "/{}../b"])
def test_dot_segments_that_compatibility_characters_hide_are_refused(template: str) -> None:
    hidden = re.compile(r"\\|/\.\.?(?:;[^/]*)?(?:/|\Z)")
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000)):
        path = template.format(chr(code))
        if not hidden.search(path) and hidden.search(unicodedata.normalize("NFKC", path)):
            with pytest.raises(Refused):
                read_path(quote(path).encode())


@pytest.mark.parametrize("query", ["q=café", "q=Müller;Jäger&text=日本語;x", "q=was?ähm=1", "q=%20é", "a&b=é"])
def test_raw_utf8_in_a_parameter_value_is_accepted(query: str) -> None:
    assert split(f"/x?{query}".encode()).query == query.encode()


@pytest.mark.parametrize(
    "target",
    [
        "/café?q=1".encode(),
        "/x?café=1".encode(),
        "/x?a;café=1".encode(),
        "/x?café".encode(),
        b"/x?q=caf\xe9",  # Latin-1
        b"/x?q=\xc2\x85",  # a control character
        b"/x?q=\xed\xa0\x80",  # a surrogate
        b"/x?q=\xc0\xae",  # overlong
    ],
)
def test_other_raw_bytes_are_refused(target: bytes) -> None:
    with pytest.raises(Refused) as refused:
        split(target)
    assert refused.value.refusal.code == "bad_request"


@pytest.mark.parametrize("path", [b"/x?site=blog", b"/x&a=b", b"/x#a=b", b"/a&b&c=1"])
def test_a_pair_after_a_separator_in_a_path_is_a_parameter(path: bytes) -> None:
    assert holds_parameter(path)


@pytest.mark.parametrize(
    "path", [b"/AT&T.csv", b"/what?.html", b"/a&b/c=d", b"/a=b&c", b"/x;a=b", b"/a&=b", b"/c#", b"/!$&'()*+,=:@"]
)
def test_a_separator_alone_in_a_path_is_not_a_parameter(path: bytes) -> None:
    assert not holds_parameter(path)
