"""Bodies as large as they may be, with nothing right in them."""

import time

import pytest
from multidict import MultiDict

from admin.payloads import NewUser, NoQuery, read_body, read_query
from admin.problems import Invalid, Malformed

NUMBERS = b'{"workspace":"a","sites":[' + b"1," * 200_000 + b"1]}"
NAMES = b"{" + b",".join(b'"%x":0' % number for number in range(100_000)) + b"}"


@pytest.mark.parametrize(("body", "error"), [(NUMBERS, Invalid), (NAMES, Malformed)])
def test_a_body_full_of_faults_holds_nobody_up(body: bytes, error: type[Exception]) -> None:
    """Ten times as many, which fit into a body, took a minute, in which the front door stood still, too."""
    before = time.process_time()
    with pytest.raises(error):
        read_body(NewUser, body)
    assert time.process_time() - before < 0.5


def test_a_query_full_of_faults_is_refused_without_a_look_at_each() -> None:
    """Two thousand of them fit into an address, and took as long as twenty other requests."""
    few, many = (MultiDict((f"a{number}", "") for number in range(count)) for count in (100, 101))
    with pytest.raises(Invalid) as refused:
        read_query(NoQuery, few)
    assert len(refused.value.faults) == 20
    with pytest.raises(Invalid, match="more than 100 parameters") as refused:
        read_query(NoQuery, many)
    assert refused.value.faults == ()
