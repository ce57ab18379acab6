"""Bodies as large as they may be, with nothing right in them."""

import pytest

from admin.payloads import NewUser, read_body
from admin.problems import Invalid, Malformed
from tests.effort import calls

NUMBERS = b'{"workspace":"a","sites":[' + b"1," * 200_000 + b"1]}"
NAMES = b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b"}"


@pytest.mark.parametrize(("body", "error"), [(NUMBERS, Invalid), (NAMES, Malformed)])
def test_a_body_full_of_faults_holds_nobody_up(body: bytes, error: type[Exception]) -> None:
    """Ten times as many, which fit into a body, took a minute, in which the front door stood still, too."""
    with calls() as made, pytest.raises(error):
        read_body(NewUser, body)
    assert made.total() < 100
