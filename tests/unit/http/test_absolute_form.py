"""Targets that are complete URLs: which ones are accepted, and what the decision and the upstream see."""

import pytest

from proxy.http.absolute_form import origin_form
from proxy.refusals import Refused


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (b"http://data.example/path", b"data.example", b"/path"),
        (b"http://data.example/", b"data.example", b"/"),
        (b"http://data.example/a/b;c?d=e&f=http://x/?", b"data.example", b"/a/b;c?d=e&f=http://x/?"),
        (b"http://data.example//data.example/x", b"data.example", b"//data.example/x"),
        # An empty path (RFC 9112 §3.2.1).
        (b"http://data.example", b"data.example", b"/"),
        (b"http://data.example?site=shop", b"data.example", b"/?site=shop"),
        (b"http://data.example?", b"data.example", b"/?"),
        # Case.
        (b"HTTP://Data.Example/X", b"data.example", b"/X"),
        (b"http://data.example/X", b"DATA.example", b"/X"),
        # The default port.
        (b"http://data.example:80/x", b"data.example", b"/x"),
        (b"http://data.example/x", b"data.example:80", b"/x"),
        (b"https://data.example:443/x", b"data.example", b"/x"),
        (b"https://data.example/x", b"data.example:443", b"/x"),
        (b"http://data.example:8080/x", b"data.example:8080", b"/x"),
        (b"https://data.example:80/x", b"data.example:80", b"/x"),
        # A final dot names the same host.
        (b"http://data.example./x", b"data.example", b"/x"),
        (b"http://data.example.:80/x", b"data.example", b"/x"),
        # Addresses.
        (b"http://127.0.0.1:8080/x", b"127.0.0.1:8080", b"/x"),
        (b"http://[::1]:8080/x", b"[::1]:8080", b"/x"),
        (b"http://[::AB]/x", b"[::ab]", b"/x"),
        (b"http://[::80]:80/x", b"[::80]", b"/x"),
    ],
)
def test_a_url_of_the_host_becomes_its_path_and_query(target: bytes, host: bytes, expected: bytes) -> None:
    assert origin_form(b"GET", target, host) == expected


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://other.example/path", b"data.example"),
        (b"http://data.example.org/path", b"data.example"),
        (b"http://data.example/path", b""),  # HTTP/1.0 without Host
        # Ports.
        (b"http://data.example:81/x", b"data.example"),
        (b"http://data.example/x", b"data.example:8080"),
        (b"http://data.example:443/x", b"data.example"),
        (b"https://data.example:80/x", b"data.example"),
        (b"http://data.example:080/x", b"data.example"),
        (b"http://data.example:/x", b"data.example"),
        (b"http://data.example:8O/x", b"data.example"),
        (b"http://data.example:80:80/x", b"data.example"),
        (b"http://data.example:00000000080/x", b"data.example"),
        # User names, even if Host has them too.
        (b"http://ada@data.example/x", b"data.example"),
        (b"http://ada:secret@data.example/x", b"data.example"),
        (b"http://@data.example/x", b"data.example"),
        (b"http://data.example@other.example/x", b"data.example"),
        # Other spellings of a host.
        (b"http://data%2eexample/x", b"data.example"),
        (b"http://%64ata.example/x", b"data.example"),
        (b"http://data.example../x", b"data.example"),
        (b"http://data.example,other.example/x", b"data.example"),
        (b"http://data.example\\@other.example/x", b"data.example"),
        (b"http://data.example#@other.example/x", b"data.example"),
        (b"http://[::1]/x", b"[0:0:0:0:0:0:0:1]"),
        (b"http://[::1]:80:80/x", b"[::1]"),
        (b"http://2130706433/x", b"127.0.0.1"),
        # Not an absolute form of HTTP.
        (b"http:///x", b"data.example"),
        (b"http://", b"data.example"),
        (b"http://?x", b"data.example"),
        (b"http:/x", b"data.example"),
        (b"http:x", b"data.example"),
        (b"http:", b"data.example"),
        (b"data.example/x", b"data.example"),
        (b"ftp://data.example/x", b"data.example"),
        (b"ws://data.example/x", b"data.example"),
        (b"httpx://data.example/x", b"data.example"),
        (b" http://data.example/x", b"data.example"),
        (b"data.example:80", b"data.example"),
        (b"*", b"data.example"),
        (b"", b"data.example"),
        (b"?x", b"data.example"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
def test_any_other_target_is_refused(method: bytes, target: bytes, host: bytes) -> None:
    with pytest.raises(Refused) as refused:
        origin_form(method, target, host)
    assert refused.value.refusal.code == "bad_request"


def test_the_refusal_of_a_url_says_if_the_host_header_is_missing() -> None:
    with pytest.raises(Refused) as refused:
        origin_form(b"GET", b"http://data.example/path", b"")
    assert "has no Host header" in refused.value.refusal.detail


def test_a_url_without_a_path_stands_for_the_whole_server_in_an_options_request() -> None:
    assert origin_form(b"OPTIONS", b"http://data.example:8080", b"data.example:8080") == b"*"
    assert origin_form(b"OPTIONS", b"http://data.example/", b"data.example") == b"/"
    assert origin_form(b"OPTIONS", b"http://data.example?x", b"data.example") == b"/?x"
