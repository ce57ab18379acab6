"""Accepted and refused Host headers."""

import pytest

from proxy.http.host_field import check_host
from proxy.refusals import Refused


@pytest.mark.parametrize("host", [b"a", b"a.example.com:80", b"[::1]:8080", b"127.0.0.1", b"my_host", b"A-b.c"])
def test_a_single_plain_host_passes(host: bytes) -> None:
    assert check_host([host]) == host


@pytest.mark.parametrize(("host", "sent"), [(b"a.example.", b"a.example"), (b"a.example.:80", b"a.example:80")])
def test_the_trailing_dot_of_a_host_name_is_removed(host: bytes, sent: bytes) -> None:
    assert check_host([host]) == sent


@pytest.mark.parametrize(
    "hosts",
    [
        [b"a.example.."],
        [b"a..example"],
        [b"."],
        [],
        [b"a", b"a"],
        [b""],
        [b"a/b"],
        [b"a@b"],
        [b"a b"],
        [b"a,b"],
        [b"a:b"],
        [b"a?b"],
        [b"a#b"],
        [b"a\x00"],
        [b":1"],
    ],
)
def test_a_missing_duplicate_or_malformed_host_is_refused(hosts: list[bytes]) -> None:
    with pytest.raises(Refused):
        check_host(hosts)
